"""ResGen on the codes of the handwritten digits: 2x2 positions of depth 8, ten classes.

    resgen encode --workdir=runs/digits_tokenizer --output=runs/digits_codes
    resgen train --config=configs/generators/resgen_digits.py \\
        --config.data.codes=runs/digits_codes --workdir=runs/digits_generator

`:paper` trains the paper's two-part bound alone, `:tiny` takes a few steps of a small network.

The head is `:levels`; `:mixture`, `:codes` and `:flow` train another (docs/choices.md).
"""

import ml_collections

from resgen_jax.configs import resgen
from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` holds any of the words above, with commas between them."""
    words = build.words(arg, resgen.WORDS)
    config = resgen.base()
    config.data.batch_size = 128
    config.model.update(num_components=16, rank=8)  # 64 gave worse samples even with more steps
    config.model.trunk.update(
        num_layers=3, width=96, mlp_width=384, modulation_width=96, activation="relu"
    )
    config.optimizer.update(learning_rate=4e-3, warmup_steps=100)
    config.train = dict(num_steps=2500, log_every=25, evaluate_every=500, checkpoint_every=500)
    config.sampler = dict(num_steps=16, guidance_scale=1.25, noise_scale=0.7)
    resgen.apply(config, words, tiny_batch=16)
    return config
