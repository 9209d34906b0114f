"""ResGen on the codes of a folder of images, as `rq_vae_folder.py` makes them.

    resgen encode --workdir=runs/tokenizer --output=runs/codes
    resgen train --config=configs/generators/resgen_folder.py --config.data.codes=runs/codes \\
        --workdir=runs/generator

Grid, depth and classes come from the codes. `:paper` trains the paper's two-part bound alone,
`:tiny` takes a few steps of a small network.

The head is `:levels`; `:mixture`, `:codes` and `:flow` train another (docs/choices.md).
"""

import ml_collections

from resgen_jax.configs import resgen
from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` holds any of the words above, with commas between them."""
    words = build.words(arg, resgen.WORDS)
    config = resgen.base()
    config.data.batch_size = 32
    config.optimizer.update(learning_rate=1e-3, warmup_steps=200)
    config.train = dict(
        num_steps=1500,
        log_every=25,
        evaluate_every=500,
        checkpoint_every=250,
        num_held_out_batches=8,  # enough to see the trend; all of them would take minutes
    )
    resgen.apply(config, words)
    return config
