"""SiT's and DiT's network a second time, in float64 NumPy, one layer and one vector at a time."""

import math

import numpy as np
from numpy_networks import dense, gelu, layer_norm, silu, softmax


def forward(params, states, times, labels, num_heads, time_scale=1.0):
    """What is predicted of noisy latents "b l c" of one length; `params` are in float64."""
    width = params["tokens"]["kernel"].shape[1]
    values = dense(params["tokens"], states) + positions(states.shape[1], width)
    told = np.stack([waves(time_scale * time) for time in times])
    told = dense(params["time"]["down"], silu(dense(params["time"]["up"], told)))
    condition = silu(told + params["classes"]["table"][labels])
    blocks = params["blocks"]
    for layer in range(len(blocks["up"]["kernel"])):
        values = block(of_layer(blocks, layer), values, condition, num_heads)
    shift, scale = vectors(params["final"]["modulation"], condition, 2)
    return dense(params["final"]["out"], layer_norm(values) * (1 + scale) + shift)


def of_layer(tree, layer):
    """The parameters of one layer out of those of all."""
    if isinstance(tree, dict):
        return {name: of_layer(child, layer) for name, child in tree.items()}
    return tree[layer]


def vectors(params, condition, num):
    """Modulation of each row, the same at all positions."""
    return np.split(dense(params["out"], condition)[:, None], num, axis=-1)


def block(params, values, condition, num_heads):
    """Attention and an MLP, modulated and gated."""
    shift, scale, gate, shift_f, scale_f, gate_f = vectors(params["modulation"], condition, 6)
    normed = layer_norm(values) * (1 + scale) + shift
    values = values + gate * attention(params["attention"], normed, num_heads)
    normed = layer_norm(values) * (1 + scale_f) + shift_f
    return values + gate_f * dense(params["down"], gelu(dense(params["up"], normed)))


def attention(params, values, num_heads):
    """One row, one head and one query at a time."""
    query, key, value = (dense(params[name], values) for name in ("query", "key", "value"))
    head_width = values.shape[-1] // num_heads
    mixed = np.zeros_like(values)
    for row, head, place in np.ndindex(len(values), num_heads, values.shape[1]):
        own = slice(head * head_width, (head + 1) * head_width)
        logits = key[row, :, own] @ query[row, place, own] / math.sqrt(head_width)
        mixed[row, place, own] = softmax(logits) @ value[row, :, own]
    return dense(params["out"], mixed)


def positions(length, width):
    """Sines on even channels, cosines on odd ones."""
    table = np.zeros((length, width))
    for place, pair in np.ndindex(length, width // 2):
        angle = place / 10_000 ** (2 * pair / width)
        table[place, 2 * pair : 2 * pair + 2] = math.sin(angle), math.cos(angle)
    return table


def waves(time):
    """128 cosines of one time, then 128 sines."""
    angles = [time * math.exp(-math.log(10_000) * number / 128) for number in range(128)]
    return np.array([math.cos(angle) for angle in angles] + [math.sin(angle) for angle in angles])
