"""Laws of a run that begins with another one's parameters: they are taken, all else is new."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_tasks
import toy_task
from toy_runs import assert_equal, at_step, interrupt, lines, train

from resgen_jax.core import errors
from resgen_jax.recipes import rq_vae
from resgen_jax.runtime import mesh as meshes
from resgen_jax.training import adversary, loop, placement, programs, rq_vae_loss
from resgen_jax.training.checkpoints import beginning, checkpoint, restoring
from resgen_jax.training.rq_vae_task import HAVE_BEGUN

LOSS = rq_vae_loss.LossSpec(start_step=5)
SPEC = adversary.Spec(width=4, num_layers=1)


def begin(workdir, task, mesh, **options):
    options |= {"statistics": rq_vae.RECIPE.learnt, "auxiliary": rq_vae.RECIPE.auxiliary}
    step, fields = beginning.learnt(workdir, placement.abstract_state(mesh, task), **options)
    with jax.set_mesh(mesh):
        return step, beginning.taking_over(fields)(task, mesh, 0)


def test_parameters_are_taken_and_step_and_optimizer_are_new(uninterrupted):
    workdir, there = uninterrupted
    mesh, task = meshes.make(meshes.Spec(2, 2, 2)), toy_task.ToyTask(num_steps=20)
    step, state = begin(workdir, task, mesh)
    fresh = programs.initial_state(task, mesh, 0)
    assert step == 20
    assert_equal(state.params, there.params)
    assert_equal(state.average_params, there.average_params)
    assert_equal((state.step, state.opt_state), (fresh.step, fresh.opt_state))
    places = jax.tree.map(
        lambda ours, own: ours.sharding.is_equivalent_to(own.sharding, ours.ndim), state, fresh
    )
    assert jax.tree.all(places)


def test_a_step_can_be_named_and_one_that_is_not_there_is_told(uninterrupted, single):
    workdir, task = uninterrupted[0], toy_task.ToyTask(num_steps=20)
    step, state = begin(workdir, task, single, step=18)
    assert step == 18
    wanted = {"params": placement.abstract_state(single, task).params}
    expected = restoring.restore_fields(workdir, wanted)[1]["params"]
    assert np.any(state.params["down"]["bias"] != expected["down"]["bias"])
    with pytest.raises(errors.UserError, match="of step 13, but it holds those of steps 18, 20"):
        begin(workdir, task, single, step=13)
    with pytest.raises(errors.UserError, match="to hold a checkpoint, but it holds none"):
        begin(workdir / "nothing", task, single)


def test_another_architecture_is_refused_by_the_name_of_an_array(uninterrupted, single):
    expected = r"another architecture: .*/down/kernel is float32\[16,4\] there, float32\[8,4\] here"
    with pytest.raises(errors.UserError, match=expected):
        begin(uninterrupted[0], toy_task.ToyTask(hidden=8), single)


def test_a_new_run_survives_its_own_stops_and_does_not_begin_again(tmp_path, uninterrupted, single):
    workdir, old = uninterrupted
    task = toy_task.ToyTask(num_steps=20)
    _, fields = beginning.learnt(workdir, placement.abstract_state(single, task))

    def copies():
        return beginning.taking_over(jax.tree.map(jnp.copy, fields))

    whole = train(tmp_path / "whole", single, begin=copies())
    assert lines(tmp_path / "whole") != lines(workdir)
    with pytest.raises(loop.Stopped):
        train(tmp_path / "parts", single, begin=copies(), progress=at_step(10, interrupt))
    state = train(tmp_path / "parts", single, begin=pytest.fail)  # never asked
    assert_equal(state, whole)
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
    assert lines(workdir)  # and the old run is as it was
    assert_equal(train(workdir, single), old)


@pytest.fixture(scope="module")
def tokenizers():
    """Without and with an adversary, of which nothing but the first state is compiled."""
    return tiny_tasks.tokenizer(LOSS), tiny_tasks.tokenizer(LOSS, adversarial=SPEC)


@pytest.mark.parametrize(("there", "here"), [(0, 1), (1, 0), (1, 1)])
def test_a_discriminator_is_taken_where_both_have_it(tmp_path, single, tokenizers, there, here):
    saved = programs.initial_state(tokenizers[there], single, seed=3)
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(7, saved)
    task, notes = tokenizers[here], []
    _, state = begin(tmp_path, task, single, warn=notes.append)
    fresh = programs.initial_state(task, single, seed=0)
    for name, part in fresh.params.items():
        is_taken = name in saved.params
        assert_equal(state.params[name], saved.params[name] if is_taken else part)
    for name in ("learner", "quantizer"):
        assert_equal(state.statistics[name], saved.statistics[name])
    assert jax.tree.structure(state) == jax.tree.structure(fresh)
    assert len(notes) == (there != here)


def test_codebooks_that_were_taken_over_move_from_the_first_step_on(single):
    """Those of a run of its own stay random until k-means starts them."""
    latents = jax.random.normal(jax.random.key(1), (16, 4, 4))
    use = {name: jax.random.key(2) for name in ("start", "update")}
    found = {}
    for start_step in (None, HAVE_BEGUN):
        task = tiny_tasks.tokenizer(LOSS, start_step=start_step, decay=0.75)
        state = programs.initial_state(task, single, seed=0)
        codes = jnp.zeros((16, 4, 2), jnp.int32)
        found[start_step] = jax.jit(task._learn)(state, latents, codes, use)
        before = state.statistics["learner"]
    assert_equal(found[None], before)
    counts = [np.asarray(tree.counts) for tree in (before, found[HAVE_BEGUN])]
    np.testing.assert_allclose(counts[1][:, 1:], 0.75 * counts[0][:, 1:], rtol=1e-5)
