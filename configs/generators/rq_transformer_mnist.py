"""RQ-Transformer on the codes of 5,000 of MNIST's digits, beside `resgen_mnist.py`.

    resgen encode --workdir=runs/mnist_tokenizer --output=runs/mnist_codes --num_crops=5
    resgen train --config=configs/generators/rq_transformer_mnist.py \\
        --config.data.codes=runs/mnist_codes --workdir=runs/mnist_rq_transformer

Batch, steps, learning rate, dropout and average are those of ResGen's config. 1.22 M parameters at
4x4 positions of depth 8 and 128 codes, where ResGen has 1.25 M with its code head. An image is 128
draws, one after the other, where ResGen makes 16 calls of its network.

This config has not been trained to its end here.

`:guided` adds a null class, drops a tenth of the classes and samples with guidance, as ResGen's
config does; `:soft` trains on soft, drawn codes as the paper does; `:tiny` takes a few steps of a
small network.
"""

import ml_collections

from resgen_jax.configs import common, rq_transformer
from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` holds any of `guided`, `soft` and `tiny`."""
    words = build.words(arg, {"guided", "soft", "tiny"})
    config = common.begin("rq_transformer")
    config.data = dict(codes="", batch_size=64, num_threads=0)
    config.model = dict(
        width=128,
        num_heads=4,
        num_body_layers=4,
        num_head_layers=2,
        dropout_rate=0.1,
        remat="matmuls",
    )
    config.loss = dict(average_decay=0.995)
    config.optimizer = dict(
        learning_rate=3e-3, warmup_steps=100, b2=0.99, weight_decay=0.01, clip_norm=1.0
    )
    config.train = dict(num_steps=2500, log_every=25, evaluate_every=500, checkpoint_every=500)
    config.sampler = dict(temperature=1.0, top_p=1.0)
    if "soft" in words:
        config.loss.update(soft_target_temperature=0.5, draws_codes=True)
    rq_transformer.apply(config, words, guidance_scale=1.5, tiny_batch=16)
    return config
