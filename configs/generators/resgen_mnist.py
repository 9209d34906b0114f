"""ResGen on the codes of 5,000 of MNIST's digits: 4x4 positions of depth 8, ten classes.

    resgen encode --workdir=runs/mnist_tokenizer --output=runs/mnist_codes --num_crops=5
    resgen train --config=configs/generators/resgen_mnist.py \\
        --config.data.codes=runs/mnist_codes --workdir=runs/mnist_generator

Expect of seed 0 (`bash launch/demo.sh`; 646 s of CPU time on two shared cores of an AMD EPYC):
held-out nats of a code at levels 0, 1, 2, ..., 7, all coarser ones visible: 2.92, 3.24, 3.29, 3.46,
3.62, 3.85, 4.14, 4.68 by the mixture and 2.88, 3.46, 3.63, 3.79, 3.91, 4.14, 4.41, 4.69 by the code
head (a guess costs 4.85); 94.8 % of 1,000 samples are taken for the class asked for, at 0.66 of the
variety of real digits. Clipping acts on every step (norms of 1.3 to 20, half of them above 2.8): so
the few batches of nearly whole images, with the largest gradients, do not set the direction. After
600 steps the held-out loss was 3.544 with a limit of 1, 3.547 of 5, and 3.596 without clipping.

`:paper` trains the paper's two-part bound alone, `:tiny` takes a few steps of a small network.

The head is `:levels`; `:mixture`, `:codes` and `:flow` train another (docs/choices.md).
"""

import ml_collections

from resgen_jax.configs import resgen
from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` holds any of the words above, with commas between them."""
    words = build.words(arg, resgen.WORDS)
    config = resgen.base()
    config.data.batch_size = 64
    # All four together were ahead of each method without them (comparisons/mnist_options.py).
    config.model.trunk.update(
        norm="rms", has_gated_mlp=True, activation="silu", mlp_width=344, normalises_queries=True
    )
    config.optimizer.update(learning_rate=3e-3, warmup_steps=100, matrices="muon")
    config.train = dict(num_steps=1200, log_every=25, evaluate_every=500, checkpoint_every=500)
    config.sampler.guidance_scale = 2.0
    resgen.apply(config, words, tiny_batch=16)
    return config
