"""Laws of training ResGen: what its losses are, and what is measured held out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpy_networks
import pytest
import tiny_tasks

from resgen_jax.core import errors, keys
from resgen_jax.generators import code_likelihood
from resgen_jax.processes import mask_schedules, rvq_masking
from resgen_jax.quantizers import unit
from resgen_jax.training import head_losses, resgen_loss, resgen_task
from resgen_jax.training.state import Task

# Loss of the first steps from seed 0. A change of the model, its losses or its random numbers moves
# them: where that is meant, run this test and copy what it found.
GOLDEN = {
    "loss": [8.43782, 6.00687],
    "mixture_loss": [6.06797, 3.59181],
    "code_loss": [2.36985, 2.41507],
    "grad_norm": [31.19163, 65.21644],
}


@pytest.fixture(scope="module")
def task():
    return tiny_tasks.generator()


@pytest.fixture(scope="module")
def batch():
    return jax.tree.map(jnp.asarray, tiny_tasks.codes())


@pytest.fixture(scope="module")
def state(task):
    """Parameters of every size, so that no gate is closed."""
    state = jax.jit(task.init)(jax.random.key(0))
    random = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(0, 0.3, leaf.shape), jnp.float32), state.params
    )
    return state.replace(params=params, average_params=params)


@pytest.fixture(scope="module")
def step(task):
    return jax.jit(task.step)


def test_the_first_steps_give_the_golden_numbers(task, step, batch):
    state = jax.jit(task.init)(jax.random.key(0))
    found = {name: [] for name in GOLDEN}
    for number in range(2):
        state, metrics = step(state, batch, keys.step_key(jax.random.key(1), number))
        for name in found:
            found[name].append(round(float(metrics[name]), 5))
    for name, values in GOLDEN.items():
        np.testing.assert_allclose(
            found[name], values, rtol=1e-3, err_msg=f"{name}; if this is meant: GOLDEN = {found}"
        )


def test_it_is_a_task_and_learns(task, step, batch):
    assert isinstance(task, Task)
    state = jax.jit(task.init)(jax.random.key(0))
    losses = []
    for number in range(10):
        state, metrics = step(state, batch, keys.step_key(jax.random.key(1), number))
        losses.append(float(metrics["loss"]))
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    assert int(state.step) == 10
    np.testing.assert_array_equal(
        state.statistics["codebooks"], unit.unit_codebooks(tiny_tasks.codebooks())
    )


def masks_of(task, key):
    """The masks that a loss with this key draws."""
    use = keys.named_keys(key, "mask")
    return rvq_masking.sample_mask(
        keys.example_keys(use["mask"], jnp.arange(8)), mask_schedules.cosine, 4, 3
    )


@pytest.fixture(scope="module")
def by_hand(task, state, batch):
    """Mask, density, target and code logits of the loss with key 5, labels kept."""
    key, codebooks = jax.random.key(5), state.statistics["codebooks"]

    @jax.jit
    def run():
        is_masked = masks_of(task, key)
        codes = batch["codes"]
        revealed = rvq_masking.revealed_embedding(codes, is_masked, codebooks)
        apply = task.network.apply
        hidden = apply(state.params, revealed, is_masked, batch["labels"], method="hidden")
        density, basis = apply(state.params, hidden, method="mixture")
        logits = apply(state.params, hidden, method="code_logits")
        target = rvq_masking.masked_embedding(codes, is_masked, codebooks)
        return is_masked, density, basis, target, logits

    return jax.tree.map(np.asarray, run())


def kept_labels(**fields):
    loss = resgen_task.LossSpec(condition_drop_rate=0.0, **fields)
    model = tiny_tasks.MODEL
    if not loss.code_loss_weight:
        model = dataclasses.replace(model, has_code_head=False)
    return tiny_tasks.generator(loss, model=model)


def loss_of(task, params, state, batch):
    """Loss and metrics with key 5: the loss of a step before anything is averaged."""
    _, metrics = task._losses(params, state.statistics["codebooks"], batch, jax.random.key(5))
    return metrics["loss"], metrics


def without_code_head(params):
    return {name: leaf for name, leaf in params.items() if name != "codes"}


def density_by_hand(density, basis, target):
    """Log density of the mixture in float64, means and all."""
    scale = np.exp(density.log_scale.astype(np.float64))
    means = np.einsum("mcr,blmr->blmc", basis.weight, density.factors) + basis.bias
    means = scale[..., None, None] * means + density.shift[:, :, None]
    squared = ((target[:, :, None] - means) ** 2).sum(axis=-1) / scale[..., None] ** 2
    each = -0.5 * squared - 0.5 * target.shape[-1] * np.log(2 * np.pi * scale[..., None] ** 2)
    prior = numpy_networks.softmax(density.component_logits.astype(np.float64))
    return np.log((prior * np.exp(each)).sum(axis=-1))


def test_the_exact_objective_is_the_log_density_per_masked_token(state, batch, by_hand):
    task = kept_labels(code_loss_weight=0.0)
    loss, metrics = jax.jit(lambda: loss_of(task, without_code_head(state.params), state, batch))()
    is_masked, density, basis, target, _ = by_hand
    log_density = density_by_hand(density, basis, target)
    num_hidden = is_masked.sum(axis=-1)
    expected = -log_density[num_hidden > 0].sum() / is_masked.sum()
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    np.testing.assert_allclose(metrics["mixture_loss"], loss)
    np.testing.assert_allclose(metrics["log_scale"], density.log_scale.mean(), rtol=1e-4)


def test_the_code_loss_is_the_cross_entropy_of_the_masked_cells(state, batch, by_hand):
    task = kept_labels(code_loss_weight=0.5)
    loss, metrics = jax.jit(lambda: loss_of(task, state.params, state, batch))()
    is_masked, _, _, _, logits = by_hand
    log_share = np.log(numpy_networks.softmax(logits.astype(np.float64)))
    codes = np.asarray(batch["codes"])
    nll = -np.take_along_axis(log_share, codes[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(metrics["code_loss"], nll[is_masked].mean(), rtol=1e-4)
    np.testing.assert_allclose(
        loss, metrics["mixture_loss"] + 0.5 * metrics["code_loss"], rtol=1e-5
    )


def test_the_weighted_objective_at_weight_one_has_the_gradient_of_the_exact(state, batch):
    params = without_code_head(state.params)

    def gradient(**fields):
        task = kept_labels(code_loss_weight=0.0, **fields)
        return jax.jit(jax.grad(lambda params: loss_of(task, params, state, batch)[0]))(params)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        gradient(objective="weighted", regression_weight=1.0),
        gradient(objective="exact"),
    )


def test_objectives_differ_where_they_should(state, batch):
    params = without_code_head(state.params)

    def value(**fields):
        task = kept_labels(code_loss_weight=0.0, **fields)
        return float(jax.jit(lambda: loss_of(task, params, state, batch)[0])())

    exact = value(objective="exact")
    assert value(objective="bound") > exact + 1e-3
    assert value(objective="bound", smoothing=0.5) > value(objective="bound") + 1e-3
    weighted = [value(objective="weighted", regression_weight=w) for w in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(weighted[2], exact, rtol=1e-5)
    np.testing.assert_allclose(weighted[1], (weighted[0] + weighted[2]) / 2, rtol=1e-4)
    assert abs(weighted[0] - weighted[2]) > 0.1


def test_a_step_trains_all_parameters_and_the_classes_it_saw(step, state, batch, key):
    row_keys = keys.example_keys(keys.named_keys(key, "drop")["drop"], jnp.arange(8))
    is_dropped = np.asarray(jax.vmap(lambda key: jax.random.bernoulli(key, 0.5))(row_keys))
    assert 0 < is_dropped.sum() < 8
    seen = set(np.where(is_dropped, tiny_tasks.SPACE.num_classes, batch["labels"]))
    moved = jax.tree.map(lambda a, b: np.asarray(a != b), step(state, batch, key)[0], state)
    for path, leaf in jax.tree_util.tree_leaves_with_path(moved.params):
        assert leaf.any(), path
    assert set(np.flatnonzero(moved.params["classes"]["table"].any(axis=-1))) == seen
    assert not moved.statistics["codebooks"].any()


@pytest.mark.parametrize("masks", ["coarse_first", "fine_first", "indep"])
def test_the_loss_hides_by_the_masks_of_the_spec(batch, key, masks):
    """What the network is told to be hidden, against the masks of the same keys."""
    task = tiny_tasks.generator(loss=resgen_task.LossSpec(masks=masks))
    seen = []

    def apply(params, *arguments, method="__call__", **keywords):
        if method == "hidden":
            seen.append(arguments[1])
        return network.apply(params, *arguments, method=method, **keywords)

    network = task.network
    task.network = network._replace(apply=apply)
    state = task.init(key)
    task._losses(state.params, state.statistics["codebooks"], batch, key)
    use = keys.example_keys(keys.named_keys(key, "mask")["mask"], jnp.arange(8))
    expected = rvq_masking.sample_mask(
        use, mask_schedules.cosine, 4, 3, hide=rvq_masking.MASKS[masks]
    )
    np.testing.assert_array_equal(seen[0], expected)


@pytest.fixture(scope="module")
def evaluate(task):
    return jax.jit(task.evaluate)


def with_padding(batch, num_valid, value):
    """Rows after `num_valid` replaced by nonsense and marked as not valid."""
    is_valid = np.arange(8) < num_valid
    codes = np.where(is_valid[:, None, None], batch["codes"], value).astype(np.int32)
    labels = np.where(is_valid, batch["labels"], value % 3).astype(np.int32)
    return {"codes": jnp.asarray(codes), "labels": jnp.asarray(labels), "is_valid": is_valid}


def test_held_out_metrics_ignore_padding(evaluate, state, batch, key):
    first = evaluate(state, with_padding(batch, 5, 1), key)
    second = evaluate(state, with_padding(batch, 5, 7), key)
    assert first["num_examples"] == 5
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=1e-5, err_msg=name)
    whole = evaluate(state, with_padding(batch, 8, 1), key)
    assert whole["num_examples"] == 8
    assert all(whole[name] != first[name] for name in ("loss", "code_nll/mean", "log_scale"))


def test_held_out_metrics_are_of_the_averaged_parameters(evaluate, state, batch, key):
    rows = with_padding(batch, 8, 0)
    expected = evaluate(state, rows, key)
    moved = state.replace(params=jax.tree.map(jnp.zeros_like, state.params))
    jax.tree.map(np.testing.assert_array_equal, evaluate(moved, rows, key), expected)


def set_density(state, **bias):
    """A head that says the same everywhere: the given biases, kernels of zero."""
    head = jax.tree.map(jnp.zeros_like, state.average_params["head"])
    for name, value in bias.items():
        head[name] = head[name] | {"bias": jnp.full_like(head[name]["bias"], value)}
    return state.replace(average_params=state.average_params | {"head": head})


def test_the_nll_of_codes_never_in_doubt_is_nothing(batch, key, state):
    """A narrow density at the target, which is the same vector for all positions."""
    task = tiny_tasks.generator(resgen_task.LossSpec(num_nll_draws=4))
    codebooks = state.statistics["codebooks"]
    one_code = batch | {"codes": jnp.full_like(batch["codes"], 3), "is_valid": jnp.ones(8, bool)}
    last = np.asarray(codebooks[2, 3])
    certain = set_density(state, log_scale=-4.0)
    head = certain.average_params["head"]
    head = head | {"shift": head["shift"] | {"bias": jnp.asarray(last)}}
    certain = certain.replace(average_params=certain.average_params | {"head": head})
    metrics = jax.jit(task.evaluate)(certain, one_code, key)
    share = code_likelihood.GUESS_SHARE
    expected = -np.log(1 - share + share / 8)
    np.testing.assert_allclose(metrics["code_nll/level_2"], expected, rtol=1e-3)


def test_the_nll_of_codes_drawn_from_the_uniform_is_log_v(batch, key, state):
    """A density far wider than the codebook, whose entries lie evenly on a circle."""
    angle = 2 * np.pi * np.arange(8) / 8
    circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle, 0 * angle], axis=-1)
    codebooks = jnp.asarray(np.broadcast_to(circle, (3, 8, 4)), jnp.float32)
    task = tiny_tasks.generator(resgen_task.LossSpec(num_nll_draws=256))
    uniform = set_density(state, log_scale=3.0).replace(statistics={"codebooks": codebooks})
    rows = batch | {"is_valid": jnp.ones(8, bool)}
    metrics = jax.jit(task.evaluate)(uniform, rows, key)
    found = [metrics[f"code_nll/level_{level}"] for level in range(3)]
    np.testing.assert_allclose(found, np.log(8), atol=0.04)


def test_the_level_nll_shows_shallower_levels_and_hides_the_rest(evaluate, state, batch, key):
    rows = batch | {"is_valid": jnp.ones(8, bool)}
    base = evaluate(state, rows, key)
    deepest = evaluate(state, rows | {"codes": batch["codes"].at[..., 2].set(0)}, key)
    for level in range(2):
        name = f"code_head_nll/level_{level}"
        np.testing.assert_allclose(deepest[name], base[name], rtol=1e-5)
    first = evaluate(state, rows | {"codes": (batch["codes"].at[..., 0].add(1)) % 8}, key)
    assert abs(first["code_head_nll/level_1"] - base["code_head_nll/level_1"]) > 1e-4


def test_dead_components_are_counted_and_named():
    share = jnp.array([0.5, 0.4 - 0.0265, 0.1, 0.024, 0.0025])  # an even share is 0.2
    assert head_losses.dead_components(share) == pytest.approx(1 / 5)
    assert head_losses.dead_components(jnp.full(7, 1 / 7)) == 0
    assert resgen_loss.remarks({"dead_components": 0.2}, 5) == {}
    assert resgen_loss.remarks({"loss": 1.0}, 5) == {}
    message = resgen_loss.remarks({"dead_components": 0.5}, 1024)["dead_components"]
    assert message.startswith("512 of 1,024 components of the mixture are dead")


def test_the_prior_that_is_watched_is_that_of_the_batch(state, batch, by_hand):
    _, metrics = jax.jit(lambda: loss_of(kept_labels(), state.params, state, batch))()
    prior = numpy_networks.softmax(by_hand[1].component_logits.astype(np.float64))
    share = prior.mean(axis=(0, 1))
    perplexity = np.exp(-np.sum(share * np.log(share)))
    np.testing.assert_allclose(metrics["component_perplexity"], perplexity, rtol=1e-4)
    np.testing.assert_allclose(metrics["dead_components"], np.mean(share < 0.1 / len(share)))


def test_microbatches_are_one_batch(state, batch, key):
    """Masks of different sizes, labels dropped, dropout and rows that do not count."""
    model = dataclasses.replace(
        tiny_tasks.MODEL, trunk=dataclasses.replace(tiny_tasks.TRUNK, dropout_rate=0.3)
    )
    batch = batch | {"is_valid": jnp.arange(8) != 5}

    def stepped(num_microbatches):
        spec = dataclasses.replace(
            tiny_tasks.OPTIMIZER, b1=0.0, num_microbatches=num_microbatches, clip_norm=0.0
        )
        task = tiny_tasks.generator(optimizer_spec=spec, model=model)
        begun = state.replace(opt_state=task.optimizer.init(state.params))
        after, metrics = jax.jit(task.step)(begun, batch, key)
        return after.opt_state, metrics  # with b1 = 0, Adam's first moment is the gradient

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        stepped(4),
        stepped(1),
    )


def test_operations_count_the_code_head_where_it_is_trained(task):
    without = kept_labels(code_loss_weight=0.0)
    head = 2 * tiny_tasks.SPACE.max_length * tiny_tasks.TRUNK.width * 3 * 8
    assert task.flops_per_example() - without.flops_per_example() == 3 * head


def test_settings_that_contradict_each_other_are_refused():
    model = dataclasses.replace(tiny_tasks.MODEL, has_code_head=False)
    with pytest.raises(errors.UserError, match="has_code_head is False"):
        tiny_tasks.generator(model=model)
    with pytest.raises(errors.UserError, match=r"codebooks are \(3, 8, 5\); expected \(3, 8, 4\)"):
        resgen_task.ResGenTask(
            tiny_tasks.MODEL,
            resgen_task.LossSpec(),
            tiny_tasks.OPTIMIZER,
            tiny_tasks.NUM_STEPS,
            tiny_tasks.SPACE,
            np.zeros((3, 8, 5), np.float32),
        )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"objective": "exakt"}, "loss.objective is 'exakt'; did you mean 'exact'"),
        ({"condition_drop_rate": 1.5}, "loss.condition_drop_rate is 1.5; expected 0 to 1"),
        ({"num_nll_draws": 1}, "loss.num_nll_draws is 1; expected 2 or more"),
        ({"code_loss_weight": -1.0}, "loss.code_loss_weight is -1.0; expected"),
        ({"max_mask_rate": 0.0}, "loss.max_mask_rate is 0.0; expected"),
        ({"mask_schedule": "cosin"}, "did you mean 'cosine'"),
        ({"masks": "fine_frst"}, "loss.masks is 'fine_frst'; did you mean 'fine_first'"),
    ],
)
def test_losses_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(errors.UserError, match=message):
        resgen_task.LossSpec(**fields)
