"""Implicit codebooks against a NumPy loop, the plain RVQ they begin as, and what they learn."""

import functools

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.losses import quantization
from resgen_jax.quantizers import qinco, rvq

SPEC = qinco.Spec(code_dim=3, depth=3, codebook_size=5, num_blocks=2, hidden_dim=4)

encode = jax.jit(qinco.encode, static_argnames=("spec", "max_distances"))
partial_sums = jax.jit(qinco.partial_sums, static_argnames="spec")


@pytest.fixture
def codebooks(key):
    return jax.random.normal(jax.random.fold_in(key, 2), (3, 5, 3))


@pytest.fixture
def params(key, codebooks):
    """Networks that change something."""
    params = qinco.init(key, codebooks, SPEC)
    leaves, tree = jax.tree.flatten(params["networks"])
    leaves = [
        leaf + 0.3 * jax.random.normal(jax.random.fold_in(key, number), leaf.shape)
        for number, leaf in enumerate(leaves)
    ]
    return {**params, "networks": jax.tree.unflatten(tree, leaves)}


@pytest.fixture
def latents(key):
    return jax.random.normal(jax.random.fold_in(key, 1), (4, 3, 3))


def network(params, level, base, total):
    """The vectors of one level after the first, in float64."""
    layers = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64)[level], params["networks"])
    total = np.broadcast_to(total, base.shape)
    joined = np.concatenate([base, total], -1)
    value = base + joined @ layers["join"]["kernel"] + layers["join"]["bias"]
    for block in range(SPEC.num_blocks):
        hidden = value @ layers["in"]["kernel"][block] + layers["in"]["bias"][block]
        hidden = np.maximum(hidden, 0.0)
        value = value + hidden @ layers["out"]["kernel"][block] + layers["out"]["bias"][block]
    return value


def by_loop(params, latent):
    """Codes of one vector and the sums after each level."""
    books, latent = np.asarray(params["codebooks"], np.float64), np.asarray(latent, np.float64)
    total, codes, sums = np.zeros(3), [], []
    for level, table in enumerate(books):
        vectors = table if level == 0 else network(params, level - 1, table, total)
        codes.append(((latent - total - vectors) ** 2).sum(-1).argmin())
        total = total + vectors[codes[-1]]
        sums.append(total)
    return codes, np.stack(sums)


def test_codes_and_sums_are_those_of_a_plain_loop(params, latents):
    codes, remainder = encode(params, latents, spec=SPEC)
    sums = partial_sums(params, codes, spec=SPEC)
    for place in np.ndindex(4, 3):
        expected_codes, expected = by_loop(params, latents[place])
        np.testing.assert_array_equal(codes[place], expected_codes)
        np.testing.assert_allclose(sums[place], expected, atol=1e-4)
        np.testing.assert_allclose(latents[place] - remainder[place], expected[-1], atol=1e-4)


def test_it_begins_as_plain_rvq(codebooks, latents, key):
    params = qinco.init(key, codebooks, SPEC)
    codes, remainder = encode(params, latents, spec=SPEC)
    expected, expected_remainder = rvq.encode(latents, codebooks)
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_allclose(remainder, expected_remainder, atol=1e-5)
    sums = partial_sums(params, codes, spec=SPEC)
    np.testing.assert_allclose(sums, rvq.partial_sums(codes, codebooks), atol=1e-5)


def test_chunks_change_no_code(params, latents):
    whole, _ = encode(params, latents, spec=SPEC)
    parts, _ = encode(params, latents, spec=SPEC, max_distances=5 * 5 * 6)
    np.testing.assert_array_equal(parts, whole)


def test_a_prefix_decodes_to_its_partial_sum(params, latents):
    codes, _ = encode(params, latents, spec=SPEC)
    sums = partial_sums(params, codes, spec=SPEC)
    for given in (1, 2, 3):
        prefix = qinco.decode(params, codes[..., :given], SPEC)
        np.testing.assert_allclose(prefix, sums[..., given - 1, :], atol=1e-5)


@functools.partial(jax.jit)
def loss_of(params, latents):
    codes, _ = qinco.encode(params, latents, SPEC)
    sums = qinco.partial_sums(params, codes, SPEC)
    return jnp.mean(quantization.prefix_codebook_loss(latents, sums))


def test_codebooks_and_networks_learn_and_the_encoder_does_not(codebooks, latents, key):
    params = qinco.init(key, codebooks, SPEC)
    step = jax.jit(jax.value_and_grad(loss_of, (0, 1)))
    value, (to_params, to_latents) = step(params, latents)
    assert (to_latents == 0).all()
    for name in ("join", "out"):
        assert jnp.abs(to_params["networks"][name]["kernel"]).max() > 0
    assert jnp.abs(to_params["codebooks"]).max() > 0
    for _ in range(30):
        _, (to_params, _) = step(params, latents)
        params = jax.tree.map(lambda leaf, gradient: leaf - 0.1 * gradient, params, to_params)
    assert step(params, latents)[0] < 0.7 * value
    assert jnp.abs(params["networks"]["in"]["bias"]).max() > 0


def test_bad_arguments_are_told(params, codebooks, latents, key, monkeypatch):
    with pytest.raises(errors.UserError, match="qinco hidden_dim is 0; expected 1 or more"):
        qinco.Spec(code_dim=3, depth=3, codebook_size=5, hidden_dim=0)
    with pytest.raises(errors.UserError, match="qinco num_blocks is -1; expected 0 or more"):
        qinco.Spec(code_dim=3, depth=3, codebook_size=5, num_blocks=-1)
    with pytest.raises(errors.UserError, match=r"expected \(depth, .*\) \(3, 5, 3\)"):
        qinco.init(key, codebooks[:2], SPEC)
    with pytest.raises(errors.UserError, match="codes have 4 levels; expected 1 to depth 3"):
        qinco.decode(params, jnp.zeros((2, 4), jnp.int32), SPEC)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(errors.UserError, match="2 channels and the codebook 3"):
        qinco.encode(params, latents[..., :2], SPEC)
