"""Floor 8: the command line; the only flags and the only printing. One file a verb."""

from resgen_jax.core import lazy

# Configs of users began by `configuration.read_file` before there was `resgen_jax.base_config`.
__getattr__ = lazy.modules(__name__, (), {"configuration": "resgen_jax.runs.configs.configuration"})
