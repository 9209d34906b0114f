"""Level-by-level masked decoding on the codes of CIFAR-10, beside ResGen at equal parameters.

    resgen train --config=configs/generators/level_by_level_cifar10.py \\
        --config.data.codes=runs/cifar10_codes --workdir=runs/cifar10_level_by_level

As SoundStorm (2305.09636) and MAGNeT (2401.04577) do: all positions of level 0 are filled in a few
steps, then those of level 1, and so on. It is ResGen's network with the code head and other masks:
one level is drawn, the coarser ones are visible, and only its hidden codes are scored. The 20 steps
are shared out as 9, 4, 2, 1, 1, 1, 1, 1 at depth 8; the sampler's steps_per_level, 8,4,2,2,1,1,1,1
say, does it otherwise. A step is a call of the network.

1,688,192 parameters at 4x4 positions of depth 8 with 512 entries of 32 channels:

    resgen scale count --config=generators/level_by_level_cifar10.py --space=4x4,8,512,32,10

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
    resgen.apply(config, words | {"codes"})
    config.loss.masks = config.sampler.masks = "level_by_level"
    config.sampler.num_steps = 4 if "tiny" in words else 20
    return config
