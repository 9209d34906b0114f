"""ResGen learns a grid whose codes depend on row and class: it has to see where it stands."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import keys, spaces
from resgen_jax.generators import resgen, resgen_sampler
from resgen_jax.losses import masked
from resgen_jax.nn import transformer
from resgen_jax.training import optimizer, resgen_task

NUM_STEPS, BATCH_SIZE = 250, 32
SPACE = spaces.image_codes((4, 4), depth=1, codebook_size=16, code_dim=4, num_classes=4)
# The code is one of four, which four depends on row and class: who does not see the row is left
# with all sixteen, whoever sees it with four.
BLIND, PERFECT = math.log(16), math.log(4)


def group(labels):
    """Which four codes a position may hold, "b l"."""
    return (labels[:, None] + np.arange(16)[None] // 4) % 4


def toy_batch(step):
    random = np.random.default_rng(step)
    labels = random.integers(0, 4, BATCH_SIZE)
    codes = 4 * group(labels) + random.integers(0, 4, (BATCH_SIZE, 16))
    return {
        "codes": jnp.asarray(codes[..., None], jnp.int32),
        "labels": jnp.asarray(labels, jnp.int32),
        "index": jnp.arange(BATCH_SIZE),
    }


@pytest.fixture(scope="module")
def trained():
    """The task and its parameters after a short training."""
    trunk = transformer.Spec(
        num_layers=2, width=32, num_heads=2, mlp_width=64, modulation_width=16, remat="none"
    )  # fmt: skip
    task = resgen_task.ResGenTask(
        resgen.Spec(trunk=trunk, num_components=16, rank=2, mask_dim=4),
        resgen_task.LossSpec(condition_drop_rate=0.0, average_decay=0.9),
        optimizer.Spec(learning_rate=1e-2, warmup_steps=20, clip_norm=1.0),
        NUM_STEPS,
        SPACE,
        np.random.default_rng(0).normal(size=(1, 16, 4)).astype(np.float32),
    )
    state = jax.jit(task.init)(jax.random.key(0))
    step = jax.jit(task.step)
    for number in range(NUM_STEPS):
        state, _ = step(state, toy_batch(number), keys.step_key(jax.random.key(1), number))
    return task, state


def first_code_nats(task, params, batch):
    """Nats of the codes where nothing is revealed, by the code head."""
    hidden = task.network.apply(
        params,
        jnp.zeros((BATCH_SIZE, SPACE.max_length, SPACE.codes.code_dim)),
        jnp.ones((BATCH_SIZE, SPACE.max_length, 1), bool),
        batch["labels"],
        method="hidden",
    )
    logits = task.network.apply(params, hidden, method="code_logits")
    return float(jnp.mean(masked.code_nll(logits, batch["codes"])))


def test_the_toy_is_learned_to_near_the_least_there_is(trained):
    task, state = trained
    nats = first_code_nats(task, state.average_params, toy_batch(10_000))
    assert PERFECT - 0.05 < nats < PERFECT + 0.15


def test_without_its_positions_the_same_network_is_blind(trained):
    task, state = trained
    trunk = state.average_params["trunk"]
    trunk = trunk | {"positions": jnp.zeros_like(trunk["positions"])}
    nats = first_code_nats(task, state.average_params | {"trunk": trunk}, toy_batch(10_000))
    assert nats > BLIND - 0.1


def test_codes_drawn_at_once_from_the_mixture_stand_in_their_rows(trained):
    task, state = trained
    spec = resgen_sampler.Spec(num_steps=1, confidence="random")
    sampler = resgen_sampler.Sampler(task.network, SPACE, spec.choices)
    labels = np.arange(64) % 4
    codes = sampler.sample(
        state.average_params,
        state.statistics["codebooks"],
        keys.example_keys(jax.random.key(2), jnp.arange(64)),
        jnp.asarray(labels, jnp.int32),
        resgen_sampler.plan(spec, 16),
    )
    is_right = np.asarray(codes)[..., 0] // 4 == group(labels)
    assert np.mean(is_right) > 0.8  # a blind network: 0.25


def test_the_bound_of_both_heads_is_near_the_entropy_that_is_known(trained):
    """Codes are independent given the class, so no order is better than another."""
    task, state = trained
    batch = toy_batch(10_001) | {"is_valid": jnp.ones(BATCH_SIZE, bool)}
    found = jax.jit(task.evaluate)(state, batch, jax.random.key(3))
    for name in ("code_bound", "code_head_bound"):
        assert PERFECT - 0.1 < float(found[name]) < PERFECT + 0.25, name
