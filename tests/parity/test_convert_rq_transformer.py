"""A converted RQ-Transformer against a plain PyTorch build of the published network."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional

from resgen_jax.convert import exports, pretrained, rq_transformer

torch.set_num_threads(1)
WIDTH, HEADS, DEPTH, CODES, CHANNELS, CLASSES, LENGTH = 16, 2, 3, 11, 6, 5, 4


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        for name in ("key", "query", "value", "proj"):
            setattr(self, name, torch.nn.Linear(WIDTH, WIDTH))

    def forward(self, values):
        def heads(layer):
            return layer(values).unflatten(-1, (HEADS, -1)).transpose(1, 2)

        mixed = functional.scaled_dot_product_attention(
            heads(self.query), heads(self.key), heads(self.value), is_causal=True
        )
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.ln1, self.ln2 = torch.nn.LayerNorm(WIDTH), torch.nn.LayerNorm(WIDTH)
        self.attn = Attention()
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(WIDTH, 4 * WIDTH), torch.nn.GELU(), torch.nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, values):
        values = values + self.attn(self.ln1(values))
        return values + self.mlp(self.ln2(values))


def stack(num_layers):
    made = torch.nn.Module()
    made.blocks = torch.nn.ModuleList(Block() for _ in range(num_layers))
    return made


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cond_emb = torch.nn.Embedding(CLASSES, WIDTH)
        self.input_mlp = torch.nn.Linear(CHANNELS, WIDTH)
        self.head_mlp = torch.nn.Linear(CHANNELS, WIDTH)
        self.pos_emb_cond = torch.nn.Parameter(torch.randn(1, 1, WIDTH))
        self.pos_emb_hw = torch.nn.Parameter(torch.randn(1, LENGTH, WIDTH))
        self.pos_emb_d = torch.nn.Parameter(torch.randn(1, DEPTH, WIDTH))
        self.body_transformer, self.head_transformer = stack(3), stack(2)
        self.classifier = torch.nn.Sequential()
        self.classifier.add_module("layer_norm", torch.nn.LayerNorm(WIDTH))
        self.classifier.add_module("linear", torch.nn.Linear(WIDTH, CODES))
        for parameter in self.parameters():
            parameter.requires_grad_(False)
            parameter += 0.1 * torch.randn_like(parameter)

    def forward(self, codes, labels, table):
        vectors = table[codes]
        seen = self.input_mlp(vectors).sum(-2) + self.pos_emb_hw
        start = self.cond_emb(labels)[:, None] + self.pos_emb_cond
        values = torch.cat([start, seen[:, :-1]], 1)
        for block in self.body_transformer.blocks:
            values = block(values)
        inside = self.head_mlp(vectors.cumsum(-2))[:, :, :-1]
        values = torch.cat([values[:, :, None], inside], 2).flatten(0, 1) + self.pos_emb_d
        for block in self.head_transformer.blocks:
            values = block(values)
        return self.classifier(values).unflatten(0, codes.shape[:2])


def test_logits_are_equal(tmp_path):
    torch.manual_seed(0)
    network = Network()
    codes = torch.randint(CODES, (2, LENGTH, DEPTH))
    labels, table = torch.tensor([4, 1]), torch.randn(CODES, CHANNELS)
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, tmp_path / "stage2.pt")
    export = rq_transformer.convert(tmp_path / "stage2.pt", num_heads=HEADS, grid=(1, 4))
    model = pretrained.from_pretrained(exports.write(tmp_path / "out", export, {}))
    assert (model.space.grid, model.space.codes.depth, model.space.num_classes) == ((1, 4), 3, 5)
    tables = np.broadcast_to(table.numpy(), (DEPTH, CODES, CHANNELS))
    found = model.logits(codes.numpy(), labels.numpy(), tables)
    np.testing.assert_allclose(found, network(codes, labels, table).numpy(), atol=1e-4)
