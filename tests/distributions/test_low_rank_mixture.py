"""The mixture against dense NumPy means and SciPy densities, and the laws of its bound."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from resgen_jax.distributions import low_rank_mixture as mixture

BATCH, LENGTH, NUM_COMPONENTS, RANK, CODE_DIM = 3, 4, 6, 2, 5


@pytest.fixture
def problem():
    return make_problem(np.random.default_rng(0))


def make_problem(random, lead=(BATCH, LENGTH), m=NUM_COMPONENTS, r=RANK, c=CODE_DIM):
    def normal(*shape):
        return jnp.asarray(random.normal(size=shape), jnp.float32)

    params = mixture.Params(normal(*lead, m), normal(*lead, m, r), normal(*lead, c), normal(*lead))
    return params, mixture.Basis(normal(m, c, r), normal(m, c)), normal(*lead, c)


def dense_means(params, basis):
    params, basis = jax.tree.map(lambda x: np.asarray(x, np.float64), (params, basis))
    direction = np.einsum("mcr,...mr->...mc", basis.weight, params.factors) + basis.bias
    scale = np.exp(params.log_scale)[..., None, None]
    return scale * direction + params.shift[..., None, :], scale[..., 0, 0]


def dense_component_log_prob(params, basis, target):
    means, scale = dense_means(params, basis)
    result = np.empty(means.shape[:-1])
    for place in np.ndindex(result.shape):
        result[place] = scipy.stats.multivariate_normal.logpdf(
            np.asarray(target, np.float64)[place[:-1]],
            means[place],
            scale[place[:-1]] ** 2 * np.eye(means.shape[-1]),
        )
    return result


def dense_log_prior(params):
    return scipy.special.log_softmax(np.asarray(params.component_logits, np.float64), axis=-1)


def test_density_equals_scipy(problem):
    params, basis, target = problem
    expected = dense_component_log_prob(params, basis, target)
    # tails of thousands of nats: the comparison is relative
    np.testing.assert_allclose(
        mixture.component_log_prob(params, basis, target), expected, rtol=2e-5, atol=1e-4
    )
    expected = scipy.special.logsumexp(expected + dense_log_prior(params), axis=-1)
    np.testing.assert_allclose(
        mixture.log_prob(params, basis, target), expected, rtol=2e-5, atol=1e-4
    )


def test_distance_equals_the_dense_one(problem):
    params, basis, target = problem
    means, scale = dense_means(params, basis)
    apart = (np.asarray(target, np.float64)[..., None, :] - means) / scale[..., None, None]
    np.testing.assert_allclose(
        mixture.squared_distance(params, basis, target), (apart**2).sum(-1), rtol=2e-5, atol=1e-4
    )


def test_distance_at_a_mean_is_zero_and_never_negative():
    params, basis, _ = make_problem(np.random.default_rng(1), lead=(64,), m=1, c=32, r=8)
    at_mean = mixture.component_mean(params, basis, jnp.zeros(64, jnp.int32))
    squared = np.asarray(mixture.squared_distance(params, basis, at_mean))
    assert (squared >= 0).all()
    size = np.square(np.asarray(at_mean - params.shift)).sum(-1) * np.exp(-2 * params.log_scale)
    assert (squared[:, 0] <= 1e-5 * (1 + np.asarray(size))).all()


def test_density_integrates_to_one_on_a_grid():
    params, basis, _ = make_problem(np.random.default_rng(2), lead=(), m=4, r=3, c=2)
    params = params._replace(log_scale=jnp.float32(-0.7))
    means, scale = dense_means(params, basis)
    low, high = means.min(0) - 7 * scale, means.max(0) + 7 * scale
    axes = [np.linspace(low[i], high[i], 161) for i in range(2)]
    grid = jnp.asarray(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2), jnp.float32)
    density = jnp.exp(jax.vmap(lambda x: mixture.log_prob(params, basis, x))(grid))
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    assert float(density.sum()) * cell == pytest.approx(1.0, abs=1e-3)


def test_one_component_is_the_gaussian():
    params, basis, target = make_problem(np.random.default_rng(3), m=1)
    expected = dense_component_log_prob(params, basis, target)[..., 0]
    np.testing.assert_allclose(
        mixture.log_prob(params, basis, target), expected, rtol=2e-5, atol=1e-4
    )
    # With one component nothing is left to choose: the bound is tight whatever the smoothing.
    np.testing.assert_allclose(
        mixture.bound(params, basis, target, 0.3), -expected, rtol=2e-5, atol=1e-4
    )


def test_order_of_the_components_changes_nothing(problem):
    params, basis, target = problem
    order = np.random.default_rng(4).permutation(NUM_COMPONENTS)
    permuted = params._replace(
        component_logits=params.component_logits[..., order], factors=params.factors[..., order, :]
    )
    shuffled = mixture.Basis(basis.weight[order], basis.bias[order])
    for function in (mixture.log_prob, mixture.bound):
        np.testing.assert_allclose(
            function(params, basis, target), function(permuted, shuffled, target), rtol=1e-5
        )


@pytest.mark.parametrize("smoothing", [0.0, 0.01, 0.5])
@pytest.mark.parametrize("shares", [mixture.by_likelihood, mixture.by_posterior])
def test_bound_is_above_the_negative_log_density(problem, smoothing, shares):
    params, basis, target = problem
    exact = -mixture.log_prob(params, basis, target)
    bound = mixture.bound(params, basis, target, smoothing, shares)
    assert (np.asarray(bound) >= np.asarray(exact) - 1e-4 * np.abs(exact)).all()


def test_bound_equals_its_formula_in_numpy(problem):
    params, basis, target = problem
    log_density, log_prior = (
        dense_component_log_prob(params, basis, target),
        dense_log_prior(params),
    )
    share = 0.99 * scipy.special.softmax(log_density, axis=-1) + 0.01 / NUM_COMPONENTS
    regression = -(share * log_density).sum(-1)
    classification = (share * (np.log(share) - log_prior)).sum(-1)
    np.testing.assert_allclose(
        mixture.bound(params, basis, target), regression + classification, rtol=1e-4
    )
    np.testing.assert_allclose(
        mixture.weighted_bound(params, basis, target, 0.01, 0.2),
        0.2 * regression + classification,
        rtol=1e-4,
    )


def test_bound_at_the_true_posterior_is_tight_with_the_gradient_of_the_density(problem):
    params, basis, target = problem

    def by_bound(params, basis):
        return mixture.bound(params, basis, target, 0.0, mixture.by_posterior).sum()

    def by_density(params, basis):
        return -mixture.log_prob(params, basis, target).sum()

    value, grads = jax.value_and_grad(by_bound, argnums=(0, 1))(params, basis)
    expected, expected_grads = jax.value_and_grad(by_density, argnums=(0, 1))(params, basis)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for grad, expected_grad in zip(
        jax.tree.leaves(grads), jax.tree.leaves(expected_grads), strict=True
    ):
        np.testing.assert_allclose(grad, expected_grad, rtol=1e-4, atol=1e-3)


def test_responsibilities_pass_no_gradient(problem):
    share = jnp.full((2, 3), 1 / 3)
    grad = jax.grad(lambda share: mixture.smooth(share, 0.1).sum())(share)
    np.testing.assert_array_equal(grad, 0)
    params, basis, target = problem
    # The paper's shares ignore the prior: its logits meet the classification part alone.
    grad = jax.grad(lambda p: mixture.weighted_bound(p, basis, target, 0.01, 5.0).sum())(params)
    share = 0.99 * scipy.special.softmax(dense_component_log_prob(params, basis, target), -1)
    share = share + 0.01 / NUM_COMPONENTS
    expected = np.exp(dense_log_prior(params)) - share
    np.testing.assert_allclose(grad.component_logits, expected, atol=1e-5)


@pytest.mark.parametrize("log_scale", [-15.0, -4.0, 15.0])
@pytest.mark.parametrize("function", [mixture.log_prob, mixture.bound])
def test_gradients_are_finite_at_extreme_scales(problem, function, log_scale):
    params, basis, target = problem
    params = params._replace(log_scale=jnp.full_like(params.log_scale, log_scale))
    params = params._replace(component_logits=1e4 * params.component_logits)
    value, grads = jax.value_and_grad(
        lambda params, basis: function(params, basis, target).sum(), argnums=(0, 1)
    )(params, basis)
    assert np.isfinite(value)
    assert all(np.isfinite(grad).all() for grad in jax.tree.leaves(grads))


def test_half_precision_inputs_are_computed_in_float32(problem):
    params, basis, target = problem
    narrow = jax.tree.map(lambda x: x.astype(jnp.bfloat16), (params, basis))
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), narrow)
    result = mixture.log_prob(*narrow, target)
    assert result.dtype == jnp.float32
    np.testing.assert_array_equal(result, mixture.log_prob(*wide, target))


def batch_keys(num, start=0):
    return jax.vmap(jax.random.key)(jnp.arange(start, start + num))


def test_sample_without_noise_is_the_mean_of_its_component(problem):
    params, basis, _ = problem
    draw = mixture.sample(batch_keys(BATCH), params, basis, noise_scale=0.0)
    means, _ = dense_means(params, basis)
    chosen = np.take_along_axis(means, np.asarray(draw.component)[..., None, None], axis=-2)
    np.testing.assert_allclose(draw.vector, chosen[..., 0, :], rtol=1e-4, atol=1e-4)
    expected = np.take_along_axis(
        dense_log_prior(params), np.asarray(draw.component)[..., None], -1
    )
    np.testing.assert_allclose(draw.component_log_prior, expected[..., 0], atol=1e-5)


def test_samples_have_the_moments_of_the_mixture():
    params, basis, _ = make_problem(np.random.default_rng(5), lead=(), m=3, r=2, c=2)
    num = 20_000
    many = jax.tree.map(lambda x: jnp.broadcast_to(x, (1, num, *x.shape)), params)
    draw = mixture.sample(batch_keys(1), many, basis)
    prior = np.exp(dense_log_prior(params))
    share = np.bincount(np.asarray(draw.component[0]), minlength=3) / num
    np.testing.assert_allclose(share, prior, atol=0.015)
    means, scale = dense_means(params, basis)
    mean = prior @ means
    cov = (means - mean).T @ np.diag(prior) @ (means - mean) + scale**2 * np.eye(2)
    spread = np.sqrt(np.diag(cov))
    np.testing.assert_allclose(draw.vector[0].mean(0), mean, atol=4 * spread.max() / num**0.5)
    np.testing.assert_allclose(np.cov(draw.vector[0].T), cov, atol=0.05 * cov.max())


def test_samples_near_a_target_are_the_posterior_by_importance_weights():
    params, basis, _ = make_problem(np.random.default_rng(5), lead=(), m=3, r=2, c=2)
    params = params._replace(log_scale=params.log_scale - 0.5)
    random, num, variance = np.random.default_rng(0), 400_000, 0.8
    means, scale = dense_means(params, basis)
    target = means.mean(axis=0)
    # Draws from the mixture, weighed by how likely each would be seen as the target.
    component = random.choice(3, num, p=np.exp(dense_log_prior(params)))
    vector = means[component] + scale * random.normal(size=(num, 2))
    weight = np.exp(-((vector - target) ** 2).sum(-1) / (2 * variance))
    weight /= weight.sum()
    share = np.bincount(component, weight, minlength=3)
    mean = weight @ vector
    cov = (vector - mean).T @ (weight[:, None] * (vector - mean))
    assert share.max() < 0.9  # more than one component matters

    count = 20_000
    many = jax.tree.map(lambda x: jnp.broadcast_to(x, (1, count, *x.shape)), params)
    targets = jnp.broadcast_to(jnp.asarray(target, jnp.float32), (1, count, 2))
    draw = mixture.sample_near(
        batch_keys(1), many, basis, targets, jnp.full((1, count), jnp.float32(variance))
    )
    found = np.bincount(np.asarray(draw.component[0]), minlength=3) / count
    np.testing.assert_allclose(found, share, atol=0.015)
    log_share = np.log(share)[np.asarray(draw.component[0])]
    np.testing.assert_allclose(draw.component_log_prior[0], log_share, atol=0.05)
    np.testing.assert_allclose(draw.vector[0].mean(0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(draw.vector[0].T), cov, atol=0.05 * cov.max())


def test_samples_near_go_from_the_target_to_free_ones(problem):
    params, basis, target = problem
    exact = mixture.sample_near(
        batch_keys(BATCH), params, basis, target, jnp.zeros(target.shape[:-1])
    )
    np.testing.assert_allclose(exact.vector, target, rtol=1e-5, atol=1e-5)
    free = mixture.sample(batch_keys(BATCH), params, basis)
    far = mixture.sample_near(
        batch_keys(BATCH), params, basis, target, jnp.full(target.shape[:-1], 1e12)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), far, free)


def test_temperature_zero_and_top_p_zero_or_top_k_one_take_the_likeliest(problem):
    params, basis, _ = problem
    likeliest = np.argmax(params.component_logits, axis=-1)
    for knobs in ({"temperature": 0.0}, {"top_p": 0.0}, {"top_k": 1}):
        draw = mixture.sample(batch_keys(BATCH), params, basis, **knobs)
        np.testing.assert_array_equal(draw.component, likeliest)
    # with one component kept nothing was left to chance
    np.testing.assert_allclose(draw.component_log_prior, 0, atol=1e-6)


def test_a_row_does_not_depend_on_the_batch_around_it(problem):
    params, basis, _ = problem
    whole = mixture.sample(batch_keys(BATCH), params, basis, top_p=0.8)
    row = jax.tree.map(lambda x: x[1:2], params)
    alone = mixture.sample(batch_keys(1, start=1), row, basis, top_p=0.8)
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(lambda x: x[1:2], whole), alone)


def test_knobs_do_not_compile_again(problem):
    params, basis, _ = problem

    @jax.jit
    def draw(temperature, top_p, noise_scale):
        return mixture.sample(
            batch_keys(BATCH),
            params,
            basis,
            temperature=temperature,
            top_p=top_p,
            noise_scale=noise_scale,
        ).vector

    draw(1.0, 1.0, 1.0)
    draw(0.5, 0.7, 0.0)
    assert draw._cache_size() == 1
