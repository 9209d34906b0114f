"""Guided predictions in one call: what is fitted, and what a network makes of its share."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors, keys, spaces
from resgen_jax.generators import resgen, resgen_model, resgen_sampler
from resgen_jax.nn import transformer
from resgen_jax.processes import rvq_masking
from resgen_jax.training import guidance_free, optimizer, resgen_loss, resgen_task

TRUNK = transformer.Spec(
    num_layers=1, width=8, num_heads=2, mlp_width=8, modulation_width=4, remat="none"
)
SPEC = resgen.Spec(
    trunk=TRUNK, num_components=2, rank=1, mask_dim=2, has_code_head=False, is_told_guidance=True
)
SPACE = spaces.image_codes((2, 2), depth=2, codebook_size=5, code_dim=3, num_classes=3)
LABELS = jnp.array([0, 2, 1, 3])


@pytest.fixture(scope="module")
def states():
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 5, 8)), jnp.float32)


@pytest.fixture(scope="module")
def params():
    random = np.random.default_rng(1)
    shapes = jax.eval_shape(resgen.make(SPEC, SPACE).init, jax.random.key(0))
    return jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(0, 0.5, leaf.shape), jnp.float32), shapes
    )


def test_what_is_fitted_is_conditional_where_the_network_gives_guided_states(states):
    conditional, unconditional = states
    share = jnp.array([1.0, 0.5, 0.25, 0.1])
    scale = 1 / share[:, None, None]
    guided = unconditional + scale * (conditional - unconditional)
    fitted = guidance_free.mix(guided, unconditional, share)
    np.testing.assert_allclose(fitted, conditional, atol=1e-5)


def test_the_unconditional_part_gets_no_gradient_and_the_own_its_share(states):
    share = jnp.array([1.0, 0.5, 0.25, 0.1])
    own, other = jax.grad(
        lambda own, other: guidance_free.mix(own, other, share).sum(), argnums=(0, 1)
    )(*states)
    np.testing.assert_array_equal(other, 0)
    np.testing.assert_allclose(own, np.broadcast_to(share[:, None, None], own.shape))


def test_shares_are_even_and_1_without_a_class():
    row_keys = keys.example_keys(jax.random.key(0), jnp.arange(4000))
    labels = jnp.arange(4000) % 4
    found = np.asarray(guidance_free.shares(row_keys, labels, 3))
    np.testing.assert_array_equal(found[labels == 3], 1)
    drawn = np.sort(found[np.asarray(labels) != 3])
    assert drawn[0] > 0
    np.testing.assert_allclose(drawn, (np.arange(3000) + 0.5) / 3000, atol=0.04)


def test_before_training_the_share_changes_nothing_and_then_it_does(params):
    network = resgen.make(SPEC, SPACE)
    told = jnp.ones((4, 4, 3)), jnp.ones((4, 4, 2), bool), LABELS, None, None
    shares = jnp.full(4, 0.2), None

    def states(params):
        return [network.apply(params, *told, share, method="hidden") for share in shares]

    fresh = params | {"share": network.init(jax.random.key(0))["share"]}
    np.testing.assert_array_equal(*states(fresh))
    one, other = states(params)
    assert np.abs(one - other).max() > 1e-3


def test_a_step_is_scored_on_the_mixed_states_and_teaches_the_share(params):
    """The states that are scored are mixed here from two calls of the network."""
    loss = resgen_loss.LossSpec(code_loss_weight=0.0, condition_drop_rate=0.3, num_nll_draws=2)
    codebooks = np.random.default_rng(2).normal(size=(2, 5, 3)).astype(np.float32)
    task = resgen_task.ResGenTask(SPEC, loss, optimizer.Spec(), 10, SPACE, codebooks)
    batch = {"codes": jnp.ones((4, 4, 2), jnp.int32), "labels": LABELS % 3, "index": jnp.arange(4)}
    key, codebooks = jax.random.key(3), jnp.asarray(codebooks)

    def scored(params):
        return task._losses(params, codebooks, batch, key)

    drawn = resgen_loss.draw(batch, key, loss, SPACE)
    share, is_masked = drawn["share"], drawn["is_masked"]
    revealed = rvq_masking.revealed_embedding(batch["codes"], is_masked, codebooks)

    def states(labels, *more):
        told = revealed, is_masked, labels, drawn["dropout"], None
        return task.network.apply(params, *told, *more, method="hidden")

    own, other = states(drawn["labels"], share), states(jnp.full(4, SPACE.num_classes))
    weight = share[:, None, None]
    found = scored(params)[0].states
    np.testing.assert_allclose(found, weight * own + (1 - weight) * other, atol=1e-5)
    assert np.abs(found - own).max() > 1e-2
    gradient = jax.grad(lambda params: scored(params)[1]["loss"])(params)
    assert np.abs(gradient["share"]["out"]["kernel"]).max() > 0


def test_its_second_call_is_counted():
    loss = resgen_loss.LossSpec(code_loss_weight=0.0)
    codebooks = np.zeros((2, 5, 3), np.float32)
    flops = [
        resgen_task.ResGenTask(
            dataclasses.replace(SPEC, is_told_guidance=is_told),
            loss,
            optimizer.Spec(),
            10,
            SPACE,
            codebooks,
        ).flops_per_example()
        for is_told in (True, False)
    ]
    assert flops[0] > 1.2 * flops[1]


def test_sampling_calls_the_network_once_a_step_on_each_row_alone(params):
    rows = []
    network = resgen.make(SPEC, SPACE)

    def apply(params, *arguments, method, **keywords):
        if method == "hidden":
            rows.append(len(arguments[0]))
        return network.apply(params, *arguments, method=method, **keywords)

    spec = resgen_sampler.Spec(num_steps=3, guidance_scale=2.0)
    sampler = resgen_sampler.Sampler(network._replace(apply=apply), SPACE, spec.choices)
    codebooks = jnp.asarray(np.random.default_rng(2).normal(size=(2, 5, 3)), jnp.float32)
    row_keys = keys.example_keys(jax.random.key(7), jnp.arange(4))

    def sample(scale):
        plan = resgen_sampler.plan(dataclasses.replace(spec, guidance_scale=scale), 8)
        return np.asarray(sampler.sample(params, codebooks, row_keys, LABELS % 3, plan))

    assert np.any(sample(1.0) != sample(8.0))
    assert set(rows) == {4}


def test_what_cannot_be_trained_or_sampled_so_is_refused():
    for head in ("levels", "flow"):
        with pytest.raises(errors.UserError, match="not affine in the states"):
            guidance_free.check(dataclasses.replace(SPEC, head=head), 0.1)
    with pytest.raises(errors.UserError, match="condition_drop_rate is 0"):
        guidance_free.check(SPEC, 0.0)
    guidance_free.check(dataclasses.replace(SPEC, is_told_guidance=False), 0.0)
    model = resgen_model.make(SPEC, SPACE, masks="coarse_first", has_code_head=False)
    with pytest.raises(errors.UserError, match="scales from 1 up"):
        model.sampler(resgen_sampler.Spec(guidance_scale=0.5))
    with pytest.raises(errors.UserError, match="--guide is for models that are guided from out"):
        model.guided_by(model)


def test_a_model_without_a_null_class_is_not_asked_for_it():
    spec = dataclasses.replace(SPEC, is_told_guidance=False)
    how = {"masks": "coarse_first", "has_code_head": False}
    model = resgen_model.make(spec, SPACE, has_null_class=False, **how)
    for changes in ({"guidance_scale": 2.0}, {"calibration": "prior"}):
        with pytest.raises(errors.UserError, match="knows no null class"):
            model.sampler(resgen_sampler.Spec(**changes))
    guide = resgen_model.make(spec, SPACE, **how)
    model.guided_by(guide).sampler(resgen_sampler.Spec(guidance_scale=2.0))
    model.sampler(resgen_sampler.Spec())
