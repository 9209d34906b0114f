"""RQ-Transformer on the codes of CIFAR-10, as a counterpart of ResGen at equal parameters.

    resgen train --config=configs/generators/rq_transformer_cifar10.py:guided \\
        --config.data.codes=runs/cifar10_codes --workdir=runs/cifar10_rq_transformer

1,665,408 parameters (1,665,536 with `:guided`) at 4x4 positions of depth 8 with 512 entries of 32
channels; an image is 128 draws, one after the other:

    resgen scale count --config=generators/rq_transformer_cifar10.py --space=4x4,8,512,32,10

This config has not been trained to its end here.

`:guided` adds a null class, drops a tenth of the classes and samples with guidance, as ResGen's
config does; `:soft` trains on soft, drawn codes as the paper does; `:tiny` takes a few steps of a
small network.
"""

import ml_collections

from resgen_jax.configs import cifar10, common, rq_transformer
from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` holds any of `guided`, `soft` and `tiny`."""
    words = build.words(arg, {"guided", "soft", "tiny"})
    config = common.begin("rq_transformer")
    config.data = dict(codes="", num_threads=0)
    config.model = dict(
        width=128, num_heads=4, num_body_layers=6, num_head_layers=2, remat="matmuls"
    )
    config.loss = dict()
    config.sampler = dict(temperature=1.0, top_p=1.0)
    cifar10.train(config)
    if "soft" in words:
        config.loss.update(soft_target_temperature=0.5, draws_codes=True)
    rq_transformer.apply(config, words, guidance_scale=1.5)
    return config
