"""Both tasks at their smallest, and batches for them."""

import numpy as np

from resgen_jax.core import spaces
from resgen_jax.generators import resgen
from resgen_jax.nn import transformer
from resgen_jax.quantizers import interface as quantizers
from resgen_jax.tokenizers import rq_vae
from resgen_jax.training import optimizer, resgen_task, rq_vae_loss, rq_vae_task

OPTIMIZER = optimizer.Spec(learning_rate=1e-2, clip_norm=1.0)
NUM_STEPS = 10
SPACE = spaces.image_codes((2, 2), depth=3, codebook_size=8, code_dim=4, num_classes=3)
TRUNK = transformer.Spec(
    num_layers=2, width=8, num_heads=2, mlp_width=16, modulation_width=8, remat="none"
)
MODEL_OF_IMAGES = rq_vae.Spec(
    image_size=8,
    channels=1,
    patch_size=4,
    width=8,
    multipliers=(1,),
    num_decoder_res_blocks=1,
    num_middle_blocks=1,
    has_middle_attention=False,
    bridge_size=0,
    code_dim=4,
)
MODEL = resgen.Spec(trunk=TRUNK, num_components=4, rank=2, mask_dim=2)


def tokenizer(
    loss=None,
    optimizer_spec=OPTIMIZER,
    learner="ema",
    adversarial=None,
    start_step=None,
    **quantizer,
):
    """RQ-VAE of 8x8 gray images on a 2x2 grid of depth 2."""
    fields = {"code_dim": 4, "depth": 2, "codebook_size": 8, "num_start_iterations": 3}
    spec = quantizers.Spec(**(fields | quantizer))
    return rq_vae_task.RqVaeTask(
        MODEL_OF_IMAGES,
        spec,
        quantizers.make(learner, spec),
        loss or rq_vae_loss.LossSpec(start_step=0),
        optimizer_spec,
        NUM_STEPS,
        adversarial,
        start_step=start_step,
    )


def codebooks(seed=0):
    """Random, each level half as large as the one before."""
    shape = (SPACE.codes.depth, SPACE.codes.codebook_size, SPACE.codes.code_dim)
    table = np.random.default_rng(seed).normal(size=shape)
    return np.float32(table * 0.5 ** np.arange(SPACE.codes.depth)[:, None, None])


def generator(loss=None, optimizer_spec=OPTIMIZER, model=MODEL):
    """ResGen on a 2x2 grid of depth 3."""
    loss = loss or resgen_task.LossSpec(condition_drop_rate=0.5, num_nll_draws=4)
    return resgen_task.ResGenTask(model, loss, optimizer_spec, NUM_STEPS, SPACE, codebooks())


def images(batch_size=8, seed=0):
    """A batch of images of bytes: a bright bar at a random place on noise."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 60, (batch_size, 8, 8, 1))
    for image, place in zip(pixels, random.integers(0, 8, batch_size), strict=True):
        image[place] += 180
    return {"images": np.uint8(pixels), "index": np.arange(batch_size, dtype=np.int32)}


def codes(batch_size=8, seed=0):
    """A batch of random codes with labels."""
    random = np.random.default_rng(seed)
    shape = (batch_size, SPACE.max_length, SPACE.codes.depth)
    return {
        "codes": np.int32(random.integers(0, SPACE.codes.codebook_size, shape)),
        "labels": np.int32(random.integers(0, SPACE.num_classes, batch_size)),
        "index": np.arange(batch_size, dtype=np.int32),
    }
