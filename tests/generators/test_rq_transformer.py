"""RQ-Transformer: what each logit may see, the steps of sampling, and the published sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_rq_transformer as tiny

from resgen_jax.core import errors, keys, spaces, trees
from resgen_jax.generators import rq_transformer
from resgen_jax.quantizers import rvq

SPEC, SPACE = tiny.SPEC, tiny.SPACE


@pytest.fixture(scope="module")
def network():
    return rq_transformer.make(SPEC, SPACE)


@pytest.fixture(scope="module")
def params(network):
    return tiny.random_params(network)


@pytest.fixture(scope="module")
def run(network, params):
    """Logits of codes and labels, by one compiled program."""
    codebooks = tiny.codebooks()
    return jax.jit(functools.partial(network.apply, params), static_argnames="method"), codebooks


CODES = tiny.codes()
LABELS = jnp.array([2, 0])
OTHER_LABELS = jnp.array([2, 1])


def test_a_logit_depends_on_the_codes_before_it_and_on_no_other(run):
    apply, codebooks = run
    logits = np.asarray(apply(CODES, LABELS, codebooks))
    assert logits.shape == (2, 6, 4, 7)
    order = np.arange(24).reshape(6, 4)
    for position, level in [(0, 0), (2, 1), (4, 3), (5, 2)]:
        changed = CODES.at[:, position, level].set((CODES[:, position, level] + 1) % 7)
        moved = np.abs(np.asarray(apply(changed, LABELS, codebooks)) - logits).max(axis=(0, 3))
        later = order > order[position, level]
        assert np.all(moved[~later] < 1e-6)
        assert np.all(moved[later] > 1e-5)


def test_the_gradient_of_a_logit_reaches_the_vectors_before_it_and_no_other(network, params):
    """Of the logits at position 2 and level 1, by each of the vectors that are read."""
    vectors = jax.random.normal(jax.random.key(0), (1, 6, 4, 5))

    @jax.jit
    @jax.grad
    def gradient(vectors):
        sums = jnp.cumsum(vectors, axis=2)
        context = network.apply(params, sums[..., -1, :], LABELS[:1], method="contexts")
        logits = network.apply(params, context, sums[..., :-1, :], method="logits")
        return jnp.sum(logits[:, 2, 1] ** 2)

    size = np.abs(gradient(vectors)).max(axis=(0, 3)).reshape(-1)
    is_before = np.arange(24) < 2 * 4 + 1
    assert np.all(size[~is_before] == 0)
    assert np.all(size[is_before] > 1e-6)


def test_the_class_is_seen_by_all_and_examples_are_apart(run):
    apply, codebooks = run
    logits = np.asarray(apply(CODES, LABELS, codebooks))
    moved = np.abs(np.asarray(apply(CODES, OTHER_LABELS, codebooks)) - logits).max(axis=-1)
    assert np.all(moved[0] < 1e-6)
    assert np.all(moved[1] > 1e-5)


def test_the_last_positions_vector_is_never_read(network, params):
    codebooks = jnp.ones((4, 7, 5))
    loss = jax.jit(jax.grad(lambda p: jnp.sum(network.apply(p, CODES, LABELS, codebooks) ** 2)))
    gradient = np.abs(np.asarray(loss(params)["positions"])).max(axis=-1)
    assert gradient[-1] == 0
    assert np.all(gradient[:-1] > 0)


def test_sampling_steps_give_the_logits_of_the_whole(run):
    apply, codebooks = run
    expected = np.asarray(apply(CODES, LABELS, codebooks))
    sums = rvq.partial_sums(CODES, codebooks)
    # With nothing but zeros from position 3 on, its context is already there.
    known = jnp.where((jnp.arange(6) < 3)[None, :, None], sums[..., -1, :], 0.0)
    context = apply(known, LABELS, method="contexts")[:, 3:4]
    for level in (0, 2):
        found = apply(context, sums[:, 3:4, :level], method="logits")
        np.testing.assert_allclose(found[:, 0], expected[:, 3, : level + 1], atol=1e-5)


def test_dropout_needs_a_key_and_changes_the_logits():
    spec = rq_transformer.Spec(
        width=12, num_heads=3, num_body_layers=1, num_head_layers=1, dropout_rate=0.5
    )
    network = rq_transformer.make(spec, SPACE)
    params = tiny.random_params(network)
    apply = jax.jit(network.apply)
    codebooks = jnp.ones((4, 7, 5))
    plain = apply(params, CODES, LABELS, codebooks)
    np.testing.assert_array_equal(plain, apply(params, CODES, LABELS, codebooks, None))
    rows = [keys.example_keys(jax.random.key(i), jnp.arange(2)) for i in (0, 0, 1)]
    dropped = [apply(params, CODES, LABELS, codebooks, row_keys) for row_keys in rows]
    np.testing.assert_array_equal(dropped[0], dropped[1])
    assert np.abs(dropped[0] - plain).max() > 1e-3
    assert np.abs(dropped[0] - dropped[2]).max() > 1e-3


@pytest.mark.parametrize(
    ("width", "num_heads", "num_body_layers", "num_head_layers", "millions"),
    [
        (1536, 24, 12, 4, 480.9),
        (1536, 24, 24, 4, 820.9),
        (1536, 24, 42, 6, 1387.5),
        (2560, 40, 42, 6, 3822.5),
    ],
)
def test_the_published_sizes(width, num_heads, num_body_layers, num_head_layers, millions):
    spec = rq_transformer.Spec(width, num_heads, num_body_layers, num_head_layers)
    space = spaces.image_codes((8, 8), 4, 16384, 256, 1000)
    network = rq_transformer.make(spec, space)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    assert trees.num_parameters(shapes) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 10, "num_heads": 4}, "width 10 is not a multiple of num_heads 4; use 8"),
        ({"num_head_layers": 0}, "num_head_layers is 0"),
        ({"dropout_rate": 1.0}, "outside"),
        ({"remat": "ful"}, "did you mean 'full'"),
    ],
)
def test_mistakes_are_told(fields, message):
    with pytest.raises(errors.UserError, match=message):
        rq_transformer.Spec(**fields)
