"""Laws of AR-ResGen's network and of sampling from it, against whole forward passes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_ar_resgen as tiny

from resgen_jax.core import errors, keys
from resgen_jax.generators import ar_resgen, ar_resgen_sampler, heads, proposals
from resgen_jax.generators import confidence as confidences
from resgen_jax.generators import interface as generators
from resgen_jax.quantizers import rvq
from resgen_jax.samplers import guidance

LABELS = jnp.array([0, 2, 1, 2], jnp.int32)
GREEDY = ar_resgen_sampler.Spec(temperature=0.0, noise_scale=0.0)
HEADS = ("levels", "codes", "mixture", "flow")


@pytest.fixture(scope="module")
def row_keys():
    return keys.example_keys(jax.random.key(7), jnp.arange(4))


@pytest.fixture(scope="module")
def made():
    """Of each head: network, parameters, and its sampler; made when asked for."""
    found = {}

    def make(head):
        if head not in found:
            network = ar_resgen.make(tiny.spec(head), tiny.SPACE)
            sampler = ar_resgen_sampler.ArResGenSampler(network, tiny.spec(head), tiny.SPACE)
            found[head] = network, tiny.random_params(network), sampler
        return found[head]

    return make


def draw(made, row_keys, head, spec, known=None, labels=LABELS):
    _, params, sampler = made(head)
    plan = ar_resgen_sampler.plan(spec)
    return sampler.sample(params, jnp.asarray(tiny.codebooks()), row_keys, labels, plan, known)


def knobs(spec):
    """What a draw of a head reads."""
    return jax.tree.map(jnp.asarray, ar_resgen_sampler.plan(spec).knobs)


def whole(made, head, codes, scale):
    """Outputs of one forward pass over whole examples, guided."""
    network, params, _ = made(head)
    quantized = rvq.decode(codes, jnp.asarray(tiny.codebooks()))
    sides = [
        network.apply(params, quantized, labels, method="hidden")
        for labels in (LABELS, jnp.full_like(LABELS, tiny.SPACE.num_classes))
    ]
    branches = proposals.Branches(*sides, jnp.float32(scale))
    states = guidance.guide(*sides, scale)
    return proposals.Outputs(network, params, states, jnp.asarray(tiny.codebooks()), branches)


@pytest.mark.parametrize("head", HEADS)
def test_cached_greedy_sampling_is_what_the_whole_forward_pass_says(made, row_keys, head):
    """Every position's stack again, from states of one pass over the samples, guided."""
    spec = dataclasses.replace(GREEDY, guidance_scale=1.7)
    samples = draw(made, row_keys, head, spec)
    assert len(np.unique(samples)) > 1

    @jax.jit
    def again(samples):
        outputs = whole(made, head, samples, 1.7)
        told = samples, jnp.ones(samples.shape, bool), knobs(spec)
        quantize = confidences.codes_alone(1)
        return proposals.KINDS[head](row_keys, outputs, *told, quantize).codes

    np.testing.assert_array_equal(samples, again(samples))


def test_place_by_place_the_states_are_those_of_the_whole(made):
    network, params, _ = made("codes")
    codes, codebooks = tiny.codes(), jnp.asarray(tiny.codebooks())
    quantized = rvq.decode(codes, codebooks)
    expected = network.apply(params, quantized, LABELS, method="hidden")

    @jax.jit
    def run(params):
        def place(carry, inputs):
            cache, before = carry
            number, now = inputs
            state, cache = network.apply(params, before, LABELS, cache, number, method="step")
            return (cache, now), state

        cache = ar_resgen.causal.empty_cache(tiny.spec("codes").stack, 4, 4)
        start = cache, jnp.zeros_like(quantized[:, 0])
        inputs = jnp.arange(4), jnp.swapaxes(quantized, 0, 1)
        return jnp.swapaxes(jax.lax.scan(place, start, inputs)[1], 0, 1)

    np.testing.assert_allclose(run(params), expected, atol=2e-5)


def test_a_state_knows_the_class_and_the_positions_before_it_alone(made):
    network, params, _ = made("codes")
    quantized = jnp.asarray(np.random.default_rng(2).normal(size=(4, 4, 4)), jnp.float32)
    hidden = jax.jit(
        lambda quantized, labels: network.apply(params, quantized, labels, method="hidden")
    )
    states = hidden(quantized, LABELS)
    moved = hidden(quantized.at[:, 2].add(1.0), LABELS)
    np.testing.assert_array_equal(states[:, :3], moved[:, :3])
    assert np.all(np.any(states[:, 3] != moved[:, 3], axis=-1))
    other = hidden(quantized, (LABELS + 1) % 3)
    assert np.all(np.any(states != other, axis=-1))


@pytest.mark.parametrize("head", ["levels", "mixture"])
def test_known_codes_stay_and_what_comes_later_has_no_say(made, row_keys, head):
    codes = tiny.codes()
    is_masked = jnp.ones(codes.shape, bool).at[:, 1].set(False).at[:, 3, 0].set(False)
    known = generators.Known(codes, is_masked)
    filled = draw(made, row_keys, head, GREEDY, known)
    np.testing.assert_array_equal(filled[~is_masked], codes[~is_masked])
    plain = draw(made, row_keys, head, GREEDY)
    np.testing.assert_array_equal(filled[:, 0], plain[:, 0])
    scrambled = jnp.where(is_masked, (codes + 2) % 5, codes)
    again = draw(made, row_keys, head, GREEDY, generators.Known(scrambled, is_masked))
    np.testing.assert_array_equal(again, filled)


def test_a_vector_is_quantized_less_what_is_known_of_its_stack(made, row_keys):
    """Without noise the mixture's mean: known codes taken from it, the rest is the nearest."""
    codes = tiny.codes()
    is_masked = jnp.ones(codes.shape, bool).at[:, 0, 1].set(False)
    filled = draw(made, row_keys, "mixture", GREEDY, generators.Known(codes, is_masked))
    outputs = whole(made, "mixture", filled, 1.0)
    sample = proposals.from_mixture(
        row_keys,
        outputs,
        codes,
        jnp.ones(codes.shape, bool),
        knobs(GREEDY),
        confidences.codes_alone(1),
    ).sample
    tables = tiny.codebooks()
    for row in range(4):
        left = np.asarray(sample.vector)[row, 0] - tables[1, codes[row, 0, 1]]
        for level in (0, 2):
            nearest = np.argmin(((left - tables[level]) ** 2).sum(axis=-1))
            assert filled[row, 0, level] == nearest
            left = left - tables[level, nearest]


@pytest.mark.parametrize(
    "changes", [{"guidance_scale": 8.0}, {"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.05}]
)
def test_every_knob_is_read(made, row_keys, changes):
    spec = ar_resgen_sampler.Spec()
    plain = draw(made, row_keys, "codes", spec)
    assert np.any(draw(made, row_keys, "codes", dataclasses.replace(spec, **changes)) != plain)


def test_the_noise_of_a_mixture_is_scaled(made, row_keys):
    one = draw(made, row_keys, "mixture", ar_resgen_sampler.Spec())
    many = draw(made, row_keys, "mixture", ar_resgen_sampler.Spec(noise_scale=5.0))
    assert np.any(one != many)


def test_samples_do_not_depend_on_the_batch_they_are_drawn_in(made, row_keys):
    spec = ar_resgen_sampler.Spec()
    samples = draw(made, row_keys, "codes", spec)
    part = draw(made, row_keys[1:3], "codes", spec, labels=LABELS[1:3])
    np.testing.assert_array_equal(part, samples[1:3])


def test_weights_that_are_no_numbers_are_told_by_position_and_row(made, row_keys):
    _, params, sampler = made("codes")
    table = params["classes"]["table"]
    broken = params | {"classes": {"table": table.at[1].set(jnp.nan)}}  # of row 2 alone
    plan = ar_resgen_sampler.plan(ar_resgen_sampler.Spec())
    codes = sampler.sample(broken, jnp.asarray(tiny.codebooks()), row_keys, LABELS, plan)
    np.testing.assert_array_equal(generators.first_lost(codes), [-1, -1, 0, -1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 9}, "model.width 9 is not a multiple of num_heads 2; use 8"),
        ({"dropout_rate": 1.0}, "model.dropout_rate 1.0 is outside"),
        ({"remat": "fulll"}, "did you mean 'full'"),
        ({"head": "mixtur"}, "did you mean 'mixture'"),
        ({"head": "codes", "has_code_head": False}, "model.has_code_head is False"),
    ],
)
def test_choices_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(errors.UserError, match=message):
        dataclasses.replace(tiny.spec("mixture"), **changes)


def test_settings_out_of_bounds_are_refused():
    for changes in ({"top_p": 0.0}, {"temperature": -1.0}, {"top_k": -1}):
        with pytest.raises(errors.UserError, match=f"sampler.{next(iter(changes))}"):
            ar_resgen_sampler.Spec(**changes)


def test_a_network_has_the_heads_of_its_spec(made):
    assert heads.heads_of(made("levels")[0]) == {"levels", "codes"}
    assert heads.heads_of(made("flow")[0]) == {"flow", "codes"}
