"""RQ-VAE on 5,000 of MNIST's digits: 28x28 pixels in a black border, 4x4 positions of depth 8.

    resgen train --config=configs/tokenizers/rq_vae_mnist.py --workdir=runs/mnist_tokenizer

Expect of seed 0: PSNR of 500 held-out digits 19.2, 21.1, 21.9, 22.3, 22.5, 22.7, 22.8, 22.8 dB at
depth 1 to 8 (`resgen reconstruct`), all codes used; 117 s of CPU time on two shared cores.

`:tiny` takes a few steps of a small network, to try the machinery.
"""

import ml_collections

from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` is empty or `tiny`."""
    words = build.words(arg, {"tiny"})
    config = ml_collections.ConfigDict()
    config.task = "rq_vae"
    config.seed = 0
    config.data = dict(
        source="mnist",
        path="",
        image_size=32,
        channels=1,
        batch_size=64,
        num_threads=0,
        random_crop=(0.85, 1.0),  # digits a little larger and off the centre, too
    )
    # Patches of 4 keep the convolutions at 8x8 and below, which two CPU cores can train.
    config.model = dict(
        patch_size=4,
        width=32,
        multipliers=(1, 2),
        num_res_blocks=1,
        num_decoder_res_blocks=1,
        num_middle_blocks=1,
        has_middle_attention=False,
        bridge_size=0,
        code_dim=16,
    )
    config.quantizer = dict(
        learner="ema", depth=8, codebook_size=128, decay=0.98, restart_threshold=0.1
    )
    # Half of the images are decoded from a prefix of their levels: more of each digit is in the
    # coarse codes, which the generator learns best.
    config.loss = dict(commitment="prefix", depth_drop_rate=0.5, start_step=100, average_decay=0.99)
    config.optimizer = dict(learning_rate=2e-3, warmup_steps=50, b2=0.99)
    config.mesh = dict(data=-1, fsdp=1, tensor=1)
    config.train = dict(num_steps=1000, log_every=25, evaluate_every=250, checkpoint_every=500)
    if "tiny" in words:
        config.model.width = 8
        config.data.batch_size = 16
        config.quantizer.update(depth=3, codebook_size=16)
        config.loss.start_step = 2
        config.optimizer.warmup_steps = 1
        config.train = dict(num_steps=4, log_every=1, evaluate_every=2, checkpoint_every=2)
    return config
