"""MaskGIT (2202.04200) on flat VQ codes of CIFAR-10: one code a position, masked and predicted.

    resgen train --config=configs/tokenizers/rq_vae_cifar10.py --config.quantizer.depth=1 \\
        --config.quantizer.codebook_size=4096 --config.loss.depth_drop_rate=0 \\
        --config.data.path=CIFAR10 --workdir=runs/cifar10_vq
    resgen encode --workdir=runs/cifar10_vq --output=runs/cifar10_vq_codes --flip
    resgen train --config=configs/generators/maskgit_cifar10.py \\
        --config.data.codes=runs/cifar10_vq_codes --workdir=runs/cifar10_maskgit

ResGen's network with the code head is MaskGIT where the depth is 1. A larger codebook than that of
a level makes up for some of the depth. 1,673,632 parameters with 4,096 entries of 32 channels:

    resgen scale count --config=generators/maskgit_cifar10.py --space=4x4,1,4096,32,10

This config has not been trained to its end here. `:tiny` takes a few steps of a small network.
"""

import ml_collections

from resgen_jax.configs import cifar10, resgen
from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` may be `tiny`."""
    words = build.words(arg, {"tiny"})
    config = resgen.base()
    cifar10.train(config)
    config.model.trunk.update(num_layers=5, dropout_rate=0.0)
    config.sampler.num_steps = 8
    resgen.apply(config, words | {"codes"})
    return config
