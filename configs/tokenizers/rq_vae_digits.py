"""RQ-VAE on scikit-learn's handwritten digits: 8x8 pixels to a 2x2 grid of depth 8.

    resgen train --config=configs/tokenizers/rq_vae_digits.py --workdir=runs/digits_tokenizer

Expect of seed 0: PSNR of held-out digits from 17.8 dB at depth 1 to 26.6 dB at depth 8 (`resgen
reconstruct`), all codes used; 56 s of steps on two cores of an AMD EPYC, seven jobs beside it.

`:tiny` takes a few steps of a small network, to try the machinery.
"""

import ml_collections

from resgen_jax.configs import rq_vae
from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` is empty or `tiny`."""
    words = build.words(arg, {"tiny"})
    config = rq_vae.of_digits()
    config.data.update(source="digits", image_size=8, batch_size=128)
    # One position sees a quarter of the digit; 3x3 convolutions join the quarters.
    config.model.update(width=64, multipliers=(1,))
    config.quantizer.codebook_size = 64
    config.train = dict(num_steps=800, log_every=25, evaluate_every=200, checkpoint_every=400)
    if "tiny" in words:
        rq_vae.make_tiny(config)
    return config
