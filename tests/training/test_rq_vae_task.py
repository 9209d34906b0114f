"""Laws of training the RQ-VAE: when it quantizes, what its codebooks learn, what it measures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_tasks

from resgen_jax.core import errors, keys
from resgen_jax.data import images as image_data
from resgen_jax.quantizers import gradients
from resgen_jax.training import rq_vae_loss, rq_vae_task
from resgen_jax.training.state import Task

# Loss of the first steps from seed 0, before, at and after the start of the codebooks. A change of
# the model, its losses or its random numbers moves them: where that is meant, run this test and
# copy what it found.
GOLDEN = {
    "loss": [0.79496, 0.51531, 0.40058, 0.3388],
    "commitment_loss": [0.06337, 0.07095, 0.02273, 0.03779],
    "grad_norm": [2.57063, 0.80498, 0.54297, 0.42567],
}
START = 2


@pytest.fixture(scope="module")
def task():
    return tiny_tasks.tokenizer(rq_vae_loss.LossSpec(start_step=START))


@pytest.fixture(scope="module")
def batch():
    return jax.tree.map(jnp.asarray, tiny_tasks.images(16))


@pytest.fixture(scope="module")
def step(task):
    return jax.jit(task.step)


@pytest.fixture(scope="module")
def run(task, step, batch):
    """The states before and after each of four steps, and the metrics of each."""
    states, history = [jax.jit(task.init)(jax.random.key(0))], []
    for number in range(4):
        state, metrics = step(states[-1], batch, keys.step_key(jax.random.key(1), number))
        states.append(state)
        history.append(jax.device_get(metrics))
    return states, history


@pytest.fixture(scope="module")
def encode(task):
    return jax.jit(
        lambda params, images: task.network.apply(
            params, image_data.to_unit(images), method="encode"
        )
    )


@pytest.fixture(scope="module")
def decode(task):
    return jax.jit(lambda params, quantized: task.network.apply(params, quantized, method="decode"))


def codebooks_of(task, state):
    return np.asarray(task.learner.codebooks(state.statistics["learner"]))


def averaged_codebooks_of(task, state):
    return np.asarray(task.tokenizer.codebooks(state.statistics))


def loss_of(task, params, state, batch, key):
    """The loss of a step with this key, and its metrics."""
    drawn = task.gradients.draw(batch, key)
    loss, (metrics, _) = task.gradients.loss(params, state, drawn, len(batch["images"]))
    return loss, metrics


def quantize(latents, codebooks):
    """Codes and the sum of their vectors, one level after the other in float64."""
    residual, codes = np.asarray(latents, np.float64), []
    for table in np.asarray(codebooks, np.float64):
        found = ((residual[..., None, :] - table) ** 2).sum(axis=-1).argmin(axis=-1)
        residual, codes = residual - table[found], [*codes, found]
    return np.stack(codes, axis=-1), np.asarray(latents, np.float64) - residual


def test_the_first_steps_give_the_golden_numbers(run):
    found = {name: [round(float(metrics[name]), 5) for metrics in run[1]] for name in GOLDEN}
    for name, values in GOLDEN.items():
        np.testing.assert_allclose(
            found[name], values, rtol=1e-3, err_msg=f"{name}; if this is meant: GOLDEN = {found}"
        )


def test_it_is_a_task(task, run):
    assert isinstance(task, Task)
    assert int(run[0][-1].step) == 4
    model = task.tokenizer
    assert (model.grid, model.depth, model.codebook_size, model.code_dim) == ((2, 2), 2, 8, 4)


def test_before_the_start_nothing_is_quantized(task, run, batch, encode, decode):
    states, history = run
    params = states[0].params
    latents = encode(params, batch["images"])
    images = np.asarray(image_data.to_unit(batch["images"]))
    plain = np.mean((decode(params, latents) - images) ** 2)
    np.testing.assert_allclose(history[0]["reconstruction_loss"], plain, rtol=1e-5)
    # The commitment is measured, but takes no part yet.
    assert history[0]["commitment_loss"] > 0
    assert history[0]["loss"] == history[0]["reconstruction_loss"]
    jax.tree.map(np.testing.assert_array_equal, states[1].statistics, states[0].statistics)


def test_k_means_starts_the_codebooks_one_step_before(task, run, batch, encode):
    states, _ = run
    before, after = codebooks_of(task, states[START - 1]), codebooks_of(task, states[START])
    assert np.all(np.any(before != after, axis=-1))
    latents = encode(states[START - 1].params, batch["images"])

    def error(codebooks):
        return np.mean((quantize(latents, codebooks)[1] - np.asarray(latents)) ** 2)

    assert error(after) < 0.5 * error(before)
    # Every vector of the first level is the mean of its members, as Lloyd leaves it.
    codes = quantize(latents, after)[0][..., 0]
    counts = np.bincount(codes.reshape(-1), minlength=8)
    np.testing.assert_allclose(
        states[START].statistics["learner"].counts[0], np.maximum(counts, 1), rtol=1e-5
    )


@pytest.mark.parametrize("start_step", [0, 1])
def test_the_first_step_is_the_earliest_to_start_the_codebooks(start_step, batch, encode):
    task = tiny_tasks.tokenizer(rq_vae_loss.LossSpec(start_step=start_step))
    before = jax.jit(task.init)(jax.random.key(0))
    after, metrics = jax.jit(task.step)(before, batch, jax.random.key(1))
    assert metrics["loss"] == metrics["reconstruction_loss"]  # nothing was quantized yet
    codes = quantize(encode(before.params, batch["images"]), codebooks_of(task, after))[0][..., 0]
    counts = np.bincount(codes.reshape(-1), minlength=8)
    np.testing.assert_allclose(
        after.statistics["learner"].counts[0], np.maximum(counts, 1), rtol=1e-5
    )


def test_from_the_start_on_the_decoder_sees_quantized_latents(task, run, batch, encode, decode):
    states, history = run
    state = states[START]
    latents = encode(state.params, batch["images"])
    _, quantized = quantize(latents, codebooks_of(task, state))
    images = np.asarray(image_data.to_unit(batch["images"]))
    decoded = decode(state.params, jnp.asarray(quantized, jnp.float32))
    reconstruction = np.mean((np.asarray(decoded) - images) ** 2)
    commitment = np.mean((np.asarray(latents) - quantized) ** 2)
    metrics = history[START]
    np.testing.assert_allclose(metrics["reconstruction_loss"], reconstruction, rtol=1e-4)
    np.testing.assert_allclose(metrics["commitment_loss"], commitment, rtol=1e-3)
    np.testing.assert_allclose(metrics["loss"], reconstruction + 0.25 * commitment, rtol=1e-4)


def test_afterwards_statistics_are_a_moving_average(task, run, batch, encode):
    states, _ = run
    state, decay = states[START], task.quantizer.decay
    latents = np.asarray(encode(state.params, batch["images"]), np.float64).reshape(-1, 4)
    codebooks = codebooks_of(task, state)
    codes, _ = quantize(latents, codebooks)
    old, new = (s.statistics["learner"] for s in (state, states[START + 1]))
    residual = latents
    for level in range(2):
        chosen = np.eye(8)[codes[:, level]]
        counts = decay * np.asarray(old.counts[level]) + (1 - decay) * chosen.sum(axis=0)
        sums = decay * np.asarray(old.sums[level]) + (1 - decay) * chosen.T @ residual
        # Codes below the threshold were restarted; the others follow the average.
        is_alive = counts >= task.quantizer.restart_threshold * counts.mean()
        assert is_alive.sum() >= 4
        np.testing.assert_allclose(new.counts[level][is_alive], counts[is_alive], rtol=1e-4)
        np.testing.assert_allclose(new.sums[level][is_alive], sums[is_alive], atol=1e-4)
        residual = residual - codebooks[level][codes[:, level]]


def test_the_quantizer_is_the_average_of_the_learner_from_its_start_on(task, run):
    states, _ = run
    learners, averages = (
        [state.statistics[name] for state in states] for name in ("learner", "quantizer")
    )
    for step in range(START + 1):
        jax.tree.map(np.testing.assert_array_equal, averages[step], learners[step])
    for step in (START, START + 1):
        share = 1 - (1 + step) / (10 + step)  # as far behind as the networks are
        jax.tree.map(
            lambda after, old, new, share=share: np.testing.assert_allclose(
                after, old + share * (new - old), rtol=1e-5, atol=1e-6
            ),
            averages[step + 1],
            averages[step],
            learners[step + 1],
        )
    assert np.any(averaged_codebooks_of(task, states[-1]) != codebooks_of(task, states[-1]))


def test_usage_and_perplexity_are_those_of_the_counts(task, run, batch, encode):
    states, history = run
    state = states[START]
    codes, _ = quantize(encode(state.params, batch["images"]), codebooks_of(task, state))
    for level in range(2):
        share = np.bincount(codes[..., level].reshape(-1), minlength=8) / codes[..., level].size
        entropy = -np.sum(share[share > 0] * np.log(share[share > 0]))
        metrics = history[START]
        np.testing.assert_allclose(metrics[f"usage/level_{level}"], np.mean(share > 0), rtol=1e-6)
        np.testing.assert_allclose(metrics[f"perplexity/level_{level}"], np.exp(entropy), rtol=1e-4)


@pytest.mark.parametrize("commitment", ["total", "prefix"])
def test_the_commitment_pulls_the_latents_to_their_codes(run, batch, task, commitment):
    state = run[0][START]
    tasks = [
        tiny_tasks.tokenizer(
            rq_vae_loss.LossSpec(start_step=START, commitment=commitment, commitment_weight=weight)
        )
        for weight in (0.0, 2.0)
    ]

    def gradients_of(task):
        def loss(params):
            return loss_of(task, params, state, batch, jax.random.key(0))[0]

        return jax.jit(jax.grad(loss))(state.params)

    codebooks = codebooks_of(task, state)

    def by_hand(params):
        """Both squared distances with codes held fixed; the mean over levels is `prefix`."""
        images = image_data.to_unit(batch["images"])
        latents = task.network.apply(params, images, method="encode")
        sums = jnp.cumsum(vectors, axis=0)
        losses = [jnp.mean((latents - total) ** 2) for total in sums]
        return 2.0 * (losses[-1] if commitment == "total" else sum(losses) / len(losses))

    images = image_data.to_unit(batch["images"])
    latents = task.network.apply(state.params, images, method="encode")
    codes, _ = quantize(latents, codebooks)
    vectors = jnp.asarray(
        np.stack([codebooks[level][codes[..., level]] for level in range(2)]), jnp.float32
    )
    expected = jax.jit(jax.grad(by_hand))(state.params)
    without, with_commitment = (gradients_of(task) for task in tasks)
    difference = jax.tree.map(lambda a, b: a - b, with_commitment, without)
    jax.tree.map(
        lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-2, atol=1e-4),
        difference,
        expected,
    )
    assert np.max(np.abs(expected["encoder"]["conv_out"]["kernel"])) > 1e-3


def test_the_gradient_passes_the_quantizer_to_the_encoder(run, step, batch):
    states, _ = run
    moved = jax.tree.map(
        lambda a, b: np.any(a != b), states[START + 1].params, states[START].params
    )
    for path, has_moved in jax.tree_util.tree_leaves_with_path(moved):
        assert has_moved, path


@pytest.mark.parametrize("name", gradients.GRADIENTS)
def test_the_encoder_is_moved_through_the_estimator(task, run, batch, name):
    state = run[0][START]
    loss = rq_vae_loss.LossSpec(
        start_step=START, gradient=name, reconstruction="l1", commitment_weight=0.0
    )
    moved = tiny_tasks.tokenizer(loss)
    images = image_data.to_unit(batch["images"])

    def by_hand(params):
        latents = task.network.apply(params, images, method="encode")
        quantized = task.learner.quantize(state.statistics["learner"], latents).quantized
        seen = gradients.GRADIENTS[name](latents, quantized)
        return jnp.mean(jnp.abs(task.network.apply(params, seen, method="decode") - images))

    def found(params):
        return loss_of(moved, params, state, batch, jax.random.key(0))[0]

    values = (jax.jit(jax.value_and_grad(function))(state.params) for function in (found, by_hand))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), *values)


def test_depth_dropout_decodes_fewer_levels(run, batch):
    state = run[0][START]
    loss = rq_vae_loss.LossSpec(start_step=START, depth_drop_rate=1.0)
    task = tiny_tasks.tokenizer(loss)
    value = jax.jit(lambda key: loss_of(task, state.params, state, batch, key)[1])
    first, second = value(jax.random.key(0)), value(jax.random.key(1))
    assert first["reconstruction_loss"] != second["reconstruction_loss"]
    np.testing.assert_allclose(first["commitment_loss"], second["commitment_loss"], rtol=1e-6)


@pytest.fixture(scope="module")
def evaluate(task):
    return jax.jit(task.evaluate)


def test_held_out_psnr_is_that_of_clipped_reconstructions(
    task, run, evaluate, batch, encode, decode, key
):
    state = run[0][-1].replace(params=jax.tree.map(jnp.zeros_like, run[0][-1].params))
    is_valid = np.arange(16) < 11
    metrics = evaluate(state, batch | {"is_valid": jnp.asarray(is_valid)}, key)
    images = np.asarray(image_data.to_unit(batch["images"]), np.float64)
    latents = encode(state.average_params, batch["images"])
    codebooks = averaged_codebooks_of(task, state)
    for depth in (1, 2):
        _, quantized = quantize(latents, codebooks[:depth])
        decoded = np.asarray(decode(state.average_params, jnp.asarray(quantized, jnp.float32)))
        error = ((np.clip(decoded, -1, 1) - images) ** 2).mean(axis=(1, 2, 3))
        psnr = 10 * np.log10(4 / error)
        np.testing.assert_allclose(metrics[f"psnr/depth_{depth}"], psnr[is_valid].mean(), rtol=1e-4)
    loss = ((decoded - images) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(metrics["loss"], loss[is_valid].mean(), rtol=1e-4)
    assert metrics["num_examples"] == 11


def test_many_pixels_are_decoded_one_depth_at_a_time(task, run, evaluate, batch, key, monkeypatch):
    batch = batch | {"is_valid": jnp.ones(16, bool)}
    at_once = evaluate(run[0][-1], batch, key)
    monkeypatch.setattr(rq_vae_task, "MAX_DECODED_PIXELS", 16 * 64)
    decode = jax.make_jaxpr(task._decode_every_depth)
    assert "scan" in str(decode(run[0][-1].average_params, jnp.zeros((16, 4, 2, 4))))
    # Not `jax.jit(task.evaluate)`, whose program is there already.
    one_by_one = jax.jit(lambda *arguments: task.evaluate(*arguments))(run[0][-1], batch, key)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), one_by_one, at_once)


def test_held_out_metrics_ignore_padding(run, evaluate, batch, key):
    is_valid = jnp.arange(16) < 11
    first = evaluate(run[0][-1], batch | {"is_valid": is_valid}, key)
    noise = jnp.where(is_valid[:, None, None, None], batch["images"], jnp.uint8(255))
    second = evaluate(run[0][-1], {"images": noise, "is_valid": is_valid}, key)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), first, second)


def test_encoding_and_decoding_are_those_of_evaluation(task, run, batch, encode, decode):
    state = run[0][-1]
    model = task.tokenizer
    images = image_data.to_unit(batch["images"])
    codes = jax.jit(model.encode)(state.params, state.statistics, images)
    latents = encode(state.params, batch["images"])
    expected, quantized = quantize(latents, averaged_codebooks_of(task, state))
    np.testing.assert_array_equal(codes, expected)
    decoded = jax.jit(model.decode)(state.params, state.statistics, codes)
    np.testing.assert_allclose(
        decoded, decode(state.params, jnp.asarray(quantized, jnp.float32)), rtol=1e-3, atol=1e-4
    )


def test_bytes_come_back_from_floats():
    pixels = jnp.arange(256, dtype=jnp.uint8).reshape(1, 16, 16, 1)
    values = image_data.to_unit(pixels)
    assert (float(values.min()), float(values.max())) == (-1, 1)
    np.testing.assert_array_equal(image_data.to_bytes(values), pixels)
    beyond = jnp.array([-7.0, 1.3]).reshape(1, 1, 2, 1)
    np.testing.assert_array_equal(image_data.to_bytes(beyond).reshape(-1), [0, 255])


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(errors.UserError, match=r"quantizer.code_dim is 5 but model.code_dim is 4"):
        tiny_tasks.tokenizer(code_dim=5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reconstruction": "l3"}, "loss.reconstruction is 'l3'; did you mean"),
        ({"commitment": "totl"}, "loss.commitment is 'totl'; did you mean 'total'"),
        ({"depth_drop_rate": 2.0}, "loss.depth_drop_rate is 2.0; expected 0 to 1"),
        ({"commitment_weight": -1.0}, "loss.commitment_weight is -1.0; expected 0 or more"),
        ({"start_step": -1}, "loss.start_step is -1; expected 0 or more"),
    ],
)
def test_losses_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(errors.UserError, match=message):
        rq_vae_loss.LossSpec(**fields)
