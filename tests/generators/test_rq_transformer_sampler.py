"""Laws of sampling from RQ-Transformer, against whole forward passes and against a table."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_rq_transformer as tiny

from resgen_jax.core import errors, keys, spaces
from resgen_jax.distributions import categorical, filters
from resgen_jax.generators import interface, rq_transformer, rq_transformer_sampler
from resgen_jax.nn import functional
from resgen_jax.quantizers import rvq

MODEL = dataclasses.replace(tiny.SPEC, has_null_class=True)
SPEC = rq_transformer_sampler.Spec(temperature=(1.0, 0.9, 0.8, 0.7), top_p=0.9, top_k=(0, 0, 5, 5))
LABELS = jnp.array([0, 2, 1, 2], jnp.int32)
NUM_CODES = tiny.SPACE.num_tokens


@pytest.fixture(scope="module")
def network():
    return rq_transformer.make(MODEL, tiny.SPACE)


@pytest.fixture(scope="module")
def params(network):
    return tiny.random_params(network)


@pytest.fixture(scope="module")
def traces():
    """One entry for each time that the network is traced for sampling."""
    return []


@pytest.fixture(scope="module")
def sampler(network, traces):
    def apply(*arguments, **keywords):
        traces.append(keywords["method"])
        return network.apply(*arguments, **keywords)

    counted = network._replace(apply=apply)
    return rq_transformer_sampler.RqTransformerSampler(counted, MODEL, tiny.SPACE)


@pytest.fixture(scope="module")
def row_keys():
    return keys.example_keys(jax.random.key(7), jnp.arange(4))


@pytest.fixture(scope="module")
def draw(sampler, params, row_keys):
    """Codes of the four examples under a spec."""

    def run(known=None, rows=slice(None), labels=LABELS, params=params, row_keys=row_keys, **spec):
        chosen = dataclasses.replace(SPEC, **spec)
        plan = rq_transformer_sampler.plan(chosen, tiny.SPACE.codes.depth)
        arguments = params, tiny.codebooks(), row_keys[rows], labels[rows], plan, known
        return np.asarray(sampler.sample(*arguments))

    return run


@pytest.fixture(scope="module")
def samples(draw):
    return draw()


@pytest.fixture(scope="module")
def forward(network):
    return jax.jit(network.apply)


def test_place_by_place_the_logits_are_those_of_the_whole(network, params, forward):
    """With what lies behind the current place in the caches being nonsense."""
    codes, labels, codebooks = tiny.codes(), jnp.array([2, 0]), tiny.codebooks()
    sums = rvq.partial_sums(codes, codebooks)
    caches = rq_transformer.empty_caches(MODEL, tiny.SPACE, 2)
    body_cache, head_cache = jax.tree.map(lambda cache: cache + 9.0, caches)

    @jax.jit
    def run(params):
        def position(cache, inputs):
            place, before, sums = inputs
            context, cache = network.apply(
                params, before, labels, cache, place, method="context_step"
            )

            def level(cache, inputs):
                number, total = inputs
                logits, cache = network.apply(
                    params, context, total, cache, number, method="logits_step"
                )
                return cache, logits

            totals = jnp.concatenate([jnp.zeros_like(sums[:1]), sums[:-1]])
            return cache, jax.lax.scan(level, head_cache, (jnp.arange(4), totals))[1]

        by_place = jnp.moveaxis(sums, 0, 2)  # positions, levels, rows
        before = jnp.concatenate([jnp.full_like(by_place[:1, -1], 9.0), by_place[:-1, -1]])
        return jax.lax.scan(position, body_cache, (jnp.arange(6), before, by_place))[1]

    found = jnp.moveaxis(run(params), 2, 0)
    expected = forward(params, codes, labels, codebooks)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.fixture(scope="module")
def redraw(params, forward, row_keys):
    """Every code drawn again given those before it, from one forward pass over all of them."""
    plan = rq_transformer_sampler.plan(SPEC, tiny.SPACE.codes.depth)
    number = jnp.arange(NUM_CODES).reshape(6, 4)

    def one(key, number, logits, temperature, top_k, top_p):
        kept = filters.keep(logits, temperature, top_k, top_p)
        return categorical.sample(keys.step_key(key, number), kept)

    levels = jax.vmap(one, in_axes=(None, 0, 0, 0, 0, 0))
    places = jax.vmap(levels, in_axes=(None, 0, 0, None, None, None))
    rows = jax.jit(jax.vmap(places, in_axes=(0, None, 0, None, None, None)))

    def run(codes, scale):
        codebooks = tiny.codebooks()
        logits = forward(params, codes, LABELS, codebooks)
        nobody = forward(params, codes, jnp.full_like(LABELS, tiny.SPACE.num_classes), codebooks)
        logits = nobody + scale * (logits - nobody)
        return rows(row_keys, number, logits, plan.temperature, plan.top_k, plan.top_p)

    return run


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_samples_are_the_draws_of_whole_forward_passes(draw, redraw, scale):
    codes = draw(guidance_scale=scale)
    np.testing.assert_array_equal(codes, redraw(codes, scale))
    assert len(np.unique(codes)) > 4


def test_at_temperature_0_every_code_is_the_likeliest(draw, params, forward):
    codes = draw(temperature=0.0)
    logits = forward(params, codes, LABELS, tiny.codebooks())
    np.testing.assert_array_equal(codes, np.argmax(logits, axis=-1))


def test_samples_do_not_depend_on_the_batch_they_are_drawn_in(draw, samples):
    for rows in (slice(1, 4), np.array([3, 1, 0, 2])):
        np.testing.assert_array_equal(draw(rows=rows), samples[rows])


def test_another_seed_or_label_gives_other_samples(draw, samples, row_keys):
    assert np.any(draw(row_keys=row_keys[::-1]) != samples)
    other = draw(labels=LABELS.at[1].set(0))
    assert np.any(other[1] != samples[1])
    np.testing.assert_array_equal(other[0], samples[0])


def test_known_codes_stay_and_what_stood_in_the_others_is_never_read(draw, samples):
    is_masked = np.random.default_rng(3).random(samples.shape) < 0.5
    codes = np.asarray(tiny.codes(4))
    filled = draw(rq_transformer_sampler.Known(jnp.asarray(codes), jnp.asarray(is_masked)))
    np.testing.assert_array_equal(filled[~is_masked], codes[~is_masked])
    assert np.any(filled[is_masked] != codes[is_masked])
    scrambled = jnp.asarray(np.where(is_masked, (codes + 3) % 7, codes))
    again = draw(rq_transformer_sampler.Known(scrambled, jnp.asarray(is_masked)))
    np.testing.assert_array_equal(again, filled)


def test_what_follows_a_sample_s_own_beginning_is_its_own_end(draw, samples):
    is_masked = np.broadcast_to((np.arange(NUM_CODES) >= 10).reshape(6, 4), samples.shape)
    known = rq_transformer_sampler.Known(jnp.asarray(samples), jnp.asarray(is_masked))
    np.testing.assert_array_equal(draw(known), samples)


def test_guidance_of_one_asks_no_null_class(draw, params, samples):
    moved = params | {"classes": params["classes"].at[tiny.SPACE.num_classes].set(0.0)}
    np.testing.assert_array_equal(draw(params=moved), samples)
    assert np.any(draw(guidance_scale=2.0) != draw(guidance_scale=2.0, params=moved))


def test_only_guidance_compiles_anew_and_the_network_is_traced_once(draw, samples, traces):
    draw(guidance_scale=2.0)
    before = len(traces)
    for changes in (
        {},
        {"temperature": 0.5},
        {"top_p": 1.0},
        {"top_k": 2},
        {"guidance_scale": (1.0, 2.0, 3.0, 1.0)},
    ):
        draw(**changes)
    assert len(traces) == before
    # Not once a position or level, and so for each of the two programs.
    assert traces.count("logits_step") == traces.count("context_step") <= 4


def table_network(table):
    """Logits by position, level and a hash of the vectors so far; what a network is to sampling."""

    def apply(params, *arguments, method):
        del params
        if method == "context_step":
            before, _, cache, place = arguments
            place = jnp.full((len(before), 1), place.astype(jnp.float32))
            return jnp.concatenate([place, before], axis=-1), cache
        context, total, cache, level = arguments
        seen = (total[:, 0] + 2 * context[:, 1]).astype(jnp.int32) % table.shape[2]
        return table[context[:, 0].astype(jnp.int32), level, seen], cache

    return functional.Network(init=lambda key: {}, apply=apply, axes={})


def test_the_distribution_of_samples_is_that_of_a_table():
    """Two positions of two levels of three codes: all 81 grids, 40,000 draws."""
    space = spaces.image_codes((1, 2), depth=2, codebook_size=3, code_dim=1, num_classes=1)
    codebooks = np.float32([[[0], [1], [2]], [[0], [3], [6]]])
    table = np.float32(np.random.default_rng(0).normal(size=(2, 2, 27, 3)))
    spec = rq_transformer_sampler.Spec(temperature=(1.0, 0.5), top_k=(0, 2))
    number, shares = 40_000, {}
    for grid in itertools.product(range(3), repeat=4):
        share, before, total = 1.0, 0.0, 0.0
        for index, code in enumerate(grid):
            place, level = divmod(index, 2)
            if level == 0:
                before, total = total, 0.0
            logits = np.float64(table[place, level, int(total + 2 * before) % 27])
            if level == 1:
                logits = np.where(logits == logits.min(), -np.inf, logits / 0.5)
            share *= np.exp(logits[code]) / np.exp(logits).sum()
            total += codebooks[level, code, 0]
        shares[grid] = share
    model = dataclasses.replace(tiny.SPEC, width=1, num_heads=1)
    sampler = rq_transformer_sampler.RqTransformerSampler(
        table_network(jnp.asarray(table)), model, space
    )
    codes = sampler.sample(
        {},
        jnp.asarray(codebooks),
        keys.example_keys(jax.random.key(0), jnp.arange(number)),
        jnp.zeros(number, jnp.int32),
        rq_transformer_sampler.plan(spec, 2),
    )
    flat = np.asarray(codes).reshape(number, 4)
    counts = np.zeros((3, 3, 3, 3))
    np.add.at(counts, tuple(flat.T), 1)
    expected = number * np.array(list(shares.values())).reshape(counts.shape)
    assert counts[expected == 0].sum() == 0
    likely = expected > 0
    deviation = (counts - expected)[likely] / np.sqrt(expected[likely])
    num_free = likely.sum() - 1
    assert num_free == 35  # 6 x 6 grids are left by top_k
    assert np.sum(deviation**2) < num_free + 4 * np.sqrt(2 * num_free)


def test_codes_that_only_fill_up_a_codebook_are_never_drawn(sampler, params, row_keys):
    padded = tiny.codebooks().at[1, 4:].set(rvq.FAR)
    spec = rq_transformer_sampler.Spec(temperature=100.0)
    plan = rq_transformer_sampler.plan(spec, tiny.SPACE.codes.depth)
    codes = np.asarray(sampler.sample(params, padded, row_keys, LABELS, plan))
    assert codes[..., 1].max() == 3
    assert codes[..., 0].max() == 6


def test_kernels_are_rounded_before_the_loops_to_what_they_are_multiplied_as():
    model = dataclasses.replace(tiny.SPEC, compute_dtype="bfloat16")
    network = rq_transformer.make(model, tiny.SPACE)
    seen = []

    def apply(params, *arguments, **keywords):
        seen.append(params)
        return network.apply(params, *arguments, **keywords)

    sampler = rq_transformer_sampler.RqTransformerSampler(
        network._replace(apply=apply), model, tiny.SPACE
    )
    plan = rq_transformer_sampler.plan(rq_transformer_sampler.Spec(), tiny.SPACE.codes.depth)
    row_keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 4))
    params = jax.eval_shape(network.init, jax.random.key(0))
    tables = jax.eval_shape(tiny.codebooks)
    labels = jax.ShapeDtypeStruct((4,), jnp.int32)
    function, arguments = sampler.program(params, tables, row_keys, labels, plan)
    assert jax.eval_shape(function, *arguments).shape == (4, 6, 4)
    for each in seen:
        assert each["body"]["blocks"]["up"]["kernel"].dtype == jnp.bfloat16
        assert each["out"]["bias"].dtype == jnp.float32


def test_the_plan_holds_the_values_of_each_level():
    spec = rq_transformer_sampler.Spec(temperature=(1.0, 0.5), top_k=3, top_p=(0.9, 1.0))
    plan = rq_transformer_sampler.plan(spec, 2)
    np.testing.assert_allclose(plan.temperature, [1.0, 0.5])
    np.testing.assert_array_equal(plan.top_k, [3, 3])
    np.testing.assert_allclose(plan.top_p, [0.9, 1.0])
    assert plan.guidance_scale is None
    guided = rq_transformer_sampler.plan(dataclasses.replace(spec, guidance_scale=(1.0, 2.0)), 2)
    np.testing.assert_allclose(guided.guidance_scale, [1.0, 2.0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": -0.1}, "sampler.temperature is -0.1; expected 0 to inf"),
        ({"temperature": (1.0, -2.0)}, r"sampler.temperature is \(1.0, -2.0\); expected 0"),
        ({"top_p": 1.5}, "sampler.top_p is 1.5; expected above 0 and at most 1"),
        ({"top_k": -1}, "sampler.top_k is -1; expected 0"),
        ({"guidance_scale": float("nan")}, "sampler.guidance_scale is nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(errors.UserError, match=message):
        rq_transformer_sampler.Spec(**changes)


def test_what_does_not_fit_the_network_is_refused_before_sampling(params, row_keys):
    spec = rq_transformer_sampler.Spec(temperature=(1.0, 0.5))
    with pytest.raises(errors.UserError, match="sampler.temperature has 2 entries for depth 4"):
        rq_transformer_sampler.plan(spec, 4)
    plain = rq_transformer_sampler.RqTransformerSampler(
        rq_transformer.make(tiny.SPEC, tiny.SPACE), tiny.SPEC, tiny.SPACE
    )
    given = {}, tiny.codebooks(), row_keys, LABELS
    with pytest.raises(errors.UserError, match="the plan has 2 levels and the codes 4"):
        plain.sample(*given, rq_transformer_sampler.plan(spec, 2))
    guided = rq_transformer_sampler.plan(rq_transformer_sampler.Spec(guidance_scale=2.0), 4)
    with pytest.raises(errors.UserError, match="has no null class to be guided away from"):
        plain.sample(*given, guided)


def test_logits_that_are_no_numbers_are_told_by_row_and_harm_no_other(draw, params, samples):
    broken = params | {"classes": params["classes"].at[2].set(jnp.nan)}  # of rows 1 and 3
    found = draw(params=broken)
    lost = np.asarray(interface.first_lost(jnp.asarray(found)))
    np.testing.assert_array_equal(lost, [-1, 0, -1, 0])
    np.testing.assert_array_equal(found[[0, 2]], samples[[0, 2]])


def test_the_first_code_that_was_lost_is_named():
    codes = jnp.array([[[3, -1 - 5], [-1 - 2, 0]], [[3, 1], [0, 0]]])
    np.testing.assert_array_equal(interface.first_lost(codes), [2, -1])
