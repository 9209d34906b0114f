"""Soft quantization in NumPy's float64, and gradients by differences."""

import numpy as np
import scipy.special


def unit(vectors):
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def cosine_token(latent, table, temperature, fixed):
    """One token; the cosines see `fixed` in place of the codebook."""
    return scipy.special.softmax(unit(fixed) @ unit(latent) / temperature) @ unit(table)


def euclidean_token(latent, table, temperature):
    distance = np.sqrt(((latent - table) ** 2).sum(-1))
    return scipy.special.softmax(-distance / temperature) @ table


def by_segments(token, latents, codebooks, *more):
    """`token(latent, codebook, ...)` of every token; `more` are given by codebook and position."""
    found = np.zeros(latents.shape)
    size = latents.shape[1] // len(codebooks)
    for example, position in np.ndindex(latents.shape[:2]):
        group = position // size
        given = [of(example, position, group) for of in more]
        found[example, position] = token(latents[example, position], codebooks[group], *given)
    return found


def quantize(latents, codebooks, temperature, fixed=None):
    """The released form: cosines, a codebook for each segment."""
    fixed = codebooks if fixed is None else fixed
    more = (lambda *_: temperature), (lambda _, __, group: fixed[group])
    return by_segments(cosine_token, as_float64(latents), as_float64(codebooks), *more)


def quantize_euclidean(latents, codebooks, temperature):
    """The paper's form: distances, nothing normalised."""
    arrays = as_float64(latents), as_float64(codebooks)
    return by_segments(euclidean_token, *arrays, lambda *_: temperature)


def quantize_mixture(latents, codebooks, sharpness):
    """The same with a sharpness for each position."""
    arrays = as_float64(latents), as_float64(codebooks)
    temperatures = 1 / as_float64(sharpness)
    return by_segments(euclidean_token, *arrays, lambda b, l, _: temperatures[b, l])


def as_float64(array):
    return np.asarray(array, np.float64)


def slopes(function, array, step=1e-6):
    """The gradient of a function of one array by central differences."""
    array = as_float64(array)
    found = np.zeros(array.shape)
    for place in np.ndindex(array.shape):
        moved = np.zeros(array.shape)
        moved[place] = step
        found[place] = (function(array + moved) - function(array - moved)) / (2 * step)
    return found
