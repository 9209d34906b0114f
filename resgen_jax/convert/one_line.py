"""What an exported model is, in one line: kind, sizes, classes, and where its weights are from."""

from collections.abc import Mapping, Sequence
from typing import Any

from resgen_jax.core import errors, spaces
from resgen_jax.tokenizers import rq_vae

MOST_NAMED = 5  # classes
SCALES = "scales"  # of a description, where codes have no grid and depth


def of_tokenizer(
    spec: rq_vae.Spec, codebooks_shape: Sequence[int], description: Mapping[str, Any]
) -> str:
    """`<Tokenizer rq_vae: images 32x32x1, grid 4x4, depth 8, codebook_size 128, step 1,000>`."""
    depth, codebook_size, code_dim = codebooks_shape
    sizes = [f"images {spec.image_size}x{spec.image_size}x{spec.channels}"]
    if SCALES in description:
        sides = description[SCALES]["scales"]
        sizes.append(f"grids of sides {', '.join(map(str, sides))}")
    else:
        sizes.append(f"{_grid(spec.grid)}, depth {depth}")
    sizes.append(f"codebook_size {codebook_size:,}, code_dim {code_dim}")
    return _line("Tokenizer", description, sizes)


def of_generator(
    space: spaces.Space, class_names: Sequence[str], description: Mapping[str, Any]
) -> str:
    """`<Generator resgen: grid 4x4, depth 8, codebook_size 128, 2 classes (cat, dog), step 9>`."""
    more = ", ..." if len(class_names) > MOST_NAMED else ""
    named = f"({', '.join(class_names[:MOST_NAMED])}{more})"
    classes = f"{space.num_classes:,} classes {named}"
    return _line("Generator", description, [*_sizes(space), classes])


def of_predictor(space: spaces.Space, description: Mapping[str, Any]) -> str:
    """As of a generator, whose classes have no names here."""
    return _line("CodePredictor", description, [*_sizes(space), f"{space.num_classes:,} classes"])


def _sizes(space: spaces.Space) -> list[str]:
    return [
        _grid(space.layout),
        f"depth {space.codes.depth}",
        f"codebook_size {space.codes.codebook_size:,}",
    ]


def _grid(grid: Sequence[int]) -> str:
    return f"grid {'x'.join(map(str, grid))}"


def _line(name: str, description: Mapping[str, Any], sizes: Sequence[str]) -> str:
    if "step" in description:
        sizes = [*sizes, f"step {description['step']:,}"]
    text = f"<{name} {description['kind']}: {', '.join(sizes)}>"
    return " ".join(errors.shown(text).split())
