"""Laws of checkpoints: what comes back is what was saved, or the one before, and it says so."""

import json
import os
import pathlib
import re
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_task

from resgen_jax.core import errors
from resgen_jax.runtime import mesh as meshes
from resgen_jax.training import placement
from resgen_jax.training.checkpoints import checkpoint, restoring


def fields_of(state, names=("average_params", "statistics")):
    return {name: getattr(state, name) for name in names}


@pytest.fixture
def task():
    return toy_task.ToyTask()


def make_mesh(*sizes):
    return meshes.make(meshes.Spec(*sizes), jax.devices()[: int(np.prod(sizes))])


def state_at(task, mesh, seed):
    shardings = placement.state_shardings(mesh, task)
    return jax.jit(task.init, out_shardings=shardings)(jax.random.key(seed))


def save(workdir, task, mesh, steps, **settings):
    """Checkpoints at `steps`, each of another state; returns the states by step."""
    states = {step: state_at(task, mesh, step) for step in steps}
    data = toy_task.iterator()
    with checkpoint.Checkpoints(workdir, **settings) as checkpoints:
        for step, state in states.items():
            next(data)
            checkpoints.save(step, state, data)
    return states


def restore(workdir, task, mesh, iterator=None, **settings):
    warnings = []
    with checkpoint.Checkpoints(workdir, **settings) as checkpoints:
        state = checkpoints.restore(placement.abstract_state(mesh, task), iterator, warnings.append)
    return state, warnings


def assert_equal(state, expected):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), jax.device_get(expected))


def steps_kept(workdir):
    return sorted(int(name) for name in os.listdir(workdir / "checkpoints") if name.isdigit())


@pytest.mark.parametrize("name", ["run[0]", "{a,b} c", "what?*", "~", "a:b#%20"])
def test_a_folder_may_have_any_name(tmp_path, task, single, name):
    workdir = tmp_path / name / "run"
    states = save(workdir, task, single, [1])
    state, warnings = restore(workdir, task, single, toy_task.iterator())
    assert_equal(state, states[1])
    assert not warnings


@pytest.mark.parametrize("sizes", [(8, 1, 1), (2, 2, 2), (1, 1, 1)])
def test_a_state_saved_on_one_mesh_comes_back_on_another(tmp_path, task, sizes):
    states = save(tmp_path, task, make_mesh(2, 4, 1), [7])
    mesh = make_mesh(*sizes)
    state, warnings = restore(tmp_path, task, mesh)
    assert not warnings
    assert_equal(state, states[7])
    shardings = placement.state_shardings(mesh, task)
    jax.tree.map(
        lambda array, sharding: (
            pytest.fail(f"{array.sharding}")
            if not array.sharding.is_equivalent_to(sharding, array.ndim)
            else None
        ),
        state,
        shardings,
    )


def test_the_data_goes_on_where_it_stood(tmp_path, task, single):
    save(tmp_path, task, single, [1, 2, 3])
    data, expected = toy_task.iterator(), toy_task.iterator()
    for _ in range(3):
        next(expected)
    restore(tmp_path, task, single, data)
    np.testing.assert_array_equal(next(data)["index"], next(expected)["index"])


def test_nothing_saved_restores_nothing(tmp_path, task, single):
    assert restore(tmp_path, task, single) == (None, [])


def test_the_newest_and_every_nth_are_kept(tmp_path, task, single):
    save(tmp_path, task, single, range(1, 10), keep_last=2, keep_every=4)
    assert steps_kept(tmp_path) == [4, 8, 9]


def test_saving_does_not_see_later_steps(tmp_path, task, single):
    """The state's buffers are given away to the next step while the writer still works."""
    step = jax.jit(task.step, donate_argnums=0)
    key, batch = jax.random.key(0), jax.tree.map(jnp.asarray, toy_task.batch())
    state, copies = state_at(task, single, 0), {}
    with checkpoint.Checkpoints(tmp_path, keep_last=5) as checkpoints:
        for number in range(1, 6):
            state, _ = step(state, batch, key)
            copies[number] = jax.tree.map(lambda leaf: np.array(leaf, copy=True), state)
            checkpoints.save(number, state)
    for number, expected in copies.items():
        warnings = []
        _, fields = restoring.restore_fields(
            tmp_path,
            fields_of(placement.abstract_state(single, task), restoring.FIELDS),
            warn=warnings.append,
        )
        if number == 5:
            assert_equal(fields["params"], expected.params)
        assert not warnings


def data_files(path):
    return sorted(file for file in path.rglob("*") if file.is_file())


def flip(file, place):
    data = bytearray(file.read_bytes())
    data[place] ^= 0x10
    file.write_bytes(bytes(data))


@pytest.mark.slow
def test_no_flipped_byte_goes_unnoticed(tmp_path, task, single):
    """One byte in the middle of every file: the state is right, or it is the one before."""
    states = save(tmp_path, task, single, [1, 2], keep_last=2)
    num_fallbacks = 0
    for file in data_files(tmp_path / "checkpoints" / "2"):
        original = file.read_bytes()
        if not original:
            continue
        flip(file, len(original) // 2)
        warnings = []
        step, fields = restoring.restore_fields(
            tmp_path,
            fields_of(placement.abstract_state(single, task), restoring.FIELDS),
            warn=warnings.append,
        )
        for name in restoring.FIELDS:
            assert_equal(fields[name], getattr(states[step], name))
        assert len(warnings) == (step == 1)
        num_fallbacks += step == 1
        file.write_bytes(original)
    assert num_fallbacks >= 4


def test_a_flipped_byte_of_a_large_array_is_caught_by_its_checksum(tmp_path, single):
    """orbax guards small arrays, which it keeps within its index; it loads these without a word."""
    task = toy_task.ToyTask(hidden=2048)
    states, messages = save(tmp_path, task, single, [1, 2], keep_last=2), []
    file = max(data_files(tmp_path / "checkpoints" / "2"), key=lambda path: path.stat().st_size)
    original = file.read_bytes()
    for place in np.random.default_rng(0).integers(len(original), size=6):
        flip(file, place)
        step, fields = restoring.restore_fields(
            tmp_path,
            fields_of(placement.abstract_state(single, task), restoring.FIELDS),
            warn=messages.append,
        )
        for name in restoring.FIELDS:
            assert_equal(fields[name], getattr(states[step], name))
        file.write_bytes(original)
    assert any("the values of" in message for message in messages)


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "empty"])
def test_a_damaged_checkpoint_falls_back_and_is_set_aside(tmp_path, task, single, damage):
    states = save(tmp_path, task, single, [1, 2])
    newest = tmp_path / "checkpoints" / "2"
    if damage == "empty":
        for file in data_files(newest):
            file.unlink()
    else:
        file = max((newest / "state").rglob("d/*"), key=lambda path: path.stat().st_size)
        if damage == "flip":
            flip(file, file.stat().st_size // 2)
        elif damage == "truncate":
            os.truncate(file, file.stat().st_size // 2)
        else:
            file.unlink()
    state, warnings = restore(tmp_path, task, single)
    assert_equal(state, states[1])
    assert len(warnings) == 1
    assert str(newest) in warnings[0]
    assert "\n" not in warnings[0]
    assert (tmp_path / "checkpoints" / "damaged-2").exists()
    # The run reaches step 2 again, and the new checkpoint is the one that counts.
    again = save(tmp_path, task, single, [2])
    assert_equal(restore(tmp_path, task, single)[0], again[2])


def test_none_good_is_an_error_that_names_the_folder(tmp_path, task, single):
    save(tmp_path, task, single, [1, 2])
    for step in (1, 2):
        (tmp_path / "checkpoints" / str(step) / "record" / "data.json").write_text("{}")
    with pytest.raises(errors.UserError, match=re.escape(str(tmp_path))):
        restore(tmp_path, task, single)


def test_another_configuration_is_an_error_and_changes_nothing(tmp_path, task, single):
    save(tmp_path, task, single, [1, 2])
    other = toy_task.ToyTask(hidden=24)
    message = r"params/down/kernel is float32\[16,4\] there, float32\[24,4\] here"
    with pytest.raises(errors.UserError, match=message):
        restore(tmp_path, other, single)
    with pytest.raises(errors.UserError, match="another configuration"):
        restoring.restore_fields(tmp_path, fields_of(placement.abstract_state(single, other)))
    assert steps_kept(tmp_path) == [1, 2]


def test_another_seed_is_an_error(tmp_path, task, single):
    save(tmp_path, task, single, [1], facts={"seed": 3})
    with pytest.raises(errors.UserError, match="seed 3, this run has 4"):
        restore(tmp_path, task, single, facts={"seed": 4})


def test_half_written_folders_are_cleared(tmp_path, task, single):
    states = save(tmp_path, task, single, [1])
    half = tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp"
    (half / "params").mkdir(parents=True)
    state, warnings = restore(tmp_path, task, single)
    assert_equal(state, states[1])
    assert not warnings
    assert not half.exists()


def test_sampling_loads_no_optimizer(tmp_path, task, single):
    states = save(tmp_path, task, single, [1, 2])
    mesh = make_mesh(2, 4, 1)
    # An optimizer of another kind, as its state would be if it were looked at.
    abstract = placement.abstract_state(mesh, task).replace(opt_state=(), params={})
    step, fields = restoring.restore_fields(tmp_path, fields_of(abstract))
    assert step == 2
    assert set(fields) == {"average_params", "statistics"}
    assert_equal(fields["average_params"], states[2].average_params)
    kernel = fields["average_params"]["up"]["kernel"]
    assert kernel.sharding == abstract.average_params["up"]["kernel"].sharding


def test_no_checkpoint_to_sample_from_says_what_to_do(tmp_path, task, single):
    with pytest.raises(errors.UserError, match=r"holds no checkpoint.*--workdir"):
        restoring.restore_fields(
            tmp_path / "nowhere", fields_of(placement.abstract_state(single, task))
        )
    assert not (tmp_path / "nowhere").exists()


def test_typed_keys_empty_fields_and_odd_types_survive(tmp_path, single):
    class Odd(toy_task.ToyTask):
        def init(self, key):
            return (
                super()
                .init(key)
                .replace(
                    opt_state=(),
                    statistics={
                        "key": key,
                        "seen": jnp.array([True, False]),
                        "half": jnp.arange(3, dtype=jnp.bfloat16),
                    },
                )
            )

        def statistics_axes(self):
            return {"key": (), "seen": (None,), "half": (None,)}

    states = save(tmp_path, Odd(), single, [1])
    state, _ = restore(tmp_path, Odd(), single)
    assert jax.random.key_data(state.statistics["key"]).tolist() == [0, 1]
    for name in ("seen", "half"):
        np.testing.assert_array_equal(state.statistics[name], states[1].statistics[name])
    assert state.opt_state == ()


FULL_DISK = """
    import json, pathlib, resource, signal, sys
    sys.path[:0] = [{root!r}, {helpers!r}]
    import jax, toy_task
    from resgen_jax.core import errors
    from resgen_jax.runtime import mesh as meshes
    from resgen_jax.training import placement
    from resgen_jax.training.checkpoints import checkpoint, restoring
    task = toy_task.ToyTask(hidden=4096)
    mesh = meshes.make(meshes.Spec())
    state = jax.jit(task.init)(jax.random.key(0))
    with checkpoint.Checkpoints({workdir!r}) as checkpoints:
        checkpoints.save(1, state)
    # Files may not grow any more: what a full disk does to a writer.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    try:
        with checkpoint.Checkpoints({workdir!r}) as checkpoints:
            checkpoints.save(2, state)
    except errors.UserError as error:
        print(json.dumps(str(error)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    warnings = []
    abstract = placement.abstract_state(mesh, task)
    step, _ = restoring.restore_fields(
        {workdir!r}, dict(params=abstract.params), warn=warnings.append
    )
    print(step, warnings)
"""


def test_a_full_disk_leaves_the_old_checkpoint_and_one_line(tmp_path):
    root = pathlib.Path(__file__).parents[3]
    script = textwrap.dedent(FULL_DISK).format(
        root=str(root), helpers=str(root / "tests" / "helpers"), workdir=str(tmp_path)
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    message, rest = done.stdout.splitlines()
    message = json.loads(message)
    assert str(tmp_path / "checkpoints") in message
    assert re.search(r"\d+ bytes free", message)
    assert rest == "1 []"
    assert "Traceback" not in done.stderr


def bytes_read():
    """What this process has read so far, from the disk or its cache."""
    lines = pathlib.Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("rchar")))


@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="counts bytes as Linux does")
def test_arrays_that_sampling_does_not_want_are_not_read(tmp_path, single):
    task = toy_task.ToyTask(hidden=65536)
    state = state_at(task, single, 0)
    random = np.random.default_rng(0)
    # Noise, for the zeros that an optimizer begins with are stored as next to nothing.
    state = jax.tree.map(
        lambda leaf: jax.device_put(random.normal(size=leaf.shape).astype(leaf.dtype)), state
    )
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
    abstract, num_bytes = placement.abstract_state(single, task), {}
    for names in (("average_params", "statistics"), restoring.FIELDS):
        before = bytes_read()
        restoring.restore_fields(tmp_path, fields_of(abstract, names))
        num_bytes[names] = bytes_read() - before
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state.average_params))
    few, all_of_them = num_bytes.values()
    assert all_of_them > 3.5 * size  # parameters, their average, two moments
    assert few < 1.5 * size
