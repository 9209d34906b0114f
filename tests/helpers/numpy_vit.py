"""ViT and the autoencoder of two of them a second time, in float64 NumPy with plain loops."""

import math

import numpy as np
from numpy_diffusion_transformer import attention, of_layer
from numpy_networks import dense, layer_norm

error_function = np.vectorize(math.erf)


def norm(params, values):
    return layer_norm(values, 1e-6) * params["scale"] + params["bias"]


def block(params, values, num_heads):
    """Attention and an MLP, each on normalised values, and what it adds scaled by channel."""
    mixed = attention(params["attention"], norm(params["attention_norm"], values), num_heads)
    values = values + params["attention_scale"] * mixed
    wide = dense(params["up"], norm(params["mlp_norm"], values))
    wide = wide * 0.5 * (1 + error_function(wide / math.sqrt(2)))
    return values + params["mlp_scale"] * dense(params["down"], wide)


def vit(params, tokens, others, num_heads):
    """One row at a time is put together, then all layers see the batch."""
    rows = []
    for row_tokens, row_others in zip(tokens, others, strict=True):
        image = [params["class_token"], *row_tokens]
        placed = [vector + place for vector, place in zip(image, params["positions"], strict=True)]
        rows.append([*placed, *row_others])
    values = np.array(rows)
    for layer in range(len(params["blocks"]["mlp_scale"])):
        values = block(of_layer(params["blocks"], layer), values, num_heads)
    return norm(params["norm"], values)


def encode(params, images, patch_size, num_heads):
    """Latents of images "b h w c", patch by patch."""
    tokens = []
    for image in images:
        rows, columns = (side // patch_size for side in image.shape[:2])
        cuts = [
            image[
                row * patch_size : (row + 1) * patch_size,
                column * patch_size : (column + 1) * patch_size,
            ]
            for row in range(rows)
            for column in range(columns)
        ]
        tokens.append([dense(params["patches"], cut.reshape(-1)) for cut in cuts])
    asked = params["latent_tokens"] + params["latent_positions"]
    hidden = vit(params["vit"], np.array(tokens), [asked] * len(images), num_heads)
    return dense(params["out"], hidden[:, 1 + len(tokens[0]) :])


def decode(params, latents, shape, patch_size, num_heads):
    """Images of `shape` "h w c" from latents, pixel by pixel."""
    rows, columns = (side // patch_size for side in shape[:2])
    masks = [[params["mask_token"]] * (rows * columns)] * len(latents)
    others = dense(params["latents"], latents) + params["latent_positions"]
    hidden = vit(params["vit"], masks, others, num_heads)
    made = dense(params["out"], hidden)
    images = np.zeros((len(latents), *shape))
    for row, column, colour in np.ndindex(*shape):
        place = 1 + (row // patch_size) * columns + column // patch_size
        inside = (row % patch_size) * patch_size + column % patch_size
        images[:, row, column, colour] = made[:, place, inside * shape[2] + colour]
    return images
