"""Programs compiled for a TPU slice that is not there, and what the compiler says of them."""

import contextlib
import dataclasses
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import mesh_utils
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import AxisType, Mesh, NamedSharding

from resgen_jax.core import keys, trees
from resgen_jax.generators import interface as generators
from resgen_jax.runtime import mesh as meshes
from resgen_jax.scaling.compile import activations, chips, collectives, hbm, hlo, roofline
from resgen_jax.training import programs
from resgen_jax.training.state import PyTree, Task, TrainState

# What libtpu says of a program that is too large, in its two ways; both numbers in GiB.
_TOO_LARGE = (
    r"\(([\d.]+)([MGT])\) exceeds available HBM",
    r"Used ([\d.]+)([MGT]) of [\d.]+[MGT] hbm",
)
_GIB_OF = {"M": 1 / 1024, "G": 1.0, "T": 1024.0}
MIN_NAMED_BYTES = 2**20  # smaller parameters may be whole on every chip


class OutOfMemory(Exception):
    """The program does not fit; `needed_bytes` a chip, or None where the compiler does not say."""

    def __init__(self, message: str):
        super().__init__(message)
        found = next(filter(None, (re.search(way, message) for way in _TOO_LARGE)), None)
        gib = float(found.group(1)) * _GIB_OF[found.group(2)] if found else None
        self.needed_bytes = None if gib is None else gib * chips.GIB


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program and what it takes in."""

    compiled: Any
    compile_seconds: float

    def temporary_bytes(self) -> int:
        """Bytes of a chip beside the arguments and the code: activations, buffers, new outputs."""
        memory = self.compiled.memory_analysis()
        fresh = memory.output_size_in_bytes - memory.alias_size_in_bytes
        return memory.temp_size_in_bytes + fresh

    def code_bytes(self) -> int:
        """Bytes of a chip for the program itself."""
        return self.compiled.memory_analysis().generated_code_size_in_bytes

    def argument_bytes(self) -> int:
        """Bytes of a chip for the arguments, with the padding of their tiles."""
        return self.compiled.memory_analysis().argument_size_in_bytes

    def text(self) -> hlo.Module:
        """The program, taken apart."""
        return hlo.parse(self.compiled.as_text())


def make_mesh(spec: meshes.Spec, devices: Sequence[Any]) -> Mesh:
    """The mesh of `spec` laid over a slice, so that neighbours in the mesh are so in the torus.

    Raises UserError if the sizes do not multiply to the number of chips.
    """
    sizes = meshes.axis_sizes(spec, len(devices))
    # An axis of the mesh may be shorter than one of the torus, which jax.make_mesh refuses.
    grid = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    return Mesh(grid, meshes.AXES, axis_types=(AxisType.Auto,) * len(meshes.AXES))


def abstract_batch(
    mesh: Mesh, example: Mapping[str, jax.ShapeDtypeStruct], batch_size: int
) -> dict[str, jax.ShapeDtypeStruct]:
    """A global batch of examples, split over the mesh."""
    place = meshes.batch_sharding(mesh)
    return {
        name: jax.ShapeDtypeStruct((batch_size, *one.shape), one.dtype, sharding=place)
        for name, one in example.items()
    }


def placed(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """Abstract arrays of a tree, all laid out in one way."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )


@contextlib.contextmanager
def _no_cache() -> Iterator[None]:
    """JAX's cache of programs writes those for a chip that is not there, but cannot read them."""
    config: Any = jax.config  # its options are made at run time
    was_enabled = config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # it keeps what it saw first
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", was_enabled)
        compilation_cache.reset_cache()


def training(task: Task, mesh: Mesh, state: TrainState, batch: PyTree) -> tuple[Any, tuple]:
    """The jitted training step and its arguments, all abstract and with shardings."""
    key = placed(jax.eval_shape(lambda: jax.random.key(0)), meshes.replicated(mesh))
    return programs.step_program(task, mesh), (state, batch, key)


def compile_program(mesh: Mesh, jitted: Any, arguments: Sequence[Any]) -> Program:
    """Compiles for the devices of the mesh. Raises OutOfMemory if that is too much for a chip."""
    with jax.set_mesh(mesh):
        lowered = jitted.lower(*arguments)
    start = time.perf_counter()
    try:
        with _no_cache():
            compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as failure:
        if "RESOURCE_EXHAUSTED" not in str(failure):
            raise
        raise OutOfMemory(str(failure)) from failure
    return Program(compiled, time.perf_counter() - start)


def sampling(
    model: generators.Generator,
    spec: Any,
    mesh: Mesh,
    state: TrainState,
    batch_size: int,
) -> tuple[Any, tuple]:
    """The jitted sampling of one batch from the averaged parameters, and its abstract arguments."""
    rows = meshes.batch_sharding(mesh)
    row_keys = jax.eval_shape(
        lambda index: keys.example_keys(jax.random.key(0), index),
        jax.ShapeDtypeStruct((batch_size,), jnp.int32),
    )
    plan = placed(model.plan(spec, model.space.num_tokens), meshes.replicated(mesh))
    return model.sampler(spec).program(
        state.average_params,
        state.statistics["codebooks"],
        placed(row_keys, rows),
        jax.ShapeDtypeStruct((batch_size,), jnp.int32, sharding=rows),
        plan,
    )


def bytes_per_chip(tree: PyTree) -> int:
    """Bytes of the shards that one chip holds of a tree of abstract arrays with shardings."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def whole_parameters(params: PyTree) -> dict[str, int]:
    """Bytes of the larger parameters that are whole on every chip, by path."""
    return {
        name: math.prod(leaf.shape) * leaf.dtype.itemsize
        for name, leaf in trees.named_leaves(params).items()
        if leaf.sharding.is_fully_replicated
        and math.prod(leaf.shape) * leaf.dtype.itemsize >= MIN_NAMED_BYTES
    }


def memory_parts(state: TrainState) -> dict[str, int]:
    """Bytes of a chip for the state of a run, by part."""
    return {
        "parameters": bytes_per_chip(state.params),
        "optimizer": bytes_per_chip(state.opt_state),
        "average": bytes_per_chip(state.average_params),
        "statistics": bytes_per_chip(state.statistics),
    }


@dataclasses.dataclass(frozen=True)
class Moves:
    """What a program moves, and how fast that lets it be."""

    hbm_bytes: float
    kept_bytes: float  # held between forward and backward pass
    collectives: list[dict[str, Any]]  # a row for each kind and number of chips
    unknown_loops: list[str]
    prediction: roofline.Prediction


def moves(found: chips.Slice, mesh: Mesh, program: Program, flops_per_chip: float) -> Moves:
    """Collectives, memory traffic and the step they make possible, off the program's text."""
    module = program.text()
    listed, unknown = collectives.read(module)
    traffic = hbm.traffic(module)
    places = roofline.coordinates(found, mesh.devices.flat)
    prediction = roofline.predict(found, flops_per_chip, traffic, listed, places)
    alike: dict[tuple[str, int], list[collectives.Collective]] = {}
    for each in listed:
        alike.setdefault((each.kind, len(each.group)), []).append(each)
    rows: list[dict[str, Any]] = [
        {
            "kind": kind,
            "chips": num_chips,
            "times": sum(each.times for each in some),
            "gib_sent_per_chip": sum(map(roofline.sent_bytes, some)) / chips.GIB,
            "predicted_seconds": roofline.link_seconds(found, some, places),
        }
        for (kind, num_chips), some in alike.items()
    ]
    ordered = sorted(rows, key=lambda row: -row["gib_sent_per_chip"])
    return Moves(traffic, activations.kept_bytes(module), ordered, unknown, prediction)


def verdict(
    needed: float | None, available: float, knobs: Sequence[str], is_over: bool = False
) -> str:
    """One line: fits or not, by how much, and what helps; bytes of one chip.

    `needed` is None where the compiler gave up without a number; `is_over` says that it gave up.
    """
    limit = f"{available / chips.GIB:.2f} GiB a chip"
    helps = f"; what helps: {', '.join(knobs)}"
    if needed is None:
        return f"does not fit in {limit}{helps}"
    said, difference = f"{needed / chips.GIB:.2f} of {limit}", (needed - available) / chips.GIB
    if is_over or needed > available:
        return f"does not fit: {said}, {max(difference, 0):.2f} GiB too much{helps}"
    return f"fits: {said}, {-difference:.2f} left"
