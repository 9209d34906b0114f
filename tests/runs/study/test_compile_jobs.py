"""The programs to be compiled ahead take what the verbs give them, and hold all they should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.evaluation import features
from resgen_jax.recipes import configs
from resgen_jax.runs import experiments
from resgen_jax.runs.configs import configuration
from resgen_jax.runs.study import compile_jobs
from resgen_jax.runtime import mesh as meshes

TINY = "tokenizers/rq_vae_imagenet256.py:tiny"


@pytest.fixture
def split():
    """A mesh of eight devices, which the verbs of these tests do not use by themselves."""
    return meshes.make(meshes.Spec(data=2, fsdp=2, tensor=2), jax.devices())


def job_of(mesh, program, text=TINY, **overrides):
    config = configs.change(configuration.load(text), overrides)
    return compile_jobs.PROGRAMS[program](config, experiments.assumed(config), mesh)


def run(job):
    """The program on zeros, where its arguments lie."""
    zeros = jax.tree.map(
        lambda leaf: jax.device_put(jnp.zeros(leaf.shape, leaf.dtype), leaf.sharding), job.arguments
    )
    return job.jitted(*zeros)


@pytest.mark.slow
def test_encoding_and_decoding_go_from_bytes_to_codes_and_back(split):
    codes = run(job_of(split, "encode"))
    assert (codes.shape, codes.dtype) == ((8, 64, 3), np.int32)
    images = run(job_of(split, "decode"))
    assert (images.shape, images.dtype) == ((8, 16, 16, 3), np.uint8)


def test_the_evaluator_takes_images_as_its_extractor_does(split):
    job = job_of(split, "evaluate")
    params, images, is_valid = job.arguments
    outputs, valid = jax.eval_shape(job.jitted, *job.arguments)
    assert outputs.features.shape == (8, 2048)
    assert (images.shape, images.dtype, valid.shape) == ((8, 16, 16, 3), np.uint8, is_valid.shape)
    # Each chip has all weights and its own rows.
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    assert job.parts["parameters"] == size
    assert job.parts["batch"] == 8 * (16 * 16 * 3 + 1) // 4  # of data and fsdp
    assert job.jitted.__wrapped__.__qualname__.startswith(features.program.__qualname__)


@pytest.mark.slow
def test_the_adversarial_step_holds_discriminator_and_lpips_without_their_weights(single):
    # Large enough for the loss to read the deepest maps.
    job = job_of(
        single,
        "train",
        **{"loss.perceptual": "vgg", "data.image_size": 48, "model.attention_sizes": (24,)},
    )
    state, *_ = job.arguments
    assert {"encoder", "decoder", "discriminator"} <= set(state.params)
    (step,) = jax.make_jaxpr(job.jitted)(*job.arguments).jaxpr.eqns
    jaxpr = step.params["jaxpr"].jaxpr
    read = {id(operand) for equation in jaxpr.eqns for operand in equation.invars}
    places = jax.tree.unflatten(jax.tree.structure(job.arguments), map(id, jaxpr.invars))
    for part in (places[0].params, places[0].statistics["perceptual"]):
        assert all(place in read for place in jax.tree.leaves(part))
    frozen = jax.tree.leaves(state.statistics["perceptual"])
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in frozen)
