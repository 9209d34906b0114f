"""Level-by-level masked decoding on the codes of 5,000 of MNIST's digits, beside `resgen_mnist.py`.

    resgen encode --workdir=runs/mnist_tokenizer --output=runs/mnist_codes --num_crops=5
    resgen train --config=configs/generators/level_by_level_mnist.py \\
        --config.data.codes=runs/mnist_codes --workdir=runs/mnist_level_by_level

Batch, steps, learning rate, dropout and average are those of ResGen's config; the masks, and how
the 20 steps are shared out, are those of `level_by_level_cifar10.py`.

`:tiny` takes a few steps of a small network.
"""

import ml_collections

from resgen_jax.configs import resgen
from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` may be `tiny`."""
    words = build.words(arg, {"tiny"})
    config = resgen.base()
    config.data.batch_size = 64
    config.optimizer.update(learning_rate=3e-3, warmup_steps=100)
    config.train = dict(num_steps=2500, log_every=25, evaluate_every=500, checkpoint_every=500)
    config.model.trunk.num_layers = 5
    resgen.apply(config, words | {"codes"}, tiny_batch=16)
    config.loss.masks = config.sampler.masks = "level_by_level"
    config.sampler.num_steps = 4 if "tiny" in words else 20
    return config
