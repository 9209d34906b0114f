"""What the configs of RQ-Transformer share: `:guided` and `:tiny`; no config itself."""

import ml_collections

from resgen_jax.configs import common


def apply(
    config: ml_collections.ConfigDict,
    words: frozenset,
    *,
    guidance_scale: float,
    tiny_batch: int = 8,
) -> None:
    """The words that every config of RQ-Transformer takes: `guided` and `tiny`."""
    if "guided" in words:
        config.model.has_null_class = True
        config.loss.condition_drop_rate = 0.1
        config.sampler.guidance_scale = guidance_scale
    if "tiny" in words:
        config.data.batch_size = tiny_batch
        _make_tiny(config)


def _make_tiny(config: ml_collections.ConfigDict) -> None:
    if "space" in config:
        del config.space  # any codes will do
    config.data.num_threads = 0
    config.model.update(width=16, num_heads=2, num_body_layers=2, num_head_layers=1)
    common.take_few_steps(config)
