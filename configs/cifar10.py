"""What the generators that are compared on CIFAR-10's codes have in common; no config itself.

Batch, steps, learning rate, average and dropout are those of `generators/resgen_cifar10.py`, at the
study's size: about 1.67 M parameters, those of a ResGen of 4 layers of width 128 with a mixture of
64 components of rank 16 and the auxiliary code head, on 4x4 positions of depth 8, 512 entries of 32
channels and 10 classes. Each is within 5 % of that; `resgen scale count` tells it:

    resgen scale count --config=generators/rq_transformer_cifar10.py --space=4x4,8,512,32,10
"""

import ml_collections


def train(config: ml_collections.ConfigDict) -> None:
    """The sections that all of them share."""
    config.data.batch_size = 64
    config.loss.average_decay = 0.999
    config.optimizer = dict(
        learning_rate=1.5e-3, warmup_steps=500, b2=0.99, weight_decay=0.01, clip_norm=1.0
    )
    config.train = dict(
        num_steps=12_000,
        log_every=50,
        evaluate_every=1000,
        checkpoint_every=500,
        num_held_out_batches=16,
    )
