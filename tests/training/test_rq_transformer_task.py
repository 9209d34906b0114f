"""Laws of training RQ-Transformer: what its loss is, what it learns, what is measured held out."""

import dataclasses

import jax
import jax.numpy as jnp
import mesh_laws
import numpy as np
import numpy_networks
import pytest
import tiny_rq_transformer as tiny

from resgen_jax.core import errors, keys
from resgen_jax.generators import rq_transformer_sampler
from resgen_jax.quantizers import rvq, unit
from resgen_jax.runtime import mesh as meshes
from resgen_jax.training import optimizer, rq_transformer_loss
from resgen_jax.training.state import Task

DEPTH, SIZE = tiny.SPACE.codes.depth, tiny.SPACE.codes.codebook_size


@pytest.fixture(scope="module")
def task():
    return tiny.task()


@pytest.fixture(scope="module")
def state(task):
    """With random parameters of every size."""
    params = tiny.random_params(task.network)
    state = jax.jit(task.init)(jax.random.key(0))
    return state.replace(params=params, average_params=params)


@pytest.fixture(scope="module")
def batch():
    return tiny.batch() | {"is_valid": jnp.ones(8, bool)}


@pytest.fixture(scope="module")
def evaluate(task):
    return jax.jit(lambda state, batch: task.evaluate(state, batch, jax.random.key(0)))


@pytest.fixture(scope="module")
def logits(task, state, batch):
    codebooks = state.statistics["codebooks"]
    run = jax.jit(task.network.apply)
    return np.asarray(run(state.params, batch["codes"], batch["labels"], codebooks))


@pytest.fixture(scope="module")
def learned():
    """Three examples, learnt by heart in one compiled run: task, state, batch, losses."""
    num_steps = 100
    task = tiny.task(
        dataclasses.replace(tiny.SPEC, width=24, remat="none"),
        optimizer.Spec(learning_rate=1e-2, warmup_steps=10, clip_norm=1.0),
        num_steps,
        average_decay=0.5,
    )
    few = {"codes": tiny.codes(3, seed=9), "labels": jnp.arange(3)}

    @jax.jit
    def run(key):
        def step(state, number):
            state, metrics = task.step(state, few, keys.step_key(key, number))
            return state, metrics["loss"]

        return jax.lax.scan(step, task.init(key), jnp.arange(num_steps))

    state, losses = run(jax.random.key(0))
    return task, state, few, np.asarray(losses)


def test_examples_are_learnt_by_heart_to_nearly_no_nats(learned):
    task, state, few, losses = learned
    assert isinstance(task, Task)
    assert losses[0] > 1
    rows = few | {"is_valid": jnp.ones(3, bool)}
    metrics = jax.jit(task.evaluate)(state, rows, jax.random.key(0))
    assert metrics["code_nll/mean"] < 0.01
    assert all(metrics[f"code_nll/level_{level}"] < 0.02 for level in range(DEPTH))


def test_what_was_learnt_by_heart_is_what_is_sampled(learned):
    task, state, few, _ = learned
    sampler = rq_transformer_sampler.RqTransformerSampler(task.network, task.model, task.space)
    for spec in (
        rq_transformer_sampler.Spec(temperature=0.0),
        rq_transformer_sampler.Spec(top_p=0.9),
    ):
        codes = sampler.sample(
            state.average_params,
            state.statistics["codebooks"],
            keys.example_keys(jax.random.key(1), jnp.arange(3)),
            few["labels"],
            rq_transformer_sampler.plan(spec, DEPTH),
        )
        np.testing.assert_array_equal(codes, few["codes"])


def with_bias(state, bias):
    """A network that says the same of every code: the logits of `bias`."""
    out = {"kernel": jnp.zeros_like(state.params["out"]["kernel"]), "bias": jnp.asarray(bias)}
    return state.replace(average_params=state.params | {"out": out})


def test_a_network_that_guesses_costs_ln_v_at_every_level(evaluate, state, batch):
    metrics = evaluate(with_bias(state, jnp.zeros(SIZE)), batch)
    for name in ["mean", *(f"level_{level}" for level in range(DEPTH))]:
        np.testing.assert_allclose(metrics[f"code_nll/{name}"], np.log(SIZE), rtol=1e-6)
    assert metrics["num_examples"] == 8


def test_a_constant_network_costs_the_cross_entropy_with_what_occurs(evaluate, state, batch):
    share = np.arange(1, SIZE + 1) / np.arange(1, SIZE + 1).sum()
    metrics = evaluate(with_bias(state, np.float32(np.log(share))), batch)
    for level in range(DEPTH):
        expected = -np.log(share)[np.asarray(batch["codes"])[..., level]].mean()
        np.testing.assert_allclose(metrics[f"code_nll/level_{level}"], expected, rtol=1e-5)


def test_a_network_that_knows_costs_nothing_and_one_that_is_sure_of_another_code_its_odds(
    evaluate, state, batch
):
    sure = with_bias(state, 10.0 * jax.nn.one_hot(3, SIZE))
    right, wrong = (
        evaluate(sure, batch | {"codes": jnp.full_like(batch["codes"], code)}) for code in (3, 4)
    )
    rest = np.log(1 + (SIZE - 1) * np.exp(-10))
    np.testing.assert_allclose(right["code_nll/mean"], rest, rtol=1e-2)
    np.testing.assert_allclose(wrong["code_nll/mean"], 10 + rest, rtol=1e-6)


def nats_by_hand(logits, codes):
    share = numpy_networks.softmax(logits.astype(np.float64))
    return -np.log(np.take_along_axis(share, np.asarray(codes)[..., None], axis=-1))[..., 0]


def test_the_nats_are_those_of_the_teacher_forced_logits_of_the_valid_rows(
    evaluate, state, batch, logits
):
    expected = nats_by_hand(logits, batch["codes"])
    is_valid = jnp.arange(8) < 5
    padded = {
        "codes": jnp.where(is_valid[:, None, None], batch["codes"], 0),
        "labels": jnp.where(is_valid, batch["labels"], 0),
        "is_valid": is_valid,
    }
    for rows, number in ((batch, 8), (padded, 5)):
        metrics = evaluate(state, rows)
        for level in range(DEPTH):
            found = metrics[f"code_nll/level_{level}"]
            np.testing.assert_allclose(found, expected[:number, :, level].mean(), rtol=1e-5)
        np.testing.assert_allclose(metrics["loss"], expected[:number].mean(), rtol=1e-5)
        assert metrics["num_examples"] == number


def test_a_level_is_measured_given_the_coarser_ones_and_no_finer_one(evaluate, state, batch):
    """Seen where there is no later position that a code might matter to."""
    base = evaluate(state, batch)
    for level in range(DEPTH):
        codes = batch["codes"].at[:, -1, level].add(1) % SIZE
        moved = evaluate(state, batch | {"codes": codes})
        for other in range(DEPTH):
            name = f"code_nll/level_{other}"
            if other < level:
                np.testing.assert_allclose(moved[name], base[name], rtol=1e-6)
            else:
                assert abs(moved[name] - base[name]) > 1e-5


def loss_of(task, params, state, batch, key=5):
    """Loss of a step before anything is averaged."""
    codebooks = state.statistics["codebooks"]
    drawn = task._draw(batch, codebooks, jax.random.key(key))
    return task._sums(params, codebooks, drawn).loss / rq_transformer_loss.num_codes(drawn)


def test_the_loss_of_a_step_is_the_mean_of_all_nats(task, state, batch, logits):
    _, metrics = jax.jit(task.step)(state, batch, jax.random.key(5))
    expected = nats_by_hand(logits, batch["codes"]).mean()
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["code_loss"], expected, rtol=1e-5)
    assert metrics["grad_norm"] > 0


def test_soft_targets_are_shares_by_distance_to_what_the_levels_above_left(state, batch, logits):
    """In the distances of the codebooks as the tokenizer has them, scaled for no network."""
    temperature = 0.7
    task = tiny.task(soft_target_temperature=temperature)
    tables, codes = np.float64(tiny.codebooks()), np.asarray(batch["codes"])
    left = np.asarray(rvq.decode(batch["codes"], tiny.codebooks()), np.float64)
    log_share = np.log(numpy_networks.softmax(logits.astype(np.float64)))
    expected = np.zeros(codes.shape)
    for level in range(DEPTH):
        distance = ((left[..., None, :] - tables[level]) ** 2).sum(axis=-1)
        target = numpy_networks.softmax(-distance / temperature)
        expected[..., level] = -(target * log_share[:, :, level]).sum(axis=-1)
        left = left - tables[level][codes[..., level]]
    np.testing.assert_allclose(left, 0, atol=1e-5)
    found = jax.jit(lambda: loss_of(task, state.params, state, batch))()
    np.testing.assert_allclose(found, expected.mean(), rtol=1e-4)
    _, metrics = jax.jit(task.step)(state, batch, jax.random.key(5))
    hard = nats_by_hand(logits, batch["codes"]).mean()
    np.testing.assert_allclose(metrics["code_loss"], hard, rtol=1e-5)


def test_cold_targets_of_nearest_codes_are_the_codes(state):
    codebooks = state.statistics["codebooks"]
    codes, _ = rvq.encode(jax.random.normal(jax.random.key(0), (400, 5)), codebooks)
    again, _ = rvq.encode(rvq.decode(codes, codebooks), codebooks)
    codes = codes[np.all(codes == again, axis=-1)][:48].reshape(8, 6, DEPTH)
    batch = tiny.batch() | {"codes": codes}
    cold = tiny.task(soft_target_temperature=1e-4, draws_codes=True)
    found, expected = (
        jax.jit(lambda task=task: loss_of(task, state.params, state, batch))()
        for task in (cold, tiny.task())
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_drawn_codes_follow_their_targets_and_keep_the_vector_they_stand_for(batch):
    """Of one example many times: the first level's frequencies, and the same target for all."""
    codebooks, codes = tiny.codebooks(), jnp.tile(batch["codes"][:1, :1], (2000, 1, 1))
    row_keys = keys.example_keys(jax.random.key(0), jnp.arange(2000))
    drawn = np.asarray(rq_transformer_loss.draw_codes(row_keys, codes, codebooks, 5.0))
    left = np.asarray(rvq.decode(codes[:1], codebooks), np.float64)[0, 0]
    for first in [None, np.bincount(drawn[:, 0, 0]).argmax()]:
        level = 0 if first is None else 1
        if first is not None:
            left = left - np.float64(codebooks)[0, first]
        rows = drawn if first is None else drawn[drawn[:, 0, 0] == first]
        distance = ((left[None] - np.float64(codebooks)[level]) ** 2).sum(axis=-1)
        share = numpy_networks.softmax(-distance / 5.0)
        frequency = np.bincount(rows[:, 0, level], minlength=SIZE) / len(rows)
        np.testing.assert_allclose(frequency, share, atol=4 * np.sqrt(0.25 / len(rows)))


def test_where_all_labels_are_dropped_none_is_seen(state, batch):
    task = tiny.task(condition_drop_rate=1.0)
    params = tiny.random_params(task.network)
    gradient = jax.jit(jax.grad(lambda params: loss_of(task, params, state, batch)))(params)
    by_class = np.abs(gradient["classes"]).max(axis=-1)
    assert np.all(by_class[: tiny.SPACE.num_classes] == 0)
    assert by_class[tiny.SPACE.num_classes] > 0


def test_microbatches_are_one_batch(batch):
    """Labels dropped, codes drawn, dropout, and rows that do not count."""
    model = dataclasses.replace(tiny.SPEC, dropout_rate=0.3)
    batch = batch | {"is_valid": jnp.arange(8) != 5}
    loss = {"soft_target_temperature": 0.5, "draws_codes": True, "condition_drop_rate": 0.5}

    def stepped(num_microbatches):
        spec = dataclasses.replace(
            tiny.OPTIMIZER, b1=0.0, num_microbatches=num_microbatches, clip_norm=0.0
        )
        task = tiny.task(model, spec, **loss)
        params = tiny.random_params(task.network)
        statistics = {"codebooks": jnp.asarray(task._codebooks)}
        begun = optimizer.initial_state(params, task.optimizer, statistics)
        after, metrics = jax.jit(task.step)(begun, batch, jax.random.key(0))
        return after.opt_state, metrics  # with b1 = 0, Adam's first moment is the gradient

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        stepped(4),
        stepped(1),
    )


@pytest.mark.slow
def test_it_trains_alike_on_eight_devices(single):
    task = tiny.task(dataclasses.replace(tiny.SPEC, width=16, num_heads=4, remat="none"))
    eight = meshes.make(meshes.Spec(2, 2, 2), jax.devices())
    batches = [jax.tree.map(np.asarray, tiny.batch(16, seed)) for seed in range(2)]
    mesh_laws.assert_same_training(task, eight, single, batches, rtol=1e-4)


def test_operations_are_those_of_the_layers_counted_by_hand(task):
    width, length, channels = tiny.SPEC.width, tiny.SPACE.max_length, tiny.SPACE.codes.code_dim

    def stack(num_layers, places):
        return num_layers * (places * 2 * 12 * width**2 + 4 * places**2 * width)

    body = stack(2, length) + 2 * (length - 1) * channels * width
    head = stack(2, DEPTH) + 2 * (DEPTH - 1) * channels * width + 2 * DEPTH * width * SIZE
    assert task.flops_per_example() == 3 * (body + length * head)
    function, arguments = task.forward_program(2)
    assert jax.eval_shape(function, *arguments).shape == (2, length, DEPTH, SIZE)


def test_codebooks_are_scaled_as_resgen_scales_them(task, state):
    np.testing.assert_array_equal(
        state.statistics["codebooks"], unit.unit_codebooks(np.asarray(tiny.codebooks()))
    )
    assert jax.tree.structure(task.axes(), is_leaf=lambda x: isinstance(x, tuple)) == (
        jax.tree.structure(state.params)
    )
    assert task.statistics_axes() == {"codebooks": (None, None, None)}
    assert task.remarks({"loss": 1.0}) == {}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"condition_drop_rate": 1.5}, "loss.condition_drop_rate is 1.5; expected 0 to 1"),
        ({"soft_target_temperature": -1.0}, "loss.soft_target_temperature is -1.0; expected 0"),
        ({"draws_codes": True}, "draws_codes is True but loss.soft_target_temperature is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(errors.UserError, match=message):
        rq_transformer_loss.LossSpec(**fields)


def test_what_does_not_fit_together_is_refused(task):
    given = tiny.OPTIMIZER, 10, tiny.SPACE
    model = dataclasses.replace(tiny.SPEC, has_null_class=True)
    with pytest.raises(errors.UserError, match="condition_drop_rate is 0.0 but .* is True"):
        type(task)(model, task.loss, *given, np.asarray(tiny.codebooks()))
    with pytest.raises(errors.UserError, match=r"codebooks are \(3, 7, 5\); expected \(4, 7, 5\)"):
        type(task)(tiny.SPEC, task.loss, *given, np.asarray(tiny.codebooks())[:3])
