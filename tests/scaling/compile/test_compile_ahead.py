"""Compiling ahead: memory by part against real shards, verdicts, and a small real TPU program."""

import jax
import jax.numpy as jnp
import pytest
import tiny_tasks

from resgen_jax.core import errors
from resgen_jax.generators import resgen_model, resgen_sampler
from resgen_jax.runtime import mesh as meshes
from resgen_jax.scaling.compile import chips, compile_ahead
from resgen_jax.training import placement

GIB = chips.GIB
TASKS = {"generator": tiny_tasks.generator, "tokenizer": tiny_tasks.tokenizer}
BATCHES = {"generator": tiny_tasks.codes, "tokenizer": tiny_tasks.images}


def example_of(name):
    return {
        field: jax.ShapeDtypeStruct(rows.shape[1:], rows.dtype)
        for field, rows in BATCHES[name]().items()
    }


@pytest.mark.parametrize("name", TASKS)
def test_memory_by_part_is_what_the_shards_take(name, mesh):
    task = TASKS[name]()
    abstract = placement.abstract_state(mesh, task)
    state = jax.jit(task.init, out_shardings=placement.state_shardings(mesh, task))(
        jax.random.key(0)
    )

    def held(tree):
        return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))

    assert compile_ahead.memory_parts(abstract) == {
        "parameters": held(state.params),
        "optimizer": held(state.opt_state),
        "average": held(state.average_params),
        "statistics": held(state.statistics),
    }


def test_batches_are_split_over_the_mesh(mesh):
    batch = compile_ahead.abstract_batch(mesh, example_of("generator"), 16)
    put = meshes.put_batch(mesh, tiny_tasks.codes(16))
    held = sum(rows.addressable_shards[0].data.nbytes for rows in put.values())
    assert compile_ahead.bytes_per_chip(batch) == held


def test_large_parameters_that_every_chip_has_are_named():
    mesh = meshes.make(meshes.Spec(data=2, fsdp=4))
    sharded, whole = meshes.batch_sharding(mesh), meshes.replicated(mesh)
    params = {
        "kept": {"kernel": jax.ShapeDtypeStruct((2**19,), jnp.float32, sharding=whole)},
        "split": {"kernel": jax.ShapeDtypeStruct((2**19,), jnp.float32, sharding=sharded)},
        "small": {"bias": jax.ShapeDtypeStruct((8,), jnp.float32, sharding=whole)},
    }
    assert compile_ahead.whole_parameters(params) == {"kept/kernel": 2**21}


def test_the_program_for_here_takes_what_its_parts_say(single):
    """The CPU's compiler pads nothing: it takes the state and the batch, a key, but no index."""
    task = tiny_tasks.generator()
    state = placement.abstract_state(single, task)
    batch = compile_ahead.abstract_batch(single, example_of("generator"), 8)
    program = compile_ahead.compile_program(
        single, *compile_ahead.training(task, single, state, batch)
    )
    held = sum(compile_ahead.memory_parts(state).values()) + compile_ahead.bytes_per_chip(batch)
    assert abs(program.argument_bytes() - held) <= 32
    assert program.temporary_bytes() > 0


def test_both_ways_of_running_out_of_memory_are_read():
    way = "RESOURCE_EXHAUSTED: Ran out of memory {}"
    temporaries = way.format("on HBM, HLO temporaries (111.35G) exceeds available HBM (15.75G).")
    assert compile_ahead.OutOfMemory(temporaries).needed_bytes == pytest.approx(111.35 * GIB)
    used = way.format("in memory space hbm. Used 1.5T of 15.75G hbm. Exceeded by 7G.")
    assert compile_ahead.OutOfMemory(used).needed_bytes == pytest.approx(1536 * GIB)
    assert compile_ahead.OutOfMemory(way).needed_bytes is None


def test_the_verdict_says_by_how_much_and_what_helps():
    knobs = ["--config.mesh.fsdp=4", "more chips"]
    fits = compile_ahead.verdict(3.25 * GIB, 15.75 * GIB, knobs)
    assert fits == "fits: 3.25 of 15.75 GiB a chip, 12.50 left"
    over = compile_ahead.verdict(20.0 * GIB, 15.75 * GIB, knobs)
    assert over.startswith("does not fit: 20.00 of 15.75 GiB a chip, 4.25 GiB too much; what helps")
    assert "--config.mesh.fsdp=4, more chips" in over
    assert compile_ahead.verdict(None, 15.75 * GIB, knobs).startswith("does not fit in 15.75 GiB")


@pytest.fixture(scope="module")
def small_slice():
    pytest.importorskip("libtpu")
    found = chips.find("v5e-4")
    return found, chips.devices(found)


@pytest.mark.slow
def test_a_training_step_compiles_for_a_slice_that_is_not_there(small_slice):
    found, devices = small_slice
    mesh = compile_ahead.make_mesh(meshes.Spec(data=-1, fsdp=2), devices)
    assert mesh.shape == {"data": 2, "fsdp": 2, "tensor": 1}
    task = tiny_tasks.generator()
    state = placement.abstract_state(mesh, task)
    batch = compile_ahead.abstract_batch(mesh, example_of("generator"), 8)
    program = compile_ahead.compile_program(mesh, *compile_ahead.training(task, mesh, state, batch))
    held = sum(compile_ahead.memory_parts(state).values()) + compile_ahead.bytes_per_chip(batch)
    assert program.argument_bytes() >= held
    moved = compile_ahead.moves(found, mesh, program, flops_per_chip=1e9)
    assert moved.unknown_loops == []
    assert {row["kind"] for row in moved.collectives} >= {"all-reduce", "all-gather"}
    # State in and out, at least; and the step takes as long as the slowest of its parts.
    assert moved.hbm_bytes > 2 * held
    least = moved.prediction
    assert least.step_seconds >= least.link_seconds > 0
    assert least.compute_seconds == pytest.approx(1e9 / 197e12)


@pytest.mark.slow
def test_sampling_compiles_for_a_slice_that_is_not_there(small_slice):
    found, devices = small_slice
    mesh, task = compile_ahead.make_mesh(meshes.Spec(), devices), tiny_tasks.generator()
    spec, state = resgen_sampler.Spec(num_steps=3), placement.abstract_state(mesh, task)
    model = resgen_model.make(task.model, task.space, masks=task.loss.masks, has_code_head=False)
    jitted, arguments = compile_ahead.sampling(model, spec, mesh, state, batch_size=8)
    program = compile_ahead.compile_program(mesh, jitted, arguments)
    moved = compile_ahead.moves(found, mesh, program, flops_per_chip=1e6)
    assert moved.unknown_loops == []
    # Every chip draws its own rows, with guidance too.
    assert moved.collectives == []


@pytest.mark.slow
def test_a_program_too_large_for_a_chip_is_no_crash(small_slice):
    found, devices = small_slice
    mesh = compile_ahead.make_mesh(meshes.Spec(), devices)
    much = jax.ShapeDtypeStruct((2**33,), jnp.float32, sharding=meshes.replicated(mesh))
    with pytest.raises(compile_ahead.OutOfMemory) as caught:
        compile_ahead.compile_program(mesh, jax.jit(lambda values: values + 1), (much,))
    assert caught.value.needed_bytes >= 2**35 > found.chip.hbm_bytes


def test_a_mesh_that_does_not_fit_the_slice_is_refused():
    with pytest.raises(errors.UserError, match="asks for a multiple of 3 devices, but there are 4"):
        compile_ahead.make_mesh(meshes.Spec(fsdp=3), list(range(4)))
