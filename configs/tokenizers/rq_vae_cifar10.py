"""RQ-VAE on CIFAR-10, or any folder of 32x32 photographs: a 4x4 grid of depth 12.

LPIPS and, from step 4,000 on, an adversary are in the loss.

    resgen train --config=configs/tokenizers/rq_vae_cifar10.py --config.data.path=CIFAR10 \\
        --config.loss.weights=WEIGHTS --workdir=runs/cifar10

CIFAR10 holds train/ and test/ with a folder a class; WEIGHTS is the folder with LPIPS-squeeze.
`:l2` is the same network trained by squared error alone, `:tiny` a few steps of a small one without
weights.

Expect of seed 0, on 10,000 test images (JPEG, not the original pixels; `resgen reconstruct`): PSNR
20.4, 22.6, 24.1, 25.1, 25.9, 26.3, 26.6, 26.8, 26.9, 26.9, 27.0, 27.0 dB at depth 1 to 12, all
codes used. 39 minutes on two shared cores of an AMD EPYC.
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
        width=64,
        multipliers=(1, 2),
        num_res_blocks=1,
        num_decoder_res_blocks=2,
        num_middle_blocks=1,
        has_middle_attention=False,
        bridge_size=0,
        code_dim=32,
    )
    config.quantizer = dict(
        learner="ema", depth=12, codebook_size=512, decay=0.98, restart_threshold=0.1
    )
    # LPIPS at 0.1, a width of 32 and 2,500 steps gave 24.3 dB of blur, in which a classifier found
    # 27 % of the classes.
    config.loss = dict(
        reconstruction="l2",
        perceptual="squeeze",
        perceptual_weight=0.3,
        weights="",
        commitment="total",
        commitment_weight=0.1,
        depth_drop_rate=0.2,
        start_step=500,
        average_decay=0.999,
    )
    config.adversarial = dict(
        kind="patch_gan",
        width=32,
        num_layers=2,
        loss="hinge",
        weight=0.1,
        weighting="adaptive",
        start_step=4000,
        optimizer=dict(learning_rate=2e-4, b1=0.5, b2=0.9, clip_norm=1.0),
    )
    config.optimizer = dict(learning_rate=1.5e-3, warmup_steps=200, b2=0.99, clip_norm=1.0)
    config.mesh = dict(data=-1, fsdp=1, tensor=1)
    config.train = dict(
        num_steps=9000,
        log_every=50,
        evaluate_every=1000,
        checkpoint_every=500,
        num_held_out_batches=16,  # enough to see the trend; all of them would take minutes
    )
    if "tiny" in words:
        config.model.width = 8
        config.data.update(batch_size=8, image_size=16)
        config.quantizer.update(depth=3, codebook_size=16)
        config.loss.update(start_step=2, perceptual="")
        config.adversarial.update(width=4, num_layers=1, start_step=3)
        config.optimizer.warmup_steps = 1
        config.train = dict(num_steps=4, log_every=1, evaluate_every=2, checkpoint_every=2)
    if "l2" in words:
        config.loss.perceptual = ""
        del config["adversarial"]
    return config
