"""AR-ResGen on the codes of CIFAR-10, as a counterpart of ResGen at equal parameters.

    resgen train --config=configs/generators/ar_resgen_cifar10.py \\
        --config.data.codes=runs/cifar10_codes --workdir=runs/cifar10_ar_resgen

1,707,105 parameters at 4x4 positions of depth 8 with 512 entries of 32 channels, 528,384 of them
the auxiliary code head's, and an image is 16 calls of the network:

    resgen scale count --config=generators/ar_resgen_cifar10.py --space=4x4,8,512,32,10

This config has not been trained to its end here. `:codes`, `:levels` and `:flow` give it another
head than the mixture; `:tiny` takes a few steps of a small network.
"""

import ml_collections

from resgen_jax.configs import ar_resgen, cifar10
from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` holds any of the words above, with commas between them."""
    words = build.words(arg, ar_resgen.WORDS)
    config = ar_resgen.base()
    cifar10.train(config)
    config.model.update(num_layers=5, dropout_rate=0.0)
    ar_resgen.apply(config, words)
    return config
