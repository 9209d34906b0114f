"""RQ-VAE on a folder of images, one subfolder a class: 64x64 pixels to an 8x8 grid of depth 8.

    resgen train --config=configs/tokenizers/rq_vae_folder.py --config.data.path=DIR \\
        --workdir=runs/tokenizer

JPEG, PNG and WebP of any size; the shorter side is resized to 64 and the centre is kept.
`:px32` takes 32x32 pixels (a 4x4 grid), `:tiny` a few steps of a small network.
"""

import ml_collections

from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` holds any of `px32` and `tiny`."""
    words = build.words(arg, {"tiny", "px32"})
    config = ml_collections.ConfigDict()
    config.task = "rq_vae"
    config.seed = 0
    config.data = dict(
        source="folder",
        path="",
        image_size=32 if "px32" in words else 64,
        channels=3,
        batch_size=32,
        num_threads=4,
        max_unreadable=100,
    )
    # Patches of 4 keep the convolutions at 16x16 and below, which two CPU cores can train.
    config.model = dict(
        patch_size=4,
        width=32,
        multipliers=(1, 2),
        num_res_blocks=1,
        num_decoder_res_blocks=1,
        num_middle_blocks=1,
        has_middle_attention=False,
        bridge_size=0,
        code_dim=32,
    )
    config.quantizer = dict(
        learner="ema", depth=8, codebook_size=256, decay=0.98, restart_threshold=0.1
    )
    config.loss = dict(commitment_weight=0.25, start_step=100, average_decay=0.99)
    config.optimizer = dict(learning_rate=1e-3, warmup_steps=100, b2=0.99, clip_norm=1.0)
    config.mesh = dict(data=-1, fsdp=1, tensor=1)
    config.train = dict(
        num_steps=1500,
        log_every=25,
        evaluate_every=500,
        checkpoint_every=250,
        num_held_out_batches=16,  # enough to see the trend; all of them would take minutes
    )
    if "tiny" in words:
        config.model.width = 8
        config.data.update(batch_size=8, image_size=16)
        config.quantizer.update(depth=3, codebook_size=16)
        config.loss.start_step = 2
        config.optimizer.warmup_steps = 1
        config.train = dict(num_steps=4, log_every=1, evaluate_every=2, checkpoint_every=2)
    return config
