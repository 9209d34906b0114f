"""What the configs of AR-ResGen share: a small network, the heads' words and `:tiny`.

No config itself.
"""

import ml_collections

from resgen_jax.configs import common

WORDS = {"codes", "levels", "flow", "tiny"}


def base() -> ml_collections.ConfigDict:
    """AR-ResGen of 4 layers; batch, learning rate, warm-up and length are left to the config."""
    config = common.begin("ar_resgen")
    config.data = dict(codes="", num_threads=0)
    config.model = dict(
        head="mixture",
        num_components=64,
        rank=16,
        width=128,
        num_heads=4,
        num_layers=4,
        dropout_rate=0.1,
        remat="matmuls",
    )
    config.loss = dict(
        objective="exact", code_loss_weight=1.0, average_decay=0.995, num_nll_draws=32
    )
    config.optimizer = dict(b2=0.99, weight_decay=0.01, clip_norm=1.0)
    config.sampler = dict(guidance_scale=1.5)
    return config


def apply(config: ml_collections.ConfigDict, words: frozenset, tiny_batch: int = 8) -> None:
    """The words that every config of AR-ResGen takes: a head's name, and `tiny`."""
    for head in ("codes", "levels", "flow"):
        if head in words:
            config.model.head = head
    if config.model.head in ("levels", "flow"):  # which need no auxiliary loss
        config.model.has_code_head = False
        config.loss.code_loss_weight = 0.0
    if "tiny" in words:
        config.data.batch_size = tiny_batch
        _make_tiny(config)


def _make_tiny(config: ml_collections.ConfigDict) -> None:
    config.data.num_threads = 0
    config.model.update(width=16, num_heads=2, num_layers=2, num_components=8, rank=2)
    config.model.levels = dict(width=8, num_blocks=1)
    config.model.flow = dict(width=8, num_blocks=1, num_steps=2)
    config.loss.num_nll_draws = 4
    common.take_few_steps(config)
