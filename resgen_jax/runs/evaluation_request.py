"""What is to be measured, against what, and by which network."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Request:
    """One of `samples`, `workdir`, `write_reference` and `write_judge`, and what goes with it."""

    samples: str | None = None  # an NPZ file (arr_0) or a folder
    workdir: str | None = None  # a run of a tokenizer or a generator
    write_reference: str | None = None  # a file of statistics of `images`
    write_judge: str | None = None  # the folder of a judge of `images`
    reference: str | None = None  # statistics, images in an NPZ file, or a folder
    images: str | None = None  # a folder; of a run in place of its own
    image_size: int | None = None  # side that `images` are cropped to; None = as they are
    num_images: int = 0  # at most, evenly spread; 0 = all
    statistics: str | None = None  # the folder that keeps those of a run's images; None = the run's
    depths: tuple[int, ...] = ()  # of a tokenizer; () = all
    num_samples: int = 50_000  # of a generator
    seed: int = 0  # of its samples
    num_seeds: int = 1  # how many sets of them are drawn, by `seed` and the numbers behind it
    judge: str | None = None  # the folder of a judge of photographs
    judge_epochs: float | None = None  # of its training; None = as its spec has it
    labels: str = "balanced"  # of its samples; see `sampling.LABELS`
    # Of its sampler; None = as in its config.
    knobs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    guide: str | None = None  # a weaker model that its sampler is guided by; see `guiding`
    tokenizer: str | None = None  # where it lies now
    crop: str | None = None  # of images; None = as the run's config, or ADM's
    # The network; all, or None = those whose weights are there, of a tokenizer none.
    features: str | None = None
    weights: str | None = None  # their folder
    adm_manifolds: bool = False  # precision and recall by ADM's float16 distances, too
    batch_size: int = 64  # images a time
