"""Laws of training AR-ResGen: exact likelihoods, what is learnt, what is refused."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_ar_resgen as tiny

from resgen_jax.core import errors, keys, spaces
from resgen_jax.generators import ar_resgen, ar_resgen_model, ar_resgen_sampler_spec
from resgen_jax.training import ar_resgen_task
from resgen_jax.training.state import Task


@pytest.mark.parametrize("head", ["codes", "levels"])
def test_the_likelihood_of_all_examples_sums_to_one(head):
    """Two positions of depth 2 with 2 codes: 16 examples, by `evaluate`, one at a time."""
    space = spaces.image_codes((1, 2), depth=2, codebook_size=2, code_dim=3, num_classes=2)
    task = tiny.task(head, space)
    params = tiny.random_params(task.network)
    state = jax.jit(task.init)(jax.random.key(0)).replace(average_params=params)
    every = np.array(list(itertools.product(range(2), repeat=4)), np.int32).reshape(16, 1, 2, 2)

    @jax.jit
    def log_likelihood(codes):
        batch = {"codes": codes, "labels": jnp.array([1]), "is_valid": jnp.array([True])}
        found = task.evaluate(state, batch, jax.random.key(0))
        return -space.num_tokens * found["code_nll/mean"]

    found = jax.lax.map(log_likelihood, jnp.asarray(every))
    assert np.exp(found).sum() == pytest.approx(1, abs=1e-4)
    assert np.std(found) > 0.1


@pytest.mark.parametrize("head", ["codes", "levels"])
def test_a_training_step_is_counted_as_three_forward_passes(head):
    forward = ar_resgen.forward_flops(tiny.spec(head), tiny.SPACE, with_code_head=head == "codes")
    assert tiny.task(head).flops_per_example() == 3 * forward > 0


def test_greedy_sampling_of_a_tiny_set_that_was_learnt_by_heart_gives_it_back():
    task = tiny.task("levels")
    assert isinstance(task, Task)
    labels = jnp.arange(3, dtype=jnp.int32)
    batch = {"codes": tiny.codes(3), "labels": labels, "index": labels}
    state = jax.jit(task.init)(jax.random.key(0))

    def step(state, key):
        return task.step(state, batch, key)

    row_keys = keys.example_keys(jax.random.key(1), jnp.arange(200))
    state, metrics = jax.jit(lambda state: jax.lax.scan(step, state, row_keys))(state)
    assert metrics["loss"][-1] < metrics["loss"][0] - 1
    model = ar_resgen_model.make(task.model, task.space)
    spec = ar_resgen_sampler_spec.Spec(temperature=0.0, noise_scale=0.0)
    found = model.sampler(spec).sample(
        state.average_params,
        state.statistics["codebooks"],
        row_keys[:3],
        labels,
        model.plan(spec, 12),
    )
    np.testing.assert_array_equal(found, batch["codes"])


def test_the_likelihood_of_each_level_is_that_of_the_true_codes_and_padding_counts_for_nothing():
    """The head's own logits, read by hand; a row's positions behind its end are left out."""
    task = tiny.task("codes")
    params = tiny.random_params(task.network)
    state = jax.jit(task.init)(jax.random.key(0)).replace(average_params=params)
    codes = tiny.codes(3)
    batch = {
        "codes": codes,
        "labels": jnp.array([0, 1, 2]),
        "is_valid": jnp.array([True, True, False]),
        "lengths": jnp.array([4, 2, 3]),
    }
    found = jax.jit(task.evaluate)(state, batch, jax.random.key(0))
    books = np.asarray(state.statistics["codebooks"])
    quantized = books[np.arange(3), codes].sum(axis=2)
    hidden = task.network.apply(params, jnp.asarray(quantized), batch["labels"], method="hidden")
    logits = task.network.apply(params, hidden, method="code_logits")
    nll = -np.asarray(jax.nn.log_softmax(logits))
    nll = np.take_along_axis(nll, np.asarray(codes)[..., None], axis=-1)[..., 0]
    expected = (nll[0].mean(axis=0) + nll[1, :2].mean(axis=0)) / 2
    np.testing.assert_allclose(
        [found[f"code_nll/level_{level}"] for level in range(3)], expected, rtol=1e-4
    )
    assert float(found["code_nll/mean"]) == pytest.approx(expected.mean(), rel=1e-4)
    total = nll[0].sum() + nll[1, :2].sum()
    assert float(found["loss"]) == pytest.approx(total / (6 * 3), rel=1e-4)


def test_a_head_that_would_not_be_trained_is_refused():
    with pytest.raises(errors.UserError, match="nothing would be trained"):
        tiny.task("codes", code_loss_weight=0.0)
    spec = tiny.spec("levels", has_code_head=False)
    loss = ar_resgen_task.LossSpec()
    with pytest.raises(errors.UserError, match="loss.code_loss_weight is 1.0"):
        ar_resgen_task.ArResGenTask(spec, loss, tiny.OPTIMIZER, 10, tiny.SPACE, tiny.codebooks())
