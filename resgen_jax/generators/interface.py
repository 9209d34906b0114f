"""What every generator knows of the codes it generates."""

import dataclasses
import math

from resgen_jax.core import build, errors


@dataclasses.dataclass(frozen=True)
class CodeSpace:
    """Sizes of the code grids: positions, levels, entries, channels, and the classes they have."""

    grid: tuple[int, int]  # rows and columns of positions
    depth: int  # levels: codes of each position
    codebook_size: int  # entries of each level's codebook
    code_dim: int  # channels of their vectors
    num_classes: int  # that an example can have
    num_beams: int = 1  # prefixes kept where a vector is given codes, as in the tokenizer

    def __post_init__(self):
        if min(self.grid) < 1 or self.length > build.LARGEST_SIZE:
            raise errors.UserError(
                f"grid is {self.grid}; expected at least one row and column, and at most "
                f"{build.LARGEST_SIZE} positions"
            )
        names = ("depth", "codebook_size", "code_dim", "num_classes", "num_beams")
        build.check_sizes(self, names)

    @property
    def length(self) -> int:
        """Number of positions."""
        return math.prod(self.grid)

    @property
    def num_tokens(self) -> int:
        """Number of codes in one example: positions times levels."""
        return self.length * self.depth
