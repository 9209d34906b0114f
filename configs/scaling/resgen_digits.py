"""How ResGen's loss falls with size and compute: 4 sizes x 3 budgets on the digits' codes.

    resgen scale plan --config=scaling/resgen_digits.py --config.base.data.codes=runs/codes
    resgen scale run --config=scaling/resgen_digits.py --config.base.data.codes=runs/codes \\
        --workdir=runs/study
    resgen scale fit --workdir=runs/study

Takes 7.4 CPU minutes on one core. Expected, with 90 % intervals: exponents of the parameters 0.96
(0.62 to 1.44) and of the examples 0.15 (0.07 to 0.23), R^2 0.987; best sizes 14k, 13k and 24k
parameters. The floor is not determined, and the 1,437 digits repeat up to 216 times:
an example of the method, not a law to extrapolate.

`:tiny` takes a few steps of four small networks, to try the machinery.
"""

import ml_collections

from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The study; `arg` is empty or `tiny`."""
    words = build.words(arg, {"tiny"})
    config = ml_collections.ConfigDict()
    config.base = "generators/resgen_digits.py:mixture"
    config.fields = dict(
        data=dict(batch_size=32),  # small, so that the cheapest runs still take many steps
        model=dict(trunk=dict(num_layers=2, dropout_rate=0.0)),
        loss=dict(average_decay=0.98),
        optimizer=dict(warmup_steps=30),
        train=dict(log_every=50, evaluate_every=0, checkpoint_every=0),
    )
    config.sizes = {f"width{width}": size(width) for width in (8, 16, 32, 64)}
    config.budgets = (1e10, 3e10, 9e10)
    config.unit = "flops"
    config.seeds = (0,)
    config.metric = "mixture_loss"
    config.meaning = "held-out mixture loss (nats per masked token)"
    if "tiny" in words:
        config.base += ",tiny"
        config.fields.data.batch_size = 16
        config.fields.optimizer.warmup_steps = 1
        config.fields.train.log_every = 1
        config.sizes = {f"width{width}": size(width) for width in (4, 8, 12, 16)}
        config.budgets = (64, 128, 256)
        config.unit = "examples"
    return config


def size(width: int) -> dict:
    """What a network of this width sets; heads of 8 channels."""
    trunk = dict(
        width=width, num_heads=max(1, width // 8), mlp_width=4 * width, modulation_width=width
    )
    return dict(model=dict(trunk=trunk))
