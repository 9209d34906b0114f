"""Networks written a second time, in float64 NumPy and with plain loops, to test ours against."""

import math

import numpy as np


def double(tree):
    """Every array of a nested dict in float64."""
    if isinstance(tree, dict):
        return {name: double(child) for name, child in tree.items()}
    return np.asarray(tree, np.float64)


def layer_norm(values, epsilon=1e-6):
    mean = values.mean(axis=-1, keepdims=True)
    return (values - mean) / np.sqrt(values.var(axis=-1, keepdims=True) + epsilon)


def rms_norm(values, epsilon=1e-6):
    return values / np.sqrt((values**2).mean(axis=-1, keepdims=True) + epsilon)


def silu(values):
    return values / (1 + np.exp(-values))


def gelu(values):
    """The tanh form."""
    return 0.5 * values * (1 + np.tanh(math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)))


def softmax(logits):
    weight = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weight / weight.sum(axis=-1, keepdims=True)


def rotary_angles(grid, head_width, base):
    """One position and one channel pair at a time."""
    places = [(row, column) for row in range(grid[0]) for column in range(grid[1])]
    places = [place[1:] if grid[0] == 1 else place for place in places]
    pairs = head_width // 2 // len(places[0])
    return np.array(
        [[axis / base ** (pair / pairs) for axis in place for pair in range(pairs)]
         for place in places]
    )  # fmt: skip


def rotate(heads, angles):
    """Each pair of channels is a complex number, turned by its angle; "b l a k"."""
    turned = (heads[..., 0::2] + 1j * heads[..., 1::2]) * np.exp(1j * angles)[None, :, None, :]
    return np.stack([turned.real, turned.imag], axis=-1).reshape(heads.shape)


def attention(params, values, num_heads, angles=None):
    """Softmax attention, one example and one head at a time; "b l d"."""
    shape = (*values.shape[:2], num_heads, -1)
    query, key, value = (
        (values @ params[name]["kernel"]).reshape(shape) for name in ("query", "key", "value")
    )
    if "query_size" in params:
        query = rms_norm(query) * params["query_size"]
        key = rms_norm(key) * params["key_size"]
    if angles is not None:
        query, key = rotate(query, angles), rotate(key, angles)
    mixed = np.zeros_like(value)
    for row in range(len(values)):
        for head in range(num_heads):
            logits = query[row, :, head] @ key[row, :, head].T / math.sqrt(query.shape[-1])
            mixed[row, :, head] = softmax(logits) @ value[row, :, head]
    return mixed.reshape(values.shape) @ params["out"]["kernel"]


def dense(params, values):
    return values @ params["kernel"] + params["bias"]


def transformer(
    params, tokens, condition, grid, num_heads, rotary_base=100.0, norm=layer_norm, activation=gelu
):
    """Transformer with shared adaLN, learned and rotary positions; layer by layer.

    Where its blocks have a "gate", the activation is the gate's.
    """
    hidden = silu(dense(params["modulation"]["up"], condition))
    vectors = dense(params["modulation"]["down"], hidden)
    vectors = vectors.reshape(*tokens.shape[:2], 8, -1)
    width, angles = tokens.shape[-1], None
    values = tokens + params["positions"]
    if rotary_base:
        angles = rotary_angles(grid, width // num_heads, rotary_base)
    blocks = params["blocks"]
    for layer in range(len(blocks["offset"])):
        block = {
            name: {"kernel": part["kernel"][layer]} if isinstance(part, dict) else part[layer]
            for name, part in blocks["attention"].items()
        }
        given = [vectors[:, :, i] + blocks["offset"][layer, i] for i in range(6)]
        normed = norm(values) * (1 + given[1]) + given[0]
        values = values + given[2] * attention(block, normed, num_heads, angles)
        normed = norm(values) * (1 + given[4]) + given[3]
        wide = normed @ blocks["up"]["kernel"][layer]
        if "gate" in blocks:
            wide = wide * activation(normed @ blocks["gate"]["kernel"][layer])
        else:
            wide = activation(wide)
        values = values + given[5] * (wide @ blocks["down"]["kernel"][layer])
    return norm(values) * (1 + vectors[:, :, 7]) + vectors[:, :, 6]
