"""RQ-VAE on CIFAR-10, or any folder of 32x32 photographs: a 4x4 grid of depth 8, with LPIPS.

    resgen train --config=configs/tokenizers/rq_vae_cifar10.py --config.data.path=CIFAR10 \\
        --config.loss.weights=WEIGHTS --workdir=runs/cifar10

CIFAR10 holds train/ and test/ with a folder a class; WEIGHTS is the folder with LPIPS-squeeze.
`:l2` is the same network trained by squared error alone, `:tiny` a few steps of a small one without
weights.

Expect of seed 0, on 10,000 test images (JPEG, not the original pixels; `resgen reconstruct`): PSNR
19.8, 21.8, 22.9, 23.6, 23.9, 24.2, 24.3, 24.3 dB at depth 1 to 8, all codes used. 5 minutes of wall
time on two shared cores of an AMD EPYC.
"""

import ml_collections

from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` holds any of `l2` and `tiny`."""
    words = build.words(arg, {"l2", "tiny"})
    config = ml_collections.ConfigDict()
    config.task = "rq_vae"
    config.seed = 0
    config.data = dict(
        source="folder",
        path="",
        image_size=32,
        channels=3,
        batch_size=32,
        num_threads=2,
        max_unreadable=100,
    )
    # Patches of 4 keep the convolutions at 16x16 and below, which two CPU cores can train.
    config.model = dict(
        patch_size=4,
        width=32,
        multipliers=(1, 2),
        num_res_blocks=1,
        num_decoder_res_blocks=2,
        num_middle_blocks=1,
        has_middle_attention=False,
        bridge_size=0,
        code_dim=32,
    )
    config.quantizer = dict(
        learner="ema", depth=8, codebook_size=256, decay=0.98, restart_threshold=0.1
    )
    config.loss = dict(
        reconstruction="l2",
        perceptual="squeeze",
        perceptual_weight=0.1,
        weights="",
        commitment="total",
        commitment_weight=0.1,
        depth_drop_rate=0.2,
        start_step=300,
        average_decay=0.99,
    )
    config.optimizer = dict(learning_rate=2e-3, warmup_steps=100, b2=0.99, clip_norm=1.0)
    config.mesh = dict(data=-1, fsdp=1, tensor=1)
    config.train = dict(
        num_steps=2500,
        log_every=25,
        evaluate_every=500,
        checkpoint_every=250,
        num_held_out_batches=16,  # enough to see the trend; all of them would take minutes
    )
    if "tiny" in words:
        config.model.width = 8
        config.data.update(batch_size=8, image_size=16)
        config.quantizer.update(depth=3, codebook_size=16)
        config.loss.update(start_step=2, perceptual="")
        config.optimizer.warmup_steps = 1
        config.train = dict(num_steps=4, log_every=1, evaluate_every=2, checkpoint_every=2)
    if "l2" in words:
        config.loss.perceptual = ""
    return config
