"""What the examples of a dataset hold and what a generator is told of each: their space."""

import dataclasses
import math
from typing import Any

from resgen_jax.core import build, errors


@dataclasses.dataclass(frozen=True)
class Codes:
    """A position holds a stack of codes, which point into codebooks."""

    depth: int  # levels: codes of each position
    codebook_size: int  # entries of each level's codebook
    code_dim: int  # channels of their vectors
    num_beams: int = 1  # prefixes kept where a vector is given codes, as in the tokenizer

    def __post_init__(self):
        build.check_sizes(self, ("depth", "codebook_size", "code_dim", "num_beams"))

    @property
    def codebooks_shape(self) -> tuple[int, int, int]:
        """That of all levels' codebooks, "q v c"."""
        return self.depth, self.codebook_size, self.code_dim


@dataclasses.dataclass(frozen=True)
class Latents:
    """A position holds a vector; less the mean and over the deviation it has unit scale."""

    channels: int
    mean: float  # of all channels and positions together
    deviation: float

    def __post_init__(self):
        build.check_sizes(self, ("channels",))
        if not math.isfinite(self.mean):
            raise errors.UserError(f"mean of latents is {self.mean}; expected a finite number")
        if not 0 < self.deviation < math.inf:
            raise errors.UserError(
                f"deviation of latents is {self.deviation}; expected a finite number above 0"
            )


@dataclasses.dataclass(frozen=True)
class Class:
    """A generator is told a number below `num_classes`."""

    num_classes: int

    def __post_init__(self):
        build.check_sizes(self, ("num_classes",))


@dataclasses.dataclass(frozen=True)
class Text:
    """A generator is told up to `max_length` vectors, which it attends to."""

    max_length: int
    channels: int

    def __post_init__(self):
        build.check_sizes(self, ("max_length", "channels"))


@dataclasses.dataclass(frozen=True)
class Space:
    """The items of an example, how many there are at most, and what is told of it.

    A prompt is no condition of its own: any sampler may be given items that it keeps.
    """

    item: Codes | Latents
    max_length: int  # positions of the longest example
    grid: tuple[int, int] | None = None  # rows and columns, where the positions are those of one
    condition: Class | Text | None = None

    def __post_init__(self):
        grid, most = self.grid, build.LARGEST_SIZE
        if grid is not None and not (min(grid) >= 1 and self.max_length == math.prod(grid) <= most):
            raise errors.UserError(
                f"grid is {grid} of {self.max_length} positions; expected at least one row and "
                f"column, and as many positions as they make, at most {most}"
            )
        build.check_sizes(self, ("max_length",))

    @property
    def layout(self) -> tuple[int, int]:
        """Rows and columns of the positions; without a grid they are one row."""
        return self.grid or (1, self.max_length)

    @property
    def codes(self) -> Codes:
        """What its positions hold; UserError where that is not codes."""
        if not isinstance(self.item, Codes):
            raise errors.UserError(
                f"these are latents of {self.item.channels} channels; expected codes: encode with "
                "a tokenizer that gives codes"
            )
        return self.item

    @property
    def latents(self) -> Latents:
        """What its positions hold; UserError where that is not latents."""
        if not isinstance(self.item, Latents):
            raise errors.UserError(
                f"these are codes of depth {self.item.depth}; expected latents: encode with a "
                "tokenizer that gives latents"
            )
        return self.item

    @property
    def num_classes(self) -> int:
        """Classes of the condition; UserError where it is another."""
        if not isinstance(self.condition, Class):
            found = "a text" if isinstance(self.condition, Text) else "nothing"
            raise errors.UserError(
                f"the condition of these data is {found}; expected a class: use data with classes"
            )
        return self.condition.num_classes

    @property
    def num_tokens(self) -> int:
        """Codes of the longest example: positions times levels."""
        return self.max_length * self.codes.depth


def image_codes(
    grid: tuple[int, int],
    depth: int,
    codebook_size: int,
    code_dim: int,
    num_classes: int,
    num_beams: int = 1,
) -> Space:
    """The space of images as codes, by class."""
    item = Codes(depth, codebook_size, code_dim, num_beams)
    return Space(item, math.prod(grid), grid, Class(num_classes))


def fields_of(space: Space) -> dict[str, Any]:
    """The space as files hold it: flat, but for latents and a text."""
    fields: dict[str, Any] = {"max_length": space.max_length}
    if space.grid is not None:
        fields = {"grid": space.grid}
    item = dataclasses.asdict(space.item)
    fields |= item if isinstance(space.item, Codes) else {"latents": item}
    if space.condition is not None:
        condition = dataclasses.asdict(space.condition)
        fields |= condition if isinstance(space.condition, Class) else {"text": condition}
    return fields


def of_fields(fields: Any, where: str) -> Space:
    """The space of what `fields_of` gave; `where` names it in messages.

    Raises UserError for what is no mapping, and for fields that are missing, unknown, or of two
    kinds of items or conditions.
    """
    build.check_fields(fields, where, "a space")
    names = [field.name for field in dataclasses.fields(_Told)]
    told = build.build(_Told, {name: fields[name] for name in names if name in fields}, where)
    for pair in (("grid", "max_length"), ("num_classes", "text")):
        if all(name in fields for name in pair):
            raise errors.UserError(f"{where} tells of {' and '.join(pair)}; expected one of them")
    own = {name: value for name, value in fields.items() if name not in names}
    if told.latents is not None and own:
        raise errors.UserError(
            f"{where} tells of latents and of {', '.join(sorted(own))}; expected latents alone"
        )
    condition: Class | Text | None = told.text
    if "num_classes" in fields:
        condition = build.build(Class, {"num_classes": told.num_classes}, where)
    made = {
        "item": told.latents or build.build(Codes, own, where),
        "max_length": told.max_length if told.grid is None else math.prod(told.grid),
        "grid": told.grid,
        "condition": condition,
    }
    return build.build(Space, made, where)


@dataclasses.dataclass(frozen=True)
class _Told:
    """What files tell of a space beside the sizes of codes."""

    grid: tuple[int, int] | None = None
    max_length: int = 0
    latents: Latents | None = None
    num_classes: int = 0
    text: Text | None = None
