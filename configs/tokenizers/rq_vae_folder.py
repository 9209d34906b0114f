"""RQ-VAE on a folder of images, one subfolder a class: 64x64 pixels to an 8x8 grid of depth 8.

    resgen train --config=configs/tokenizers/rq_vae_folder.py --config.data.path=DIR \\
        --workdir=runs/tokenizer

JPEG, PNG and WebP of any size; the shorter side is resized to 64 and the centre is kept.
`:px32` takes 32x32 pixels (a 4x4 grid), `:tiny` a few steps of a small network.
"""

import ml_collections

from resgen_jax.configs import rq_vae
from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` holds any of `px32` and `tiny`."""
    words = build.words(arg, {"px32", "tiny"})
    config = rq_vae.of_photographs(image_size=32 if "px32" in words else 64)
    config.data.num_threads = 4
    config.loss = dict(commitment_weight=0.25, start_step=100, average_decay=0.99)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=100)
    config.train = dict(
        num_steps=1500,
        log_every=25,
        evaluate_every=500,
        checkpoint_every=250,
        num_held_out_batches=16,  # enough to see the trend; all of them would take minutes
    )
    if "tiny" in words:
        rq_vae.make_tiny(config)
    return config
