"""The programs that `resgen scale compile` knows: jitted functions and their abstract arguments."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from resgen_jax.core import errors
from resgen_jax.evaluation import features
from resgen_jax.features import inception
from resgen_jax.nn import flops
from resgen_jax.recipes import on_images
from resgen_jax.runs import encoding, experiments, sampling
from resgen_jax.runtime import mesh as meshes
from resgen_jax.scaling.compile import compile_ahead
from resgen_jax.tokenizers import interface as tokenizers
from resgen_jax.training import placement

NUM_SAMPLES = 50_000  # of the usual evaluation
NUM_IMAGES = 1_281_167  # of ImageNet's training set, to be encoded


@dataclasses.dataclass(frozen=True)
class Job:
    """A program to compile, with what only its config knows."""

    jitted: Any
    arguments: tuple
    parts: Mapping[str, int]  # bytes of a chip for what it takes in
    model_flops: float  # of all chips together
    whole: Mapping[str, int]  # bytes of the parameters that every chip has a copy of
    num_examples: int = 0  # of a whole job, where there is a usual size


def train(config: Any, found: experiments.Assumed, mesh: Mesh) -> Job:
    """A training step, of both sides where there is an adversary."""
    task = found.task
    state, batch_size = placement.abstract_state(mesh, task), config.data.batch_size
    example = found.recipe.role.example(found.model)
    batch = compile_ahead.abstract_batch(mesh, example, batch_size)
    jitted, arguments = compile_ahead.training(task, mesh, state, batch)
    return Job(
        jitted,
        arguments,
        parts=compile_ahead.memory_parts(state) | {"batch": compile_ahead.bytes_per_chip(batch)},
        model_flops=batch_size * task.flops_per_example(),
        whole=compile_ahead.whole_parameters(state.params),
    )


def sample(config: Any, found: experiments.Assumed, mesh: Mesh) -> Job:
    """All steps of the sampler, for one batch of codes."""
    if found.recipe.sampler is None:
        raise errors.UserError(f"a {found.recipe.name} does not sample; use --program=train")
    state, spec = placement.abstract_state(mesh, found.task), config.sampler
    batch_size = config.data.batch_size
    jitted, arguments = compile_ahead.sampling(found.model, spec, mesh, state, batch_size)
    return _forward(jitted, arguments, *arguments[:2], num_examples=NUM_SAMPLES)


def encode(config: Any, found: experiments.Assumed, mesh: Mesh) -> Job:
    """Images to codes, as `resgen encode` does it."""
    model, state = _tokenizer(found, "encode"), placement.abstract_state(mesh, found.task)
    arguments = state.average_params, state.statistics, _images(config, found, mesh)
    jitted = encoding.encode_program(model)
    return _forward(jitted, arguments, *arguments[:2], num_examples=NUM_IMAGES)


def decode(config: Any, found: experiments.Assumed, mesh: Mesh) -> Job:
    """Codes to images, the second half of `resgen sample`."""
    model, state = _tokenizer(found, "decode"), placement.abstract_state(mesh, found.task)
    codes = jax.ShapeDtypeStruct(
        (config.data.batch_size, model.grid[0] * model.grid[1], model.depth),
        jnp.int32,
        sharding=meshes.batch_sharding(mesh),
    )
    arguments = state.average_params, state.statistics, codes
    jitted = sampling.decode_program(model)
    return _forward(jitted, arguments, *arguments[:2], num_examples=NUM_SAMPLES)


def evaluate(config: Any, found: experiments.Assumed, mesh: Mesh) -> Job:
    """Inception's features of images of the config's size, as `resgen evaluate` takes them."""
    _tokenizer(found, "evaluate")
    network, images = inception.make(), _images(config, found, mesh)
    params = jax.eval_shape(network.init, jax.random.key(0))
    is_valid = jax.ShapeDtypeStruct(images.shape[:1], jnp.bool_, sharding=images.sharding)
    params = compile_ahead.placed(params, meshes.replicated(mesh))
    arguments = params, images, is_valid
    return _forward(features.program(network, mesh), arguments, params, num_examples=NUM_SAMPLES)


PROGRAMS: Mapping[str, Callable[[Any, experiments.Assumed, Mesh], Job]] = {
    "train": train,
    "sample": sample,
    "encode": encode,
    "decode": decode,
    "evaluate": evaluate,
}


def _forward(
    jitted: Any, arguments: tuple, params: Any, statistics: Any = (), *, num_examples: int
) -> Job:
    """A program that trains nothing; what comes after parameters and statistics is the batch."""
    held = {"parameters": params, "statistics": statistics, "batch": arguments}
    parts = {name: compile_ahead.bytes_per_chip(tree) for name, tree in held.items()}
    parts["batch"] -= parts["parameters"] + parts["statistics"]
    return Job(
        jitted,
        arguments,
        parts=parts,
        model_flops=flops.count(jitted, *arguments),
        whole=compile_ahead.whole_parameters(params),
        num_examples=num_examples,
    )


def _tokenizer(found: experiments.Assumed, program: str) -> tokenizers.Tokenizer:
    if found.recipe.role is not on_images.ROLE:
        raise errors.UserError(
            f"--program={program} is about images, which a {found.recipe.name} does not see; name "
            "the config of a tokenizer, e.g. tokenizers/rq_vae_imagenet256.py"
        )
    return found.model


def _images(config: Any, found: experiments.Assumed, mesh: Mesh) -> jax.ShapeDtypeStruct:
    example = {"images": found.recipe.role.example(found.model)["images"]}
    return compile_ahead.abstract_batch(mesh, example, config.data.batch_size)["images"]
