"""AR-ResGen on the codes of 5,000 of MNIST's digits, beside `resgen_mnist.py`.

    resgen encode --workdir=runs/mnist_tokenizer --output=runs/mnist_codes --num_crops=5
    resgen train --config=configs/generators/ar_resgen_mnist.py \\
        --config.data.codes=runs/mnist_codes --workdir=runs/mnist_ar_resgen

Batch, steps, learning rate, dropout, loss and average are those of ResGen's config. An image is 16
calls of the network, one for each position, whatever the depth.

This config has not been trained to its end here.

`:codes`, `:levels` and `:flow` give it another head than the mixture; `:tiny` takes a few steps of
a small network.
"""

import ml_collections

from resgen_jax.configs import ar_resgen
from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` holds any of the words above, with commas between them."""
    words = build.words(arg, ar_resgen.WORDS)
    config = ar_resgen.base()
    config.data.batch_size = 64
    config.optimizer.update(learning_rate=3e-3, warmup_steps=100)
    config.train = dict(num_steps=2500, log_every=25, evaluate_every=500, checkpoint_every=500)
    ar_resgen.apply(config, words, tiny_batch=16)
    return config
