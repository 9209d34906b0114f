"""ResGen on CIFAR-10: 32x32 pixels, a 4x4 grid of depth 8, from a folder a class.

    resgen train --config=configs/tokenizers/rq_vae_cifar10.py --config.data.path=CIFAR10 \\
        --workdir=runs/cifar10
    resgen encode --workdir=runs/cifar10 --output=runs/cifar10_codes --flip
    resgen train --config=configs/generators/resgen_cifar10.py \\
        --config.data.codes=runs/cifar10_codes --workdir=runs/cifar10_generator

Sized for two CPU cores: 6,362 of the 8,000 steps took an hour of CPU time on two shared cores of an
AMD EPYC (seed 0). Then airplanes, ships, trucks and cars can be told among the samples; README has
the figures. Clipping acts on every step (norms of 2 to 90, half of them above 4). The files at hand
were JPEG, not the original pixels.

`:paper` trains the paper's two-part bound alone, `:tiny` a few steps of a small network.
"""

import ml_collections

from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` holds any of `paper` and `tiny`."""
    words = build.words(arg, {"paper", "tiny"})
    config = ml_collections.ConfigDict()
    config.task = "resgen"
    config.seed = 0
    config.data = dict(codes="", batch_size=64, num_threads=0)
    # 16 positions: a quarter of those of 64x64 pixels, so the trunk may be wider at equal time.
    config.model = dict(
        num_components=64,
        rank=16,
        trunk=dict(
            num_layers=6,
            width=192,
            num_heads=6,
            mlp_width=768,
            modulation_width=192,
            rotary_base=100.0,
            activation="gelu",
            dropout_rate=0.1,
            remat="matmuls",
        ),
    )
    config.loss = dict(
        objective="exact", code_loss_weight=1.0, average_decay=0.999, num_nll_draws=32
    )
    config.optimizer = dict(
        learning_rate=1.5e-3, warmup_steps=500, b2=0.99, weight_decay=0.01, clip_norm=1.0
    )
    config.mesh = dict(data=-1, fsdp=1, tensor=1)
    config.train = dict(
        num_steps=8000,
        log_every=25,
        evaluate_every=1000,
        checkpoint_every=500,
        num_held_out_batches=16,
    )
    # At equal agreement with the class, the code head's confidence gave more variety and a smaller
    # distance than the component's on MNIST's digits.
    config.sampler = dict(num_steps=16, confidence="code_head", guidance_scale=1.5, noise_scale=1.0)
    if "paper" in words:
        config.loss.update(objective="bound", code_loss_weight=0.0)
        config.model.has_code_head = False
        config.sampler.confidence = "component"
    if "tiny" in words:
        config.data.batch_size = 8
        config.model.update(num_components=8, rank=2)
        config.model.trunk.update(
            num_layers=2, width=16, num_heads=2, mlp_width=32, modulation_width=16
        )
        config.loss.num_nll_draws = 4
        config.optimizer.warmup_steps = 1
        config.train = dict(num_steps=4, log_every=1, evaluate_every=2, checkpoint_every=2)
        config.sampler.num_steps = 2
    return config
