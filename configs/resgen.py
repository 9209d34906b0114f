"""What the configs of ResGen share: a small network for two CPU cores, and the words of heads.

No config itself.
"""

import ml_collections

from resgen_jax.configs import common
from resgen_jax.core import errors


def base() -> ml_collections.ConfigDict:
    """ResGen of 4 layers; batch, learning rate, warm-up and length are left to the config."""
    config = common.begin("resgen")
    config.data = dict(codes="", num_threads=0)
    config.model = dict(
        num_components=64,
        rank=16,
        # As large as the mixture with its code head, on the codes of MNIST's digits.
        levels=dict(width=56),
        trunk=dict(
            num_layers=4,
            width=128,
            num_heads=4,
            mlp_width=512,
            modulation_width=128,
            rotary_base=100.0,
            activation="gelu",
            dropout_rate=0.1,
            remat="matmuls",
        ),
    )
    config.loss = dict(
        objective="exact", code_loss_weight=1.0, average_decay=0.995, num_nll_draws=32
    )
    config.optimizer = dict(b2=0.99, weight_decay=0.01, clip_norm=1.0)
    # At equal agreement with the class, the code head's confidence gave more variety and a smaller
    # distance than the component's on MNIST's digits.
    config.sampler = dict(num_steps=16, confidence="code_head", guidance_scale=1.5, noise_scale=1.0)
    return config


HEADS = frozenset({"mixture", "codes", "levels", "flow"})
# Words that every config of ResGen takes: the heads, the paper's form, and a few small steps.
WORDS = HEADS | {"paper", "tiny"}


def apply(
    config: ml_collections.ConfigDict,
    words: frozenset,
    *,
    head: str = "levels",
    tiny_batch: int = 8,
) -> None:
    """The words that every config of ResGen takes; `head` is taken where none of them names one.

    The level head was ahead of all others on digits (docs/comparison.md).
    """
    named = sorted(words & (HEADS | {"paper"}))
    if len(named) > 1:
        raise errors.UserError(
            f"the words {', '.join(named)} name more than one head; give one of them (the paper's "
            "is the mixture)"
        )
    if named == ["paper"]:
        _train_on_the_bound(config)
    else:
        _take_head(config, named[0] if named else head)
    if "tiny" in words:
        config.data.batch_size = tiny_batch
        _make_tiny(config)


def _train_on_the_bound(config: ml_collections.ConfigDict) -> None:
    """The paper's two-part bound alone; without a code head, the component has the confidence."""
    config.loss.update(objective="bound", code_loss_weight=0.0)
    config.model.has_code_head = False
    config.sampler.confidence = "component"


def _take_head(config: ml_collections.ConfigDict, head: str) -> None:
    """This head in place of the mixture, which the config has."""
    if head == "mixture":
        return
    config.model.head = head
    config.sampler.update(proposal=head, confidence="code_head" if head == "flow" else "drawn")
    if head == "levels":
        config.model.has_code_head = False
        config.loss.code_loss_weight = 0.0


def _make_tiny(config: ml_collections.ConfigDict) -> None:
    if "space" in config:
        del config.space  # any codes will do
    config.data.num_threads = 0
    config.model.update(
        num_components=8,
        rank=2,
        levels=dict(width=8, num_blocks=1),
        flow=dict(width=8, num_blocks=1, num_steps=2),
    )
    config.model.trunk.update(
        num_layers=2, width=16, num_heads=2, mlp_width=32, modulation_width=16
    )
    config.loss.num_nll_draws = 4
    config.sampler.num_steps = 2
    common.take_few_steps(config)
