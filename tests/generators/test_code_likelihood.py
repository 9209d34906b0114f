"""The nats of codes against distributions whose value is known, and against counted hits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from resgen_jax.core import errors
from resgen_jax.distributions import low_rank_mixture as mixture
from resgen_jax.generators import code_likelihood

NUM_CODES = 64
nll = jax.jit(code_likelihood.nll, static_argnames="num_draws")


def one_component(mean, log_scale, shape):
    """The same Gaussian at every position of a (batch, length) `shape`, as a mixture of one."""
    mean = jnp.asarray(mean, jnp.float32)
    params = mixture.Params(
        component_logits=jnp.zeros((*shape, 1)),
        factors=jnp.zeros((*shape, 1, 1)),
        shift=jnp.broadcast_to(mean, (*shape, mean.shape[-1])),
        log_scale=jnp.full(shape, log_scale, jnp.float32),
    )
    return params, mixture.Basis(jnp.zeros((1, mean.shape[-1], 1)), jnp.zeros((1, mean.shape[-1])))


def nats(params, basis, table, codes, num_draws=32, seed=0):
    keys = jax.random.split(jax.random.key(seed), len(codes))
    table, codes = jnp.asarray(table, jnp.float32), jnp.asarray(codes, jnp.int32)
    return np.asarray(nll(keys, params, basis, table, codes, num_draws=num_draws), np.float64)


def simplex(num_codes):
    """Codes all as far from each other: around their middle each is as likely as any other."""
    return np.eye(num_codes) - 1 / num_codes


@pytest.fixture(scope="module")
def all_codes():
    """Every code at 16 positions."""
    return np.broadcast_to(np.arange(NUM_CODES)[:, None], (NUM_CODES, 16))


@pytest.mark.parametrize(("num_codes", "log_scale"), [(8, 3.0), (64, -1.0), (64, 3.0), (256, 0.0)])
def test_a_guess_costs_ln_v(num_codes, log_scale):
    codes = np.broadcast_to(np.arange(num_codes)[:, None], (num_codes, 2048 // num_codes))
    density = one_component(np.zeros(num_codes), log_scale, codes.shape)
    found = nats(*density, simplex(num_codes), codes)
    assert found.mean() == pytest.approx(np.log(num_codes), abs=0.02)


def test_a_code_never_in_doubt_costs_the_guesses_share(all_codes):
    table = simplex(NUM_CODES)
    params, basis = one_component(np.zeros(NUM_CODES), -4.0, all_codes.shape)
    perfect = params._replace(shift=jnp.asarray(table[all_codes], jnp.float32))
    assert nats(perfect, basis, table, all_codes) == pytest.approx(0.0077, abs=1e-4)


def test_a_constant_costs_nothing_where_it_is_right_and_most_elsewhere(all_codes):
    """One that always says code 3, of uniform codes: ln V + 4.85 nats, not infinitely many."""
    table = simplex(NUM_CODES)
    found = nats(*one_component(table[3], -4.0, all_codes.shape), table, all_codes)
    most = np.log(NUM_CODES / code_likelihood.GUESS_SHARE)
    expected = np.where(np.arange(NUM_CODES) == 3, 0.0077, most)
    np.testing.assert_allclose(found.mean(axis=1), expected, atol=1e-3)


def test_two_codes_on_a_line_have_the_probabilities_of_a_normal(all_codes):
    codes = all_codes[:2]
    mean, scale = 0.3, 0.8
    found = nats(*one_component([mean], np.log(scale), codes.shape), [[-1.0], [1.0]], codes)
    low = scipy.stats.norm.cdf(-mean / scale)
    share = code_likelihood.GUESS_SHARE
    expected = -np.log((1 - share) * np.array([low, 1 - low]) + share / 2)
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None], found.shape), atol=1e-4)


def test_hits_are_counted_where_no_direction_is_named(all_codes):
    """The mean lies behind the code by as much as the codebook's middle lies before it."""
    codes = 0 * all_codes
    found = nats(*one_component([2.0, 0.0], 0.0, codes.shape), [[1.0, 0.0], [-1.0, 0.0]], codes)
    share = code_likelihood.GUESS_SHARE
    expected = -np.log((1 - share) * scipy.stats.norm.cdf(2) + share / 2)
    assert found.mean() == pytest.approx(expected, abs=5e-3)


@pytest.fixture(scope="module")
def problem():
    """A mixture of four at one position, 16 random codes, and their probabilities by counting."""
    random = np.random.default_rng(0)
    table = np.float32(random.normal(size=(16, 4)))
    weight, bias = random.normal(size=(4, 4, 2)), random.normal(size=(4, 4))
    factors, shift = random.normal(size=(4, 2)), random.normal(size=4)
    logits, scale = random.normal(size=4), 0.7
    num = 400_000
    prior = np.exp(logits) / np.exp(logits).sum()
    means = scale * (np.einsum("mcr,mr->mc", weight, factors) + bias) + shift
    drawn = means[random.choice(4, num, p=prior)] + scale * random.normal(size=(num, 4))
    closest = np.argmin(((drawn[:, None] - table[None]) ** 2).sum(axis=-1), axis=-1)
    counted = np.bincount(closest, minlength=16) / num
    shape = (16, 256)

    def everywhere(value):
        value = jnp.asarray(value, jnp.float32)
        return jnp.broadcast_to(value, (*shape, *value.shape))

    params = mixture.Params(*map(everywhere, (logits, factors, shift, np.log(scale))))
    basis = mixture.Basis(*(jnp.asarray(x, jnp.float32) for x in (weight, bias)))
    codes = np.broadcast_to(np.arange(16)[:, None], shape)
    return params, basis, table, codes, counted


def test_probabilities_are_those_of_counted_draws(problem):
    params, basis, table, codes, counted = problem
    keys = jax.random.split(jax.random.key(1), 16)
    found = jax.jit(code_likelihood.probabilities, static_argnums=5)(
        keys, params, basis, jnp.asarray(table), jnp.asarray(codes, jnp.int32), 64
    )
    assert found.max() <= 2 + 1e-5
    error = np.std(found, axis=(0, 2)) / np.sqrt(found.shape[0] * found.shape[2])
    expected_error = np.sqrt(counted / 400_000)
    assert (np.abs(found.mean(axis=(0, 2)) - counted) < 5 * (error + expected_error) + 1e-6).all()
    np.testing.assert_allclose(found.mean(axis=(0, 2)).sum(), 1, atol=0.01)


def test_nats_are_those_of_counted_draws_at_few_draws(problem):
    *density, table, codes, counted = problem
    share = code_likelihood.GUESS_SHARE
    expected = -np.log((1 - share) * counted + share / 16)
    found = nats(*density, table, codes, num_draws=32).mean(axis=1)
    # Weighted by the truth this is the entropy, which no estimate may miss by more.
    assert counted @ found == pytest.approx(counted @ expected, abs=0.02)
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_ties_go_to_the_lowest_code_and_far_codes_are_never_chosen(all_codes):
    table = np.array([[-1.0], [1.0], [1e15]])
    codes = all_codes[:3]
    found = nats(*one_component([0.0], 0.0, codes.shape), table, codes).mean(axis=1)
    share = code_likelihood.GUESS_SHARE
    half, never = -np.log((1 - share) / 2 + share / 3), -np.log(share / 3)
    np.testing.assert_allclose(found, [half, half, never], atol=1e-3)


def test_a_row_does_not_depend_on_the_batch_around_it(problem):
    params, basis, table, codes, _ = problem
    keys = jax.random.split(jax.random.key(1), 16)
    table, codes = jnp.asarray(table), jnp.asarray(codes, jnp.int32)
    whole = nll(keys, params, basis, table, codes, num_draws=4)
    row = jax.tree.map(lambda leaf: leaf[5:6], params)
    alone = nll(keys[5:6], row, basis, table, codes[5:6], num_draws=4)
    np.testing.assert_allclose(whole[5:6], alone, rtol=1e-5, atol=1e-5)


def test_a_single_draw_is_refused(problem):
    params, basis, table, codes, _ = problem
    with pytest.raises(errors.UserError, match="num_draws is 1; expected 2 or more"):
        nats(params, basis, table, codes, num_draws=1)
