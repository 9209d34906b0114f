"""Converted tokenizers against plain PyTorch builds of the published networks: same images out."""

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional

from resgen_jax.convert import exports, pretrained, rq_vae, taming, var

torch.set_num_threads(1)
WIDTH, SIDE, CODES, CHANNELS = 128, 16, 12, 8


def conv(before, after, size=3, stride=1):
    return torch.nn.Conv2d(before, after, size, stride, size // 2 if stride == 1 else 0)


def norm(width):
    return torch.nn.GroupNorm(32, width, eps=1e-6)


class Residual(torch.nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.norm1, self.conv1 = norm(before), conv(before, after)
        self.norm2, self.conv2 = norm(after), conv(after, after)
        if before != after:
            self.nin_shortcut = conv(before, after, 1)

    def forward(self, values):
        hidden = self.conv1(functional.silu(self.norm1(values)))
        hidden = self.conv2(functional.silu(self.norm2(hidden)))
        return hidden + getattr(self, "nin_shortcut", torch.nn.Identity())(values)


class Attention(torch.nn.Module):
    def __init__(self, width, is_fused):
        super().__init__()
        self.norm, self.proj_out = norm(width), conv(width, width, 1)
        self.is_fused = is_fused
        if is_fused:
            self.qkv = conv(width, 3 * width, 1)
        else:
            self.q, self.k, self.v = (conv(width, width, 1) for _ in range(3))

    def forward(self, values):
        normed, (size, width, height, columns) = self.norm(values), values.shape
        parts = (
            self.qkv(normed)
            if self.is_fused
            else torch.cat([self.q(normed), self.k(normed), self.v(normed)], 1)
        )
        query, key, value = parts.reshape(size, 3, width, -1).unbind(1)
        share = torch.softmax(torch.einsum("bci,bcj->bij", query, key) * width**-0.5, dim=2)
        mixed = torch.einsum("bcj,bij->bci", value, share)
        return values + self.proj_out(mixed.reshape(size, width, height, columns))


class Resize(torch.nn.Module):
    def __init__(self, width, is_down):
        super().__init__()
        self.is_down = is_down
        self.conv = conv(width, width, 3, 2 if is_down else 1)

    def forward(self, values):
        if self.is_down:
            return self.conv(functional.pad(values, (0, 1, 0, 1)))
        return self.conv(functional.interpolate(values, scale_factor=2.0, mode="nearest"))


def middle(width, is_fused):
    made = torch.nn.Module()
    made.block_1, made.block_2 = Residual(width, width), Residual(width, width)
    made.attn_1 = Attention(width, is_fused)
    return made


def through_middle(made, values):
    return made.block_2(made.attn_1(made.block_1(values)))


def stage(before, width, count, has_attention, is_fused):
    made = torch.nn.Module()
    made.block = torch.nn.ModuleList(
        Residual(before if index == 0 else width, width) for index in range(count)
    )
    count = count if has_attention else 0
    made.attn = torch.nn.ModuleList(Attention(width, is_fused) for _ in range(count))
    return made


def through_stage(made, values):
    for index, block in enumerate(made.block):
        values = block(values)
        if len(made.attn):
            values = made.attn[index](values)
    return values


class Encoder(torch.nn.Module):
    def __init__(self, multipliers, num_blocks, latent, is_fused):
        super().__init__()
        widths = [WIDTH * each for each in multipliers]
        self.conv_in, self.down = conv(3, WIDTH, 3), torch.nn.ModuleList()
        for level, width in enumerate(widths):
            is_last = level == len(widths) - 1
            made = stage(widths[max(level - 1, 0)], width, num_blocks, is_last, is_fused)
            if not is_last:
                made.downsample = Resize(width, True)
            self.down.append(made)
        self.mid = middle(widths[-1], is_fused)
        self.norm_out, self.conv_out = norm(widths[-1]), conv(widths[-1], latent, 3)

    def forward(self, values):
        values = self.conv_in(values)
        for made in self.down:
            values = through_stage(made, values)
            values = made.downsample(values) if hasattr(made, "downsample") else values
        values = through_middle(self.mid, values)
        return self.conv_out(functional.silu(self.norm_out(values)))


class Decoder(torch.nn.Module):
    def __init__(self, multipliers, num_blocks, latent, is_fused):
        super().__init__()
        widths = [WIDTH * each for each in multipliers]
        last = len(widths) - 1
        self.conv_in, self.up = conv(latent, widths[-1], 3), torch.nn.ModuleList()
        self.mid = middle(widths[-1], is_fused)
        for level, width in enumerate(widths):
            before = widths[min(level + 1, last)]
            made = stage(before, width, num_blocks + 1, level == last, is_fused)
            if level:
                made.upsample = Resize(width, False)
            self.up.append(made)
        self.norm_out, self.conv_out = norm(widths[0]), conv(widths[0], 3, 3)

    def forward(self, values):
        values = through_middle(self.mid, self.conv_in(values))
        for made in reversed(self.up):
            values = through_stage(made, values)
            values = made.upsample(values) if hasattr(made, "upsample") else values
        return self.conv_out(functional.silu(self.norm_out(values)))


class Autoencoder(torch.nn.Module):
    def __init__(self, multipliers=(1, 2), latent=6, code_dim=CHANNELS, bridge=1, is_fused=False):
        super().__init__()
        self.encoder = Encoder(multipliers, 1, latent, is_fused)
        self.decoder = Decoder(multipliers, 1, latent, is_fused)
        self.quant_conv = conv(latent, code_dim, bridge)
        self.post_quant_conv = conv(code_dim, latent, bridge)
        self.requires_grad_(False)

    def latents(self, images):
        return self.quant_conv(self.encoder(images)).permute(0, 2, 3, 1)

    def images(self, quantized):
        return self.decoder(self.post_quant_conv(quantized.permute(0, 3, 1, 2)))


class Codebook(torch.nn.Module):
    """Vectors with a row for padding, and the averages that they come from."""

    def __init__(self, generator):
        super().__init__()
        counts = torch.rand(CODES, generator=generator) * 5 + 0.1
        sums = torch.randn(CODES, CHANNELS, generator=generator)
        smoothed = (counts + 1e-5) / (counts.sum() + CODES * 1e-5) * counts.sum()
        padding = torch.zeros(1, CHANNELS)
        self.weight = torch.nn.Parameter(torch.cat([sums / smoothed[:, None], padding]), False)
        self.register_buffer("cluster_size_ema", counts)
        self.register_buffer("embed_ema", sums)


def nearest(rows, table):
    return torch.cdist(rows[None], table[None])[0].argmin(-1)


def images_of(seed, side=SIDE):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, side, side, generator=generator) * 2 - 1


def as_ours(images):
    return jnp.asarray(images.permute(0, 2, 3, 1).numpy())


def open_exported(export, folder):
    return pretrained.from_pretrained(exports.write(folder, export, {}))


def compare(tokenizer, codes, decoded, images):
    """The same codes, and images within 1e-4."""
    found = np.asarray(tokenizer.encode(as_ours(images)))
    np.testing.assert_array_equal(found, codes.numpy())
    expected = decoded.clamp(-1, 1).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(tokenizer.decode(codes.numpy()), expected, atol=1e-4)


@pytest.mark.parametrize("is_averaged", [False, True])
def test_rq_vae(tmp_path, is_averaged):
    torch.manual_seed(0)
    network, images = Autoencoder(), images_of(1)
    network.quantizer = torch.nn.Module()
    shared = Codebook(torch.Generator().manual_seed(2))
    network.quantizer.codebooks = torch.nn.ModuleList([shared] * 3)
    saved = {"state_dict": network.state_dict(), "discriminator": {"w": torch.ones(2)}, "epoch": 9}
    if is_averaged:
        saved = {**saved, "state_dict_ema": network.state_dict()}
        saved["state_dict"] = {name: leaf + 1 for name, leaf in network.state_dict().items()}
    torch.save(saved, tmp_path / "stage1.pt")
    table, latents = shared.weight[:-1], network.latents(images)
    residual, total, codes = latents.reshape(-1, CHANNELS), 0, []
    for _ in range(3):
        codes.append(nearest(residual, table))
        residual, total = residual - table[codes[-1]], total + table[codes[-1]]
    codes = torch.stack(codes, -1).reshape(2, -1, 3)
    decoded = network.images(total.reshape(latents.shape))
    export = rq_vae.convert(tmp_path / "stage1.pt", image_size=SIDE)
    tokenizer = open_exported(export, tmp_path / "out")
    np.testing.assert_allclose(tokenizer.codebooks, np.tile(table.numpy(), (3, 1, 1)), rtol=1e-6)
    compare(tokenizer, codes, decoded, images)


def test_vqgan(tmp_path):
    torch.manual_seed(1)
    network, images = Autoencoder(multipliers=(1, 1)), images_of(2)
    network.quantize = torch.nn.Module()
    network.quantize.embedding = torch.nn.Embedding(CODES, CHANNELS).requires_grad_(False)
    network.loss = torch.nn.Module()
    network.loss.discriminator = conv(3, 4)
    torch.save({"state_dict": network.state_dict(), "epoch": 1}, tmp_path / "last.ckpt")
    latents, table = network.latents(images), network.quantize.embedding.weight
    codes = nearest(latents.reshape(-1, CHANNELS), table)
    decoded = network.images(table[codes].reshape(latents.shape))
    export = taming.convert(tmp_path / "last.ckpt", image_size=SIDE)
    tokenizer = open_exported(export, tmp_path / "out")
    compare(tokenizer, codes.reshape(2, -1, 1), decoded, images)


def phi_sharing(sharing, num_scales):
    """The convolutions by their published names, and which of them each scale takes."""
    if sharing == "shared":
        made = torch.nn.Module()
        made.qresi = conv(CHANNELS, CHANNELS)
        return made, [made.qresi] * num_scales
    if sharing == "not_shared":
        made = torch.nn.ModuleList(conv(CHANNELS, CHANNELS) for _ in range(num_scales))
        return made, list(made)
    made = torch.nn.Module()
    made.qresi_ls = torch.nn.ModuleList(conv(CHANNELS, CHANNELS) for _ in range(2))
    ticks = np.linspace(1 / 4, 3 / 4, 2)
    places = np.arange(num_scales) / (num_scales - 1)
    return made, [made.qresi_ls[int(np.abs(ticks - place).argmin())] for place in places]


@pytest.mark.parametrize(
    ("sharing", "choice"),
    [("partly", "distance"), ("shared", "distance"), ("not_shared", "direction")],
)
def test_multi_scale_tokenizer(tmp_path, sharing, choice):
    torch.manual_seed(2)
    scales = (1, 2, 4, 8)
    network = Autoencoder((1,), CHANNELS, CHANNELS, bridge=3, is_fused=True)
    images = images_of(3, side=8)
    network.quantize = torch.nn.Module()
    network.quantize.embedding = torch.nn.Embedding(CODES, CHANNELS).requires_grad_(False)
    made, phis = phi_sharing(sharing, len(scales))
    network.quantize.quant_resi = made.requires_grad_(False)
    network.quantize.register_buffer("ema_vocab_hit_SV", torch.zeros(4, CODES))
    torch.save(network.state_dict(), tmp_path / "vae.pth")
    table, residual = network.quantize.embedding.weight, network.latents(images).permute(0, 3, 1, 2)
    total, codes = torch.zeros_like(residual), []
    for index, side in enumerate(scales):
        small = functional.interpolate(residual, size=(side, side), mode="area")
        rows = small.permute(0, 2, 3, 1).reshape(-1, CHANNELS)
        if choice == "direction":
            rows = functional.normalize(rows, dim=-1)
            codes.append((rows @ functional.normalize(table, dim=-1).T).argmax(1))
        else:
            codes.append(nearest(rows, table))
        large = table[codes[-1]].reshape(2, side, side, -1).permute(0, 3, 1, 2)
        if side != 8:
            large = functional.interpolate(large, size=(8, 8), mode="bicubic")
        added = 0.5 * large + 0.5 * phis[index](large)
        total, residual = total + added, residual - added
    codes = torch.cat([each.reshape(2, -1) for each in codes], 1)
    decoded = network.images(total.permute(0, 2, 3, 1))
    export = var.convert(tmp_path / "vae.pth", image_size=8, scales=scales, choice=choice)
    tokenizer = open_exported(export, tmp_path / "out")
    compare(tokenizer, codes, decoded, images)
