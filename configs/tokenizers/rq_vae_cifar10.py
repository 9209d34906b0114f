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

from resgen_jax.configs import rq_vae
from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` holds any of `l2` and `tiny`."""
    words = build.words(arg, {"l2", "tiny"})
    config = rq_vae.of_photographs(image_size=32)
    config.model.update(width=64, num_decoder_res_blocks=2)
    config.quantizer.update(depth=12, codebook_size=512)
    rq_vae.sharpen(config)
    # LPIPS at 0.1, a width of 32 and 2,500 steps gave 24.3 dB of blur, in which a classifier found
    # 27 % of the classes.
    config.loss.update(
        perceptual_weight=0.3, depth_drop_rate=0.2, start_step=500, average_decay=0.999
    )
    config.adversarial.update(width=32, weight=0.1, start_step=4000)
    config.adversarial.optimizer.learning_rate = 2e-4
    config.optimizer.update(learning_rate=1.5e-3, warmup_steps=200)
    config.train = dict(
        num_steps=9000,
        log_every=50,
        evaluate_every=1000,
        checkpoint_every=500,
        num_held_out_batches=16,  # enough to see the trend; all of them would take minutes
    )
    if "tiny" in words:
        rq_vae.make_tiny(config)
        config.adversarial.start_step = 3
    if "l2" in words:
        rq_vae.leave_squared_error_alone(config)
    return config
