"""Laws of sampling from ResGen, against the same steps written as a plain Python loop."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors, keys
from resgen_jax.distributions import low_rank_mixture as mixture
from resgen_jax.generators import confidence, resgen, resgen_sampler
from resgen_jax.generators import interface as generators
from resgen_jax.processes import mask_schedules, rvq_masking
from resgen_jax.quantizers import rvq
from resgen_jax.samplers import mask_predict

SPEC = resgen_sampler.Spec(
    num_steps=4, guidance_scale=2.0, temperature=0.8, top_p=0.9, noise_scale=0.7
)
NUM_TOKENS = 18


@pytest.fixture(scope="module")
def sampler(tiny):
    return resgen_sampler.Sampler(tiny.network, tiny.space, SPEC.choices)


@pytest.fixture(scope="module")
def row_keys():
    return keys.example_keys(jax.random.key(7), jnp.arange(4))


@pytest.fixture(scope="module")
def draw(tiny, sampler, row_keys):
    """Codes of the four examples under a spec."""

    def run(**changes):
        plan = resgen_sampler.plan(dataclasses.replace(SPEC, **changes), NUM_TOKENS)
        return np.asarray(sampler.sample(tiny.params, tiny.codebooks, row_keys, tiny.labels, plan))

    return run


@pytest.fixture(scope="module")
def samples(draw):
    return draw()


@pytest.fixture(scope="module")
def pieces(tiny):
    """The parts of a step, each jitted alone: network, head with draw, and codes."""

    def hidden(revealed, is_masked, labels):
        return tiny.network.apply(tiny.params, revealed, is_masked, labels, method="hidden")

    def head(states, step_keys, temperature, top_p, noise_scale):
        density, basis = tiny.network.apply(tiny.params, states, method="mixture")
        return mixture.sample(
            step_keys,
            density,
            basis,
            temperature=temperature,
            top_p=top_p,
            noise_scale=noise_scale,
        )

    return jax.jit(hidden), jax.jit(head)


def plain_loop(tiny, pieces, row_keys, spec):
    """Sampling step by step; which cells are revealed is decided in NumPy."""
    hidden, head = pieces
    schedule = mask_schedules.by_name(spec.mask_schedule)
    num_masked = mask_schedules.num_masked_per_step(schedule, spec.num_steps, NUM_TOKENS)
    codes, is_masked = np.zeros((4, 6, 3), np.int32), np.ones((4, 6, 3), bool)
    for step in range(spec.num_steps):
        use = [
            keys.named_keys(keys.step_key(row_keys[row], step), "predict", "order")
            for row in range(4)
        ]
        revealed = rvq_masking.revealed_embedding(
            jnp.asarray(codes), jnp.asarray(is_masked), tiny.codebooks
        )
        nobody = jnp.full(4, tiny.space.num_classes)
        conditional = hidden(revealed, is_masked, tiny.labels)
        states = hidden(revealed, is_masked, nobody)
        states = states + spec.guidance_scale * (conditional - states)
        predict_keys = jnp.stack([named["predict"] for named in use])
        knobs = spec.temperature, spec.top_p, spec.noise_scale
        sample = head(states, predict_keys, *knobs)
        proposal = rvq.encode_masked(
            sample.vector, jnp.asarray(codes), jnp.asarray(is_masked), tiny.codebooks
        )
        noise_left = spec.order_noise * (1 - (step + 1) / spec.num_steps)
        for row in range(4):
            gumbel = np.asarray(jax.random.gumbel(use[row]["order"], (6, 3)))
            score = np.asarray(sample.component_log_prior)[row][:, None] + noise_left * gumbel
            num_reveal = is_masked[row].sum() - num_masked[step]
            score = np.where(is_masked[row], score, -np.inf).reshape(-1)
            best = np.argsort(-score, kind="stable")[:num_reveal]
            for position in range(6):
                chosen = np.sum(best // 3 == position)
                for level in np.flatnonzero(is_masked[row, position])[:chosen]:
                    codes[row, position, level] = proposal[row, position, level]
                    is_masked[row, position, level] = False
    assert not is_masked.any()
    return codes


def test_the_jitted_program_equals_a_plain_loop_bit_for_bit(tiny, pieces, row_keys, samples):
    np.testing.assert_array_equal(samples, plain_loop(tiny, pieces, row_keys, SPEC))
    assert len(np.unique(samples)) == 7  # every code occurs: not one constant proposal


def test_samples_do_not_depend_on_the_batch_they_are_drawn_in(tiny, sampler, row_keys, samples):
    plan = resgen_sampler.plan(SPEC, NUM_TOKENS)
    for rows in (slice(0, 1), slice(1, 4)):
        arguments = tiny.params, tiny.codebooks, row_keys[rows], tiny.labels[rows]
        np.testing.assert_array_equal(sampler.sample(*arguments, plan), samples[rows])


def test_another_seed_or_label_gives_other_samples(tiny, sampler, row_keys, samples):
    plan = resgen_sampler.plan(SPEC, NUM_TOKENS)

    def sample(row_keys, labels):
        return sampler.sample(tiny.params, tiny.codebooks, row_keys, labels, plan)

    assert np.any(sample(row_keys[::-1], tiny.labels) != samples)
    other = sample(row_keys, tiny.labels.at[1].set(0))
    assert np.any(other[1] != samples[1])
    np.testing.assert_array_equal(other[0], samples[0])


def test_only_the_number_of_steps_compiles_anew(tiny, row_keys):
    traces = []

    def apply(*arguments, **keywords):
        traces.append(1)
        return tiny.network.apply(*arguments, **keywords)

    counted = tiny.network._replace(apply=apply)
    sampler = resgen_sampler.Sampler(counted, tiny.space, SPEC.choices)

    def num_traces(**changes):
        before = len(traces)
        plan = resgen_sampler.plan(dataclasses.replace(SPEC, **changes), NUM_TOKENS)
        sampler.sample(tiny.params, tiny.codebooks, row_keys, tiny.labels, plan)
        return len(traces) - before

    assert num_traces() > 0
    for changes in (
        {"guidance_scale": 3.5},
        {"guidance_scale": 1.0},
        {"guidance_schedule": "linear"},
        {"guidance_interval": (0.2, 0.7)},
        {"temperature": 0.5},
        {"top_p": 0.5},
        {"top_p": 1.0},
        {"top_k": 2},
        {"guidance_scale": (1.0, 2.0, 3.0, 1.0)},
        {"noise_scale": 0.1},
        {"order_noise": 0.0},
        {"mask_schedule": "linear"},
    ):
        assert num_traces(**changes) == 0, changes
    assert num_traces(num_steps=5) > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"guidance_scale": 8.0},
        {"temperature": 0.0},
        {"noise_scale": 4.0},
        {"top_p": 0.1},
        {"top_k": 1},
    ],
)
def test_every_knob_is_read(draw, samples, changes):
    assert np.any(draw(**changes) != samples)


def test_guidance_of_one_is_no_guidance(tiny, draw, sampler, samples, row_keys):
    plain = draw(guidance_scale=1.0)
    table = tiny.params["classes"]["table"]
    # Whatever the null class says, it is not asked.
    moved = tiny.params | {"classes": {"table": table.at[tiny.space.num_classes].add(9.0)}}

    def sample(scale):
        plan = resgen_sampler.plan(dataclasses.replace(SPEC, guidance_scale=scale), NUM_TOKENS)
        return sampler.sample(moved, tiny.codebooks, row_keys, tiny.labels, plan)

    np.testing.assert_array_equal(sample(1.0), plain)
    assert np.any(sample(2.0) != samples)


def test_known_codes_stay(tiny, sampler, row_keys):
    is_masked = rvq_masking.mask_from_num_hidden(jnp.array([[0, 3, 1, 3, 2, 3]] * 4), 3)
    plan = resgen_sampler.plan(SPEC, 12)
    arguments = tiny.params, tiny.codebooks, row_keys, tiny.labels
    filled = sampler.sample(*arguments, plan, generators.Known(tiny.codes, is_masked))
    np.testing.assert_array_equal(filled[~is_masked], tiny.codes[~is_masked])
    assert np.any(filled[is_masked] != tiny.codes[is_masked])
    # What stood in the masked cells before is never read.
    scrambled = jnp.where(is_masked, (tiny.codes + 3) % 7, tiny.codes)
    again = sampler.sample(*arguments, plan, generators.Known(scrambled, is_masked))
    np.testing.assert_array_equal(again, filled)


def test_completing_nothing_known_is_sampling(tiny, sampler, row_keys, samples):
    plan = resgen_sampler.plan(SPEC, NUM_TOKENS)
    everything = jnp.ones((4, 6, 3), bool)
    arguments = tiny.params, tiny.codebooks, row_keys, tiny.labels
    filled = sampler.sample(*arguments, plan, generators.Known(tiny.codes, everything))
    np.testing.assert_array_equal(filled, samples)


def test_states_show_the_way_to_the_same_samples(tiny, row_keys, samples):
    plan = resgen_sampler.plan(SPEC, NUM_TOKENS)
    arguments = tiny.params, tiny.codebooks, row_keys, tiny.labels
    stepwise = resgen_sampler.Sampler(
        tiny.network, tiny.space, SPEC.choices, mask_predict.fill_with_states
    )
    codes, (codes_after, masked_after) = stepwise.sample(*arguments, plan)
    np.testing.assert_array_equal(codes, samples)
    np.testing.assert_array_equal(codes_after[-1], samples)
    left = np.asarray(masked_after).sum(axis=(2, 3))
    np.testing.assert_array_equal(left, np.broadcast_to(plan.num_masked[:, None], (4, 4)))
    for step in range(3):
        shown = ~np.asarray(masked_after[step])
        assert not np.any(shown & np.asarray(masked_after[step + 1]))
        np.testing.assert_array_equal(codes_after[step][shown], samples[shown])


COMBINATIONS = [
    *({"confidence": kind} for kind in confidence.KINDS if kind != "drawn"),
    {"proposal": "codes", "confidence": "code_head"},
    {"proposal": "guided", "confidence": "distance"},
    {"proposal": "guided", "confidence": "code_head", "masks": "indep"},
    {"order": "halton"},
    {"order": "halton_depth"},
    {"remask": "rescale", "remask_rate": 1.0},
    {"calibration": "prior"},
]


def test_every_proposal_and_confidence_fills_everything_in_its_own_way(tiny, row_keys):
    masks = []
    for changes in COMBINATIONS:
        spec = dataclasses.replace(SPEC, **changes)
        sampler = resgen_sampler.Sampler(
            tiny.network, tiny.space, spec.choices, mask_predict.fill_with_states
        )
        plan = resgen_sampler.plan(spec, NUM_TOKENS)
        known = tiny.params, tiny.codebooks, row_keys, tiny.labels
        codes, (_, masked_after) = sampler.sample(*known, plan)
        assert np.all((codes >= 0) & (codes < 7))
        assert not np.any(masked_after[-1])
        masks.append(np.asarray(masked_after))
    for one in range(len(masks)):
        for other in range(one):
            assert np.any(masks[one] != masks[other])


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"proposal": "codes", "confidence": "random"}, "sampler.proposal is 'codes', but the"),
        ({"proposal": "guided"}, "sampler.proposal is 'guided', but the model has no trained"),
        ({"confidence": "code_head"}, "sampler.confidence is 'code_head', but the model has no"),
    ],
)
def test_a_model_without_a_code_head_refuses_to_be_asked_for_it(tiny, choices, message):
    headless = resgen.make(dataclasses.replace(tiny.spec, has_code_head=False), tiny.space)
    spec = dataclasses.replace(SPEC, **choices)
    with pytest.raises(errors.UserError, match=message):
        resgen_sampler.Sampler(headless, tiny.space, spec.choices)
    resgen_sampler.Sampler(headless, tiny.space, SPEC.choices)


def test_codes_of_a_tokenizer_with_beams_are_drawn_by_as_many(tiny, row_keys):
    item = dataclasses.replace(tiny.space.codes, num_beams=3)
    space = dataclasses.replace(tiny.space, item=item)
    plan = resgen_sampler.plan(SPEC, NUM_TOKENS)
    # Far apart, so that the sum nearest to a vector need not begin with the nearest one.
    known = tiny.params, 4 * tiny.codebooks, row_keys, tiny.labels, plan
    found, greedy = (
        resgen_sampler.Sampler(tiny.network, each, SPEC.choices).sample(*known)
        for each in (space, tiny.space)
    )
    assert np.any(found != greedy)
    choices = SPEC.choices._replace(confidence="distance")
    with pytest.raises(errors.UserError, match="reads the distances of one beam, but .* with 3"):
        resgen_sampler.Sampler(tiny.network, space, choices)


def test_greedy_samples_depend_on_no_key(tiny, sampler, row_keys):
    """Temperature 0 takes the likeliest component, with the noises at 0 all is decided."""
    spec = dataclasses.replace(SPEC, temperature=0.0, noise_scale=0.0, order_noise=0.0)
    plan = resgen_sampler.plan(spec, NUM_TOKENS)
    one, other = (
        sampler.sample(tiny.params, tiny.codebooks, keys, tiny.labels, plan)
        for keys in (row_keys, row_keys[::-1])
    )
    np.testing.assert_array_equal(one, other)


def test_weights_that_are_no_numbers_are_told_by_step_and_row(tiny, sampler, row_keys):
    table = tiny.params["classes"]["table"]
    broken = tiny.params | {"classes": {"table": table.at[4].set(jnp.nan)}}  # of row 2 alone
    plan = resgen_sampler.plan(SPEC, NUM_TOKENS)
    codes = sampler.sample(broken, tiny.codebooks, row_keys, tiny.labels, plan)
    lost = np.asarray(generators.first_lost(codes))
    np.testing.assert_array_equal(lost, [-1, -1, 0, -1])
    with pytest.raises(errors.UserError, match="NaN or infinity at step 0 in row 12"):
        generators.check_lost(lost, np.arange(10, 14))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guidance_schedule": "lineer"}, "did you mean 'linear'"),
        ({"mask_schedule": "cosin"}, "did you mean 'cosine'"),
        ({"order_noise_decay": "linar"}, "did you mean 'linear'"),
        ({"guidance_interval": (0.5, 0.2)}, "expected 0 <= low < high <= 1"),
    ],
)
def test_a_plan_of_unknown_words_is_refused(changes, message):
    with pytest.raises(errors.UserError, match=message):
        resgen_sampler.plan(dataclasses.replace(SPEC, **changes), NUM_TOKENS)
