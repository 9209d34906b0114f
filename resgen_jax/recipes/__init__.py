"""Floor 6: one file a method. A recipe is all that the rest of the library knows of it.

It is imported when it is asked for. The settings of its sampler are known before: they are flags.
"""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from resgen_jax.core import errors
from resgen_jax.generators import (
    ar_resgen_sampler_spec,
    resgen_sampler_spec,
    rq_transformer_sampler_spec,
)

# Each method, by the name of its file here, and where `Spec` and `CHOICES` of its sampler stand.
SAMPLERS: Mapping[str, ModuleType | None] = {
    "rq_vae": None,
    "resgen": resgen_sampler_spec,
    "rq_transformer": rq_transformer_sampler_spec,
    "ar_resgen": ar_resgen_sampler_spec,
}
NAMES = tuple(SAMPLERS)


def find(name: object) -> Any:
    """The recipe of `config.task`; UserError, naming those that are known, for another one."""
    if not isinstance(name, str) or name not in NAMES:
        known = ", ".join(map(repr, NAMES))
        raise errors.UserError(f"config.task is {name!r}; expected one of {known}")
    return importlib.import_module(f"resgen_jax.recipes.{name}").RECIPE
