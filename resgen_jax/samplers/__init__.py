"""Floor 2: sampling loops that know no network, only a `predict` or a velocity."""

from resgen_jax.core import lazy

__all__ = [
    "ancestral",
    "dpm_solver",
    "guidance",
    "halton",
    "interface",
    "mask_predict",
    "ode",
    "order",
    "remasking",
    "sde",
    "time_grids",
]
__getattr__ = lazy.modules(__name__, __all__)
