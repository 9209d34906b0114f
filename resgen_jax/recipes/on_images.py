"""The role of tokenizers: methods that train on images."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from resgen_jax.data import images, sources, views
from resgen_jax.recipes import interface
from resgen_jax.tokenizers import interface as tokenizers

CHOICES: dict[str, Iterable[Any]] = {
    "data.source": sources.OPENERS,
    "data.channels": images.MODES,
    "data.crop": views.CROPS,
}


def open_data(config: Any) -> interface.Data:
    """The images of a config."""
    dataset = sources.open_images(config.data)
    prints = {"train": dataset.train.fingerprint(), "held_out": dataset.held_out.fingerprint()}
    return interface.Data(
        dataset.train,
        dataset.held_out,
        len(dataset.class_names),
        record=prints,
        identity=prints,
        found=dataset.describe(),
    )


def reading(config: Any, note: Callable[[str], None]) -> dict[str, Any]:
    """How many images may be skipped, who hears of it, and how they are changed."""
    return {
        "max_unreadable": config.data.max_unreadable,
        "on_unreadable": lambda failure: note(f"skipped: {failure}"),
        "augmentation": config.data.augmentation,
    }


def example(tokenizer: tokenizers.Tokenizer) -> dict[str, Any]:
    """Shapes and types of one example of a training batch."""
    shape = (tokenizer.image_size, tokenizer.image_size, tokenizer.channels)
    return {
        "index": jax.ShapeDtypeStruct((), np.int32),
        "images": jax.ShapeDtypeStruct(shape, np.uint8),
    }


ROLE = interface.Role(
    noun="tokenizer",
    next_verb="encode",
    trains_on="images",
    record_file="data.json",
    may_accept_others=True,
    open_data=open_data,
    assumed=lambda config: None,
    reading=reading,
    example=example,
    ends=lambda tokenizer: {"images": 256},
)
