"""Which nats a comparison takes for those of a whole example: only what each task calls so."""

import jax
import jax.numpy as jnp
import pytest
import tiny_ar_resgen
import tiny_rq_transformer
import tiny_tasks

from resgen_jax.runs.study import comparison


def held_out(task, batch):
    """What a fresh task says of a batch."""
    rows = batch | {"is_valid": jnp.ones(len(batch["codes"]), bool)}
    state = jax.jit(task.init)(jax.random.key(0))
    found = jax.jit(task.evaluate)(state, rows, jax.random.key(1))
    return {name: float(value) for name, value in found.items()}


def ar_batch():
    return {"codes": tiny_ar_resgen.codes(), "labels": jnp.array([0, 1, 2, 0], jnp.int32)}


@pytest.mark.parametrize(
    ("task", "batch", "name", "kind"),
    [
        (tiny_tasks.generator, tiny_tasks.codes, "code_bound", "bound"),
        (tiny_rq_transformer.task, tiny_rq_transformer.batch, "code_nll/mean", "exact"),
        (lambda: tiny_ar_resgen.task("codes"), ar_batch, "code_nll/mean", "exact"),
    ],
    ids=["resgen", "rq_transformer", "ar_resgen"],
)
def test_each_method_has_nats_of_whole_examples(task, batch, name, kind):
    found = held_out(task(), batch())
    assert comparison.nats_of(found) == (found[name], kind)


def test_a_likelihood_given_other_positions_is_not_one_of_a_whole_example():
    assert comparison.nats_of({"code_nll/mean": 1.0, "loss": 2.0}) == (None, None)
