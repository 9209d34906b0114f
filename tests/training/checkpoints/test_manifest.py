"""Laws of the record: sealed, of a known format, and good for another number of processes."""

import json

import jax
import pytest
import toy_task

import resgen_jax
from resgen_jax.core import errors
from resgen_jax.training import placement
from resgen_jax.training.checkpoints import checkpoint, manifest, restoring

GLOBAL_STATE = json.dumps({"num_batches": 7})


def file_of(workdir, step):
    return workdir / "checkpoints" / str(step) / "record" / "data.json"


@pytest.fixture
def saved(tmp_path, single):
    """Checkpoints at steps 1 and 2."""
    task = toy_task.ToyTask()
    state = jax.jit(task.init, out_shardings=placement.state_shardings(single, task))
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state(jax.random.key(step)))
    return tmp_path


def restore(workdir, mesh):
    warnings = []
    with checkpoint.Checkpoints(workdir) as checkpoints:
        abstract = placement.abstract_state(mesh, toy_task.ToyTask())
        checkpoints.restore(abstract, warn=warnings.append)
    return warnings


def test_a_newer_format_is_refused_and_nothing_is_touched(saved, single):
    newest = file_of(saved, 2)
    content = json.loads(newest.read_text())["content"]
    sealed = manifest.seal({**content, "unheard_of": 1}, manifest.FORMAT + 1, "9.9.0")
    newest.write_text(json.dumps(sealed))
    before = sorted(saved.rglob("*"))
    expected = (
        rf"checkpoints/2 has format {manifest.FORMAT + 1}, written by resgen_jax 9\.9\.0; this is "
        rf"{resgen_jax.__version__}, which reads formats up to {manifest.FORMAT}: install"
    )
    with pytest.raises(errors.UserError, match=expected):
        restore(saved, single)
    abstract = placement.abstract_state(single, toy_task.ToyTask())
    with pytest.raises(errors.UserError, match=expected):
        restoring.restore_fields(saved, {"params": abstract.params})
    assert sorted(saved.rglob("*")) == before


def test_a_format_number_that_was_changed_is_damage(saved, single):
    text = file_of(saved, 2).read_text()
    changed = text.replace(f'"format": {manifest.FORMAT}', f'"format": {manifest.FORMAT + 1}')
    assert changed != text
    file_of(saved, 2).write_text(changed)
    assert "its record was changed" in restore(saved, single)[0]


def test_the_format_without_a_number_is_still_read(saved, single):
    """As versions before the number wrote it."""
    content = json.loads(file_of(saved, 2).read_text())["content"]
    del content["is_measured"]
    old = {"content": content, "digest": manifest._digest(content)}
    file_of(saved, 2).write_text(json.dumps(old))
    assert restore(saved, single) == []


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([GLOBAL_STATE] * 4, {"num_batches": 7}),
        (["null"] * 2, None),
        (['{"next_index": 3}'], {"next_index": 3}),
    ],
)
def test_states_that_count_for_all_processes_go_on_in_any_number(states, expected):
    assert manifest.iterator_state({"iterators": states}, "X") == expected


@pytest.mark.parametrize(
    "states", [['{"next_index": 3}'] * 2, [GLOBAL_STATE, '{"num_batches": 8}']]
)
def test_states_of_each_process_need_as_many_as_there_were(states):
    with pytest.raises(errors.UserError, match=r"X was saved by 2 processes.*go on with 2"):
        manifest.iterator_state({"iterators": states}, "X")


@pytest.mark.parametrize(
    "change",
    [
        {"arrays": None},
        {"arrays": {"w": [[2], "float32"]}},
        {"facts": []},
        {"iterators": []},
        {"iterators": [7]},
    ],
)
def test_a_record_made_by_hand_is_damaged_whatever_its_digest(change):
    content = {"arrays": {"w": [[2], "float32", 7]}, "facts": {}, "iterators": ["null"]}
    assert manifest.unseal(manifest.seal(content, manifest.FORMAT, "1"), "x")["facts"] == {}
    with pytest.raises(manifest.DamagedError, match="lacks"):
        manifest.unseal(manifest.seal(content | change, manifest.FORMAT, "1"), "x")
