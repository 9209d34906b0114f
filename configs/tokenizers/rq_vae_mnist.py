"""RQ-VAE on 5,000 of MNIST's digits: 28x28 pixels in a black border, 4x4 positions of depth 8.

    resgen train --config=configs/tokenizers/rq_vae_mnist.py --workdir=runs/mnist_tokenizer

Expect of seed 0: PSNR of 500 held-out digits 19.2, 21.1, 21.9, 22.3, 22.5, 22.7, 22.8, 22.8 dB at
depth 1 to 8 (`resgen reconstruct`), all codes used; 117 s of CPU time on two shared cores.

`:tiny` takes a few steps of a small network, to try the machinery.
"""

import ml_collections

from resgen_jax.configs import rq_vae
from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` is empty or `tiny`."""
    words = build.words(arg, {"tiny"})
    config = rq_vae.of_digits()
    config.data.update(source="mnist", image_size=32, batch_size=64)
    config.data.random_crop = (0.85, 1.0)  # digits a little larger and off the centre, too
    config.quantizer.codebook_size = 128
    config.train = dict(num_steps=1000, log_every=25, evaluate_every=250, checkpoint_every=500)
    if "tiny" in words:
        rq_vae.make_tiny(config)
    return config
