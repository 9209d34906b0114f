"""Laws of the adversarial step: who is moved by what, when, and how strongly."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_tasks

from resgen_jax.core import build, errors, keys, trees
from resgen_jax.data import images as image_data
from resgen_jax.features import lpips
from resgen_jax.losses import adversarial
from resgen_jax.training import adversary, optimizer, placement, rq_vae_loss
from resgen_jax.training.checkpoints import checkpoint

START = 2
SPEC = adversary.Spec(
    width=4,
    num_layers=1,
    start_step=START,
    lecam_weight=0.1,
    r1_weight=1.0,
    r1_every=2,
    optimizer=optimizer.Spec(learning_rate=3e-3),
)
LOSS = rq_vae_loss.LossSpec(start_step=0)


@pytest.fixture(scope="module")
def task():
    return tiny_tasks.tokenizer(LOSS, adversarial=SPEC)


@pytest.fixture(scope="module")
def batch():
    return jax.tree.map(jnp.asarray, tiny_tasks.images(16))


@pytest.fixture(scope="module")
def run(task, batch):
    """The states before and after each of four steps, and the metrics of each."""
    step = jax.jit(task.step)
    states, history = [jax.jit(task.init)(jax.random.key(0))], []
    for number in range(4):
        state, metrics = step(states[-1], batch, keys.step_key(jax.random.key(1), number))
        states.append(state)
        history.append(jax.device_get(metrics))
    return states, history


def autoencoder(params):
    return {name: part for name, part in params.items() if name != rq_vae_loss.DISCRIMINATOR}


def equal(first, second):
    return jax.tree.all(jax.tree.map(lambda a, b: bool(np.all(a == b)), first, second))


def test_before_its_start_it_changes_nothing(run, batch):
    states, history = run
    plain = tiny_tasks.tokenizer(LOSS)
    step = jax.jit(plain.step)
    state = jax.jit(plain.init)(jax.random.key(0))
    for number in range(START):
        state, metrics = step(state, batch, keys.step_key(jax.random.key(1), number))
        np.testing.assert_allclose(metrics["loss"], history[number]["loss"], rtol=1e-5)
        assert history[number]["adversarial_weight"] == 0
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        state.params,
        autoencoder(states[START].params),
    )
    assert equal(states[0].params["discriminator"], states[START].params["discriminator"])
    assert equal(states[0].statistics["scores"], states[START].statistics["scores"])


def test_from_its_start_both_sides_move(run):
    states, history = run
    before, after = states[START], states[START + 1]
    for side in ("encoder", "decoder", "discriminator"):
        for path, leaf in jax.tree_util.tree_leaves_with_path(
            jax.tree.map(lambda a, b: np.any(a != b), before.params[side], after.params[side])
        ):
            assert leaf, path
    assert history[START]["adversarial_weight"] > 0


def test_each_side_has_its_own_pace(run, batch):
    """Adam's first step is the learning rate in each direction: those of the two sides differ."""
    states, _ = run
    moved = jax.tree.map(
        lambda a, b: np.abs(a - b).max(), states[START].params, states[START + 1].params
    )
    largest = max(jax.tree.leaves(moved["discriminator"]))
    # Two idle steps came before: Adam's averages are corrected for three, of which one counts.
    correction = (1 - 0.9) / (1 - 0.9**3) / np.sqrt((1 - 0.999) / (1 - 0.999**3))
    rate = optimizer.schedule(SPEC.optimizer, tiny_tasks.NUM_STEPS)(jnp.int32(START))
    np.testing.assert_allclose(largest, rate * correction, rtol=2e-2)


def test_each_side_is_clipped_by_itself(batch):
    """The norm of both together decides nothing."""
    clipped = dataclasses.replace(SPEC, optimizer=optimizer.Spec(clip_norm=1e-3), start_step=0)
    spec = dataclasses.replace(tiny_tasks.OPTIMIZER, clip_norm=1e3)
    task = tiny_tasks.tokenizer(LOSS, spec, adversarial=clipped)
    _, metrics = jax.jit(task.step)(jax.jit(task.init)(jax.random.key(0)), batch, jax.random.key(1))
    assert metrics["clipped_share/autoencoder"] == 0
    assert metrics["clipped_share/discriminator"] == 1
    sides = [metrics[f"grad_norm/{side}"] for side in ("autoencoder", "discriminator")]
    np.testing.assert_allclose(metrics["grad_norm"], np.linalg.norm(sides), rtol=1e-5)


def test_the_pull_is_the_gradient_of_the_sum(task, run, batch):
    """Gradients taken at the images and sent back once are those of the weighted losses."""
    state = run[0][START]
    images = image_data.to_unit(batch["images"])

    def parts(params):
        latents = task.network.apply(params, images, method="encode")
        quantized = task.learner.quantize(state.statistics["learner"], latents).quantized
        seen = latents + jax.lax.stop_gradient(quantized - latents)
        made = task.network.apply(params, seen, method="decode")
        scores = task.adversary.network.apply(state.params["discriminator"], made)
        commitment = jnp.mean((latents - jax.lax.stop_gradient(quantized)) ** 2)
        fidelity = jnp.mean((made - images) ** 2)
        return fidelity, jnp.mean(-scores), commitment

    def last(gradient):
        return np.linalg.norm(gradient["decoder"]["conv_out"]["kernel"])

    params = autoencoder(state.params)
    fidelity, pushed, commitment = (
        jax.jit(jax.grad(lambda params, i=i: parts(params)[i]))(params) for i in range(3)
    )
    weight = SPEC.weight * last(fidelity) / (last(pushed) + 1e-4)
    drawn = task.gradients.draw(batch, jax.random.key(0))

    def loss(params):
        return task.gradients.loss(params, state, drawn, 16)

    _, (metrics, _) = jax.jit(loss)(params)
    np.testing.assert_allclose(metrics["adversarial_weight"], weight, rtol=1e-3)
    found = jax.jit(jax.grad(lambda params: loss(params)[0]))(params)
    expected = jax.tree.map(
        lambda a, b, c: a + weight * b + LOSS.commitment_weight * c, fidelity, pushed, commitment
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-2, atol=2e-5), found, expected
    )


def test_the_discriminators_gradient_is_that_of_its_losses(task, run, batch):
    state, opponent = run[0][START + 1], task.adversary
    real = image_data.to_unit(batch["images"])
    made = -real[::-1]
    scores = {"real": jnp.float32(0.3), "made": jnp.float32(-0.2)}
    network = opponent.network

    def loss(params, step):
        given, drawn = network.apply(params, real), network.apply(params, made)
        total = jnp.mean(jax.nn.relu(1 - given)) / 2 + jnp.mean(jax.nn.relu(1 + drawn)) / 2
        held = jnp.mean(jax.nn.relu(given + 0.2) ** 2) + jnp.mean(jax.nn.relu(0.3 - drawn) ** 2)
        penalty = jnp.mean(adversarial.r1(lambda images: network.apply(params, images), real))
        is_due = 1.0 if step % SPEC.r1_every == 0 else 0.0
        r1_weight = 0.5 * SPEC.r1_weight * SPEC.r1_every * is_due
        return total + SPEC.lecam_weight * held + r1_weight * penalty

    params = state.params["discriminator"]
    gradients = jax.jit(opponent.gradients)
    for step in (START, START + 1):
        found, metrics, moved = gradients(params, scores, real, made, jnp.int32(step))
        expected = jax.jit(jax.grad(loss), static_argnums=1)(params, step)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-4), found, expected
        )
        np.testing.assert_allclose(
            moved["real"], 0.99 * 0.3 + 0.01 * metrics["score/real"], rtol=1e-5
        )
        assert (metrics["r1_penalty"] > 0) == (step % SPEC.r1_every == 0)


def test_a_fixed_weight_is_the_same_whatever_the_gradients(batch):
    """With the other discriminator and the other loss: what MaskGIT takes."""
    spec = adversary.Spec(
        kind="style_gan",
        width=4,
        loss="non_saturating",
        weighting="fixed",
        weight=0.1,
        start_step=START,
    )
    opponent = adversary.Adversary(spec, 8, 1)
    params = opponent.network.init(jax.random.key(3))
    made = image_data.to_unit(batch["images"])

    @jax.jit
    def pull(step):
        norm = jnp.linalg.norm
        return opponent.pull(params, made, lambda push: (norm(made), norm(push)), step)

    @jax.jit
    @jax.value_and_grad
    def by_hand(made):
        return 0.1 * jnp.mean(jax.nn.softplus(-opponent.network.apply(params, made)))

    value, gradient = by_hand(made)
    assert np.abs(gradient).max() > 0
    for step, share in ((START - 1, 0.0), (START, 1.0)):
        found, metrics, found_gradient = pull(jnp.int32(step))
        np.testing.assert_allclose(metrics["adversarial_weight"], share * 0.1, rtol=1e-6)
        np.testing.assert_allclose(found, share * value, rtol=1e-5)
        np.testing.assert_allclose(found_gradient, share * gradient, rtol=1e-3, atol=1e-7)


def test_perceptual_weights_are_frozen_and_travel_with_the_state(batch):
    distance = lpips.make("squeeze")
    weights = distance.init(jax.random.key(7))
    model = dataclasses.replace(tiny_tasks.MODEL_OF_IMAGES, image_size=24, patch_size=8)
    loss = rq_vae_loss.LossSpec(start_step=0, perceptual="squeeze", perceptual_weight=0.5)
    image_loss = rq_vae_loss.ImageLoss(loss, model, weights)
    jax.tree.map(np.testing.assert_array_equal, image_loss.frozen(), weights)
    begun = rq_vae_loss.ImageLoss(loss, model, None)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(begun.frozen()))

    random = np.random.default_rng(0)
    made, images = (jnp.asarray(random.uniform(-1, 1, (2, 24, 24, 1)), jnp.float32) for _ in "ab")

    def total(made):
        return image_loss(made, images, {"perceptual": weights}, 2)[0]

    def by_hand(made):
        colours = [jnp.repeat(part, 3, axis=-1) for part in (made, images)]
        perceived = jnp.mean(distance.loss(weights, *colours))
        return jnp.mean((made - images) ** 2) + 0.5 * perceived

    found, expected = (jax.jit(jax.value_and_grad(f))(made) for f in (total, by_hand))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), found, expected
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": "hing"}, "adversarial.loss is 'hing'; did you mean 'hinge'"),
        ({"weighting": "adaptiv"}, "weighting is 'adaptiv'; did you mean 'adaptive'"),
        ({"weight": -1.0}, "adversarial.weight is -1.0; expected 0 or more"),
        ({"r1_every": 0}, "adversarial.r1_every is 0"),
        ({"lecam_decay": 1.0}, "lecam_decay 1.0"),
        (
            {"optimizer": optimizer.Spec(num_microbatches=2)},
            "adversarial.optimizer.num_microbatches is 2, .*; set optimizer.num_microbatches",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(errors.UserError, match=message):
        adversary.Spec(**fields)


def test_a_bad_optimizer_is_told_by_its_section():
    with pytest.raises(errors.UserError, match=r"^adversarial\.optimizer: .*decay is 'cosin'"):
        build.build(adversary.Spec, {"optimizer": {"decay": "cosin"}}, "adversarial")
    spec = dataclasses.replace(SPEC, optimizer=optimizer.Spec(warmup_steps=10**6))
    with pytest.raises(errors.UserError, match=r"^adversarial\.optimizer\.warmup_steps 1000000 "):
        tiny_tasks.tokenizer(LOSS, adversarial=spec)


def test_what_is_saved_in_the_middle_goes_on_bit_for_bit(run, task, batch, single, tmp_path):
    """Both networks, the average, the codebook's statistics, both optimizers and LeCam's means."""
    states, _ = run
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, states[3])
        state = checkpoints.restore(placement.abstract_state(single, task))
    moments = [name for name in trees.named_leaves(state.opt_state) if "/mu/" in name]
    assert {rq_vae_loss.DISCRIMINATOR in name for name in moments} == {True, False}
    with jax.set_mesh(single):
        state, _ = jax.jit(task.step)(state, batch, keys.step_key(jax.random.key(1), 3))
    assert equal(jax.device_get(state), jax.device_get(states[4]))
    assert not equal(jax.device_get(state.opt_state), jax.device_get(states[3].opt_state))
