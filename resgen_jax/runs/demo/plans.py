"""What a demo runs, and where everything goes."""

import dataclasses
import pathlib
from typing import Any


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the demo runs: two configs, and where everything goes."""

    workdir: pathlib.Path
    tokenizer: Any
    generator: Any
    num_samples: int
    judge_steps: int
    num_crops: int  # random crops of each training image whose codes the generator sees, too
    is_digits: bool
    has_targets: bool  # goals are for the digits, trained to the end

    @property
    def tokenizer_dir(self) -> pathlib.Path:
        """Run directory of the tokenizer."""
        return self.workdir / "tokenizer"

    @property
    def generator_dir(self) -> pathlib.Path:
        """Run directory of the generator."""
        return self.workdir / "generator"

    @property
    def codes_dir(self) -> pathlib.Path:
        """The codes between the two."""
        return self.workdir / "codes"
