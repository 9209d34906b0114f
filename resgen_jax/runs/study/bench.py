"""The programs of a config, to be timed on made-up data: train, sample, encode and the like."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from resgen_jax import recipes
from resgen_jax.core import build, errors, keys
from resgen_jax.quantizers import rvq
from resgen_jax.runs import encoding, experiments, open_run, sampling, synthetic
from resgen_jax.runtime import mesh as meshes
from resgen_jax.scaling import timing
from resgen_jax.training import placement, programs

PyTree = Any
DTYPES = ("compute_dtype", "dtype")  # what specs of networks call the dtype of their matmuls


def train(config: Any, found: experiments.Assumed, mesh: Mesh) -> timing.Program:
    """A training step: forward, backward, optimizer, average."""
    state = programs.initial_state(found.task, mesh, 0)
    batch = meshes.put_batch(mesh, synthetic.rows(found, mesh, config.data.batch_size))
    key = jax.device_put(jax.random.key(0), meshes.replicated(mesh))
    step = programs.step_program(found.task, mesh)
    return timing.compiled("train", step, (state, batch, key), config.data.batch_size, carries=True)


def sample(config: Any, found: experiments.Assumed, mesh: Mesh) -> timing.Program:
    """All steps of the sampler for a batch of new examples: codes, not yet images."""
    model, spec, num_rows = found.model, config.sampler, config.data.batch_size
    held = _tree(found, mesh)
    rows = _label_rows(mesh, num_rows, model.space.num_classes)
    row_keys = jax.jit(lambda index: keys.example_keys(jax.random.key(0), index))(rows["index"])
    plan = jax.device_put(model.plan(spec, model.space.num_tokens), meshes.replicated(mesh))
    tables = made_up_codebooks(model.space.codes.codebooks_shape)
    tables = jax.device_put(tables, meshes.replicated(mesh))
    given = held["params"], tables, row_keys, rows["labels"]
    # Its arguments in order: these, what is known of the examples, and the plan.
    jitted, arguments = model.sampler(spec).program(*jax.tree.map(_shape_of, given), plan)
    known = jax.tree.map(_made_up, arguments[len(given)])
    return timing.compiled("sample", jitted, (*given, known, plan), num_rows)


def quantize(config: Any, found: experiments.Assumed, mesh: Mesh) -> timing.Program:
    """Vectors of a batch to stacks of codes: the search of the codebooks alone."""
    length, shape = _sizes(found.model)
    num_rows = config.data.batch_size
    random = np.random.default_rng(0)
    drawn = random.normal(size=(num_rows, length, shape[-1])).astype(np.float32)
    vectors = open_run.put_rows(mesh, {"vectors": drawn})["vectors"]
    arguments = vectors, jax.device_put(made_up_codebooks(shape), meshes.replicated(mesh))
    return timing.compiled("quantize", jax.jit(rvq.encode), arguments, num_rows)


def encode(config: Any, found: experiments.Assumed, mesh: Mesh) -> timing.Program:
    """Images to codes, as `resgen encode` does it."""
    held, images = _tree(found, mesh), _rows(config, found, mesh)["images"]
    jitted = encoding.encode_program(found.model)
    arguments = held["params"], held["statistics"], images
    return timing.compiled("encode", jitted, arguments, config.data.batch_size)


def decode(config: Any, found: experiments.Assumed, mesh: Mesh) -> timing.Program:
    """Codes to images, the second half of `resgen sample`."""
    held, (length, (depth, size, _)) = _tree(found, mesh), _sizes(found.model)
    num_rows = config.data.batch_size
    drawn = np.random.default_rng(0).integers(0, size, (num_rows, length, depth), np.int32)
    codes = open_run.put_rows(mesh, {"codes": drawn})["codes"]
    jitted = sampling.decode_program(found.model)
    arguments = held["params"], held["statistics"], codes
    return timing.compiled("decode", jitted, arguments, num_rows)


Make = Callable[[Any, experiments.Assumed, Mesh], timing.Program]
PROGRAMS: Mapping[str, Make] = {
    "train": train,
    "sample": sample,
    "quantize": quantize,
    "encode": encode,
    "decode": decode,
}
# What each kind of model has, by what it trains on.
OF_KIND = {
    "codes": ("train", "sample", "quantize"),
    "images": ("train", "encode", "decode", "quantize"),
}


def chosen(found: experiments.Assumed, names: tuple[str, ...]) -> tuple[str, ...]:
    """The programs of these names, or all of the model's; UserError for one that it has not."""
    known = OF_KIND[found.recipe.role.trains_on]
    for name in names:
        if name not in known:
            raise errors.UserError(
                f"a {found.recipe.name} has no program {name!r}; {build.nearest(name, known)}"
            )
    return names or known


def with_space(config: Any, text: str) -> Any:
    """The config for codes of sizes like 4x4,8,512,32,10; UserError where it names its own."""
    kind = recipes.find(config.task).optional.get("space")
    if kind is None or config.space is not None or config.data.codes:
        raise errors.UserError(
            f"--space is {text!r}, but config {config.source!r} knows the sizes of what it is for; "
            "leave it out"
        )
    words = re.fullmatch(r"(\d+)x(\d+),(\d+),(\d+),(\d+),(\d+)", text)
    if words is None:
        raise errors.UserError(
            f"--space is {text!r}; expected grid, depth, entries, channels and classes, like "
            "4x4,8,512,32,10"
        )
    rows, columns, *sizes = map(int, words.groups())
    names = ("depth", "codebook_size", "code_dim", "num_classes")
    return dataclasses.replace(
        config, space=kind(grid=(rows, columns), **dict(zip(names, sizes, strict=True)))
    )


def at_depth(config: Any, depth: int) -> Any:
    """The config for codes of another depth."""
    if getattr(config, "space", None) is None:
        raise errors.UserError(
            "depths are those of a generator's codes, whose sizes are not known from this config; "
            "give them with --space=4x4,8,512,32,10 (grid, depth, entries, channels, classes)"
        )
    return dataclasses.replace(config, space=dataclasses.replace(config.space, depth=depth))


def dtype_of(spec: Any) -> str:
    """What the matmuls of a network's spec are computed in."""
    for name in DTYPES:
        if isinstance(found := getattr(spec, name, None), str):
            return found
    parts = [getattr(spec, field.name) for field in dataclasses.fields(spec)]
    inner = [dtype_of(part) for part in parts if dataclasses.is_dataclass(part)]
    return next((found for found in inner if found), "")


def made_up_codebooks(shape: tuple[int, int, int]) -> np.ndarray:
    """Normal vectors that are half as long at each level, as a trained tokenizer's are about."""
    scale = 0.5 ** np.arange(shape[0])
    tables = np.random.default_rng(0).normal(size=shape) * scale[:, None, None]
    return tables.astype(np.float32)


def _tree(found: experiments.Assumed, mesh: Mesh) -> PyTree:
    """Parameters and statistics of the model, without the optimizer's."""
    abstract = placement.abstract_model(mesh, found.model)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return jax.jit(found.model.init, out_shardings=shardings)(jax.random.key(0))


def _rows(config: Any, found: experiments.Assumed, mesh: Mesh) -> dict[str, Any]:
    return meshes.put_batch(mesh, synthetic.rows(found, mesh, config.data.batch_size))


def _label_rows(mesh: Mesh, num_rows: int, num_classes: int) -> dict[str, Any]:
    index = np.arange(num_rows, dtype=np.int32)
    return open_run.put_rows(mesh, {"index": index, "labels": index % num_classes})


def _sizes(model: Any) -> tuple[int, tuple[int, int, int]]:
    """Positions and codebooks "q v c" of a generator or a tokenizer."""
    if hasattr(model, "space"):
        return model.space.max_length, model.space.codes.codebooks_shape
    return model.grid[0] * model.grid[1], (model.depth, model.codebook_size, model.code_dim)


def _shape_of(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


def _made_up(leaf: jax.ShapeDtypeStruct) -> jax.Array:
    """Nothing is known, so all is masked."""
    fill = jnp.ones if leaf.dtype == jnp.bool_ else jnp.zeros
    return jax.device_put(fill(leaf.shape, leaf.dtype), leaf.sharding)
