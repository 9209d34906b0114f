"""ResGen on the codes of 64x64 photographs, as `rq_vae_natural64.py` makes them: 8x8, depth 8.

    resgen encode --workdir=runs/natural64 --output=runs/natural64_codes --flip
    resgen train --config=configs/generators/resgen_natural64.py:mixture \\
        --config.data.codes=runs/natural64_codes --workdir=runs/natural64_generator

Expect of seed 0 on Imagenette, after 1,768 of the 2,000 steps (11 minutes on two shared cores of an
AMD EPYC): held-out mixture loss -1.55 nats at step 1,500; of 500 samples with guidance from 1 to 4
at a temperature of 0.8 an FD-mobilenet of 530, precision 0.18, recall 0.00 and class agreement 0.22
(a guess: 0.10): colours and layout of the class, and no shapes yet.

Sized for two CPU cores; `:wide` is for an accelerator, and was not trained. `:paper` trains the
paper's two-part bound alone, `:tiny` a few steps of a small network. To measure a distance while it
trains, add --config.evaluation.features=mobilenet --config.evaluation.weights=WEIGHTS.

The head is `:levels`; `:mixture`, `:codes` and `:flow` train another (docs/choices.md).
"""

import ml_collections

from resgen_jax.configs import resgen
from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` holds any of the words above, with commas between them."""
    words = build.words(arg, resgen.WORDS | {"wide"})
    config = resgen.base()
    config.data.batch_size = 32
    config.optimizer.update(learning_rate=1e-3, warmup_steps=200)
    config.train = dict(
        num_steps=2000,
        log_every=25,
        evaluate_every=500,
        checkpoint_every=250,
        num_held_out_batches=8,  # enough to see the trend; all of them would take minutes
    )
    if "wide" in words:
        config.data.batch_size = 256
        config.model.update(num_components=256, rank=32, levels=dict(width=256))
        config.model.trunk.update(
            num_layers=12, width=512, num_heads=8, mlp_width=2048, compute_dtype="bfloat16"
        )
        config.optimizer.update(learning_rate=3e-4, warmup_steps=1000)
        config.loss.average_decay = 0.9995
        config.train.update(num_steps=40_000, evaluate_every=2000, checkpoint_every=1000)
        config.sampler.num_steps = 32
    resgen.apply(config, words)
    return config
