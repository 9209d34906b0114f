"""The one-letter name of every dimension, shared by type annotations, einsum and einops."""

from types import MappingProxyType

DIMENSIONS = MappingProxyType(
    {
        "b": "batch",
        "l": "positions of the latent grid, flattened row by row",
        "q": "depth: RVQ levels, 0 = coarse",
        "p": "a prefix of the RVQ levels, p <= q; in images, the side of a patch",
        "g": "codebooks side by side, each for its segment of positions or part of channels",
        "v": "entries of a codebook",
        "c": "channels of a code vector; of an image, its colours",
        "d": "width of the transformer",
        "f": "width of its feed-forward layers",
        "h": "rows of an image or grid",
        "w": "columns of an image or grid",
        "a": "attention heads",
        "k": "width of one attention head",
        "m": "mixture components",
        "r": "rank of the mixture means",
        "t": "audio frames",
        "s": "audio samples; in a sampler, its steps",
        "n": "any flattened batch",
    }
)
