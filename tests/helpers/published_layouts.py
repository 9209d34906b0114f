"""Names and shapes of published checkpoints, as their own code lists them; and random numbers."""

import numpy as np


def layer(name, *shape):
    """Weight and bias of a layer."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def residual(name, before, after):
    """A residual block."""
    skip = layer(f"{name}.nin_shortcut", after, before, 1, 1) if before != after else {}
    return {
        **layer(f"{name}.norm1", before),
        **layer(f"{name}.conv1", after, before, 3, 3),
        **layer(f"{name}.norm2", after),
        **layer(f"{name}.conv2", after, after, 3, 3),
        **skip,
    }


def attention(name, width, is_fused):
    """Attention with one or three projections."""
    projections = {"qkv": 3} if is_fused else {"q": 1, "k": 1, "v": 1}
    found = layer(f"{name}.norm", width) | layer(f"{name}.proj_out", width, width, 1, 1)
    for word, times in projections.items():
        found |= layer(f"{name}.{word}", times * width, width, 1, 1)
    return found


def autoencoder(
    width, multipliers, num_blocks, attention_levels, latent, code_dim, *, bridge=1, is_fused=False
):
    """Encoder, decoder and the convolutions between them and the quantizer."""
    widths = [width * each for each in multipliers]
    last, lowest = len(widths) - 1, widths[-1]
    names = {
        **layer("encoder.conv_in", width, 3, 3, 3),
        **layer("encoder.norm_out", lowest),
        **layer("encoder.conv_out", latent, lowest, 3, 3),
        **layer("decoder.conv_in", lowest, latent, 3, 3),
        **layer("decoder.norm_out", width),
        **layer("decoder.conv_out", 3, width, 3, 3),
        **layer("quant_conv", code_dim, latent, bridge, bridge),
        **layer("post_quant_conv", latent, code_dim, bridge, bridge),
    }
    for side in ("encoder", "decoder"):
        for number in (1, 2):
            names |= residual(f"{side}.mid.block_{number}", lowest, lowest)
        names |= attention(f"{side}.mid.attn_1", lowest, is_fused)

    def stage(name, before, level, count):
        for block in range(count):
            names.update(residual(f"{name}.block.{block}", before, widths[level]))
            before = widths[level]
            if level in attention_levels:
                names.update(attention(f"{name}.attn.{block}", before, is_fused))

    for level, each in enumerate(widths):
        stage(f"encoder.down.{level}", widths[max(level - 1, 0)], level, num_blocks)
        stage(f"decoder.up.{level}", widths[min(level + 1, last)], level, num_blocks + 1)
        if level < last:
            names |= layer(f"encoder.down.{level}.downsample.conv", each, each, 3, 3)
        if level > 0:
            names |= layer(f"decoder.up.{level}.upsample.conv", each, each, 3, 3)
    return names


def rq_codebooks(depth, codebook_size, code_dim):
    """The quantizer of RQ-VAE, without its numbers' equality."""
    names = {}
    for level in range(depth):
        name = f"quantizer.codebooks.{level}"
        names[f"{name}.weight"] = (codebook_size + 1, code_dim)
        names[f"{name}.cluster_size_ema"] = (codebook_size,)
        names[f"{name}.embed_ema"] = (codebook_size, code_dim)
    return names


PHI_NAMES = {"partly": "qresi_ls.{}", "shared": "qresi", "not_shared": "{}"}


def var_quantizer(num_scales, num_phi, codebook_size, code_dim, sharing="partly"):
    """The quantizer of VAR's tokenizer, with its buffer."""
    names = {
        "quantize.embedding.weight": (codebook_size, code_dim),
        "quantize.ema_vocab_hit_SV": (num_scales, codebook_size),
    }
    for phi in range(num_phi):
        name = f"quantize.quant_resi.{PHI_NAMES[sharing].format(phi)}"
        names |= layer(name, code_dim, code_dim, 3, 3)
    return names


def rq_transformer(
    width, body, head, *, length, depth, codebook_size=16384, code_dim=256, num_classes=1000
):
    """RQ-Transformer with `body` and `head` layers."""
    names = {
        "cond_emb.weight": (num_classes, width),
        "pos_emb_cond": (1, 1, width),
        "pos_emb_hw": (1, length, width),
        "pos_emb_d": (1, depth, width),
        **layer("input_mlp", width, code_dim),
        **layer("head_mlp", width, code_dim),
        **layer("classifier.layer_norm", width),
        **layer("classifier.linear", codebook_size, width),
    }
    for stack, num_layers in (("body", body), ("head", head)):
        for index in range(num_layers):
            block = f"{stack}_transformer.blocks.{index}"
            for word in ("key", "query", "value", "proj"):
                names |= layer(f"{block}.attn.{word}", width, width)
            names |= layer(f"{block}.ln1", width) | layer(f"{block}.ln2", width)
            names |= layer(f"{block}.mlp.0", 4 * width, width)
            names |= layer(f"{block}.mlp.2", width, 4 * width)
    return names


def random_arrays(shapes, seed=0):
    """Small random numbers in these shapes, scales of normalisations around 1."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for name, shape in shapes.items():
        drawn = generator.normal(size=shape) / np.sqrt(max(1, np.prod(shape[1:])))
        is_scale = ("norm" in name or ".ln" in name) and name.endswith("weight")
        arrays[name] = (drawn + is_scale).astype(np.float32)
    return arrays
