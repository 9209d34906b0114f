"""Every learner behind the same functions: stable state, learning, global statistics."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.quantizers import interface, rvq

SPEC = interface.Spec(
    code_dim=4, depth=3, codebook_size=16, decay=0.8, max_distances=32 * 16, learning_rate=0.1
)
FIXED = {"lfq", "fsq"}
learns = pytest.mark.parametrize("learner", sorted({*interface.LEARNERS} - FIXED), indirect=True)


def jitted(learner):
    functions = ("init", "start", "quantize", "update", "codebooks")
    return learner._replace(**{name: jax.jit(getattr(learner, name)) for name in functions})


@pytest.fixture(params=sorted(interface.LEARNERS), scope="module")
def learner(request):
    return jitted(interface.make(request.param, SPEC))


@pytest.fixture
def latents(key):
    """Clusters away from the origin, so that random codebooks fit badly."""
    centres = 3.0 * jax.random.normal(jax.random.fold_in(key, 1), (8, 1, 4))
    return (centres + 0.3 * jax.random.normal(key, (8, 20, 4))).reshape(16, 10, 4)


def remaining(learner, state, latents):
    return float(jnp.mean((latents - learner.quantize(state, latents).quantized) ** 2))


def abstract(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), tree)


def train(learner, state, latents, key, num_steps):
    def step(state, number):
        quantized = learner.quantize(state, latents)
        return learner.update(state, latents, quantized, jax.random.fold_in(key, number)), None

    return jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(num_steps))[0])(state)


@learns
def test_training_lowers_the_error_from_random_codebooks(learner, latents, key):
    state = learner.init(key)
    # The loop is a scan: it would not trace if a step changed the tree, a shape or a dtype.
    trained = train(learner, state, latents, key, 40)
    assert remaining(learner, trained, latents) < 0.5 * remaining(learner, state, latents)


def test_start_and_update_keep_the_state_as_init_makes_it(learner, latents, key):
    state = learner.init(key)
    started = learner.start(state, latents, key)
    assert abstract(started) == abstract(state)
    names = jax.tree.structure(learner.axes, is_leaf=lambda leaf: isinstance(leaf, tuple))
    assert names == jax.tree.structure(state)
    ranks = jax.tree.map(lambda leaf, axes: leaf.ndim == len(axes), state, learner.axes)
    assert all(jax.tree.leaves(ranks))
    # A tree of shardings or names has the state's classes too.
    assert set(jax.tree.leaves(jax.tree.map(lambda leaf: "name", state))) == {"name"}


@learns
def test_the_start_fits_the_codebooks(learner, latents, key):
    state = learner.init(key)
    started = learner.start(state, latents, key)
    assert remaining(learner, started, latents) < 0.1 * remaining(learner, state, latents)


def test_codes_are_plain_rvq_of_the_learners_codebooks(learner, latents, key):
    state = learner.start(learner.init(key), latents, key)
    books = learner.codebooks(state)
    assert books.shape == (3, 16, 4)
    quantized = learner.quantize(state, latents)
    codes, remainder = rvq.encode(latents, books)
    np.testing.assert_array_equal(quantized.codes, codes)
    np.testing.assert_allclose(quantized.quantized, latents - remainder, atol=1e-5)


def test_state_takes_no_gradient(learner, latents, key):
    state = learner.init(key)

    def loss(state, latents):
        quantized = learner.quantize(state, latents)
        state = learner.update(state, latents, quantized, key)
        leaves = (jnp.sum(leaf).astype(jnp.float32) for leaf in jax.tree.leaves(state))
        return jnp.sum(quantized.quantized) + sum(leaves)

    gradient = jax.jit(jax.grad(loss, 1))(state, latents)
    assert (gradient == 0).all()


def assert_close(found, expected):
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    jax.tree.map(close, found, expected)


def test_padding_has_no_part_in_learning(learner, latents, key):
    state = learner.init(key)
    is_valid = jnp.arange(16)[:, None] < jnp.full((1, 10), 12)

    def learn(filler):
        padded = jnp.where(is_valid[..., None], latents, filler)
        return learner.update(state, padded, learner.quantize(state, padded), key, is_valid)

    assert_close(learn(1e3), learn(-7.0))


def test_devices_learn_what_one_learns(learner, latents, key):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    state = learner.init(key)
    quantized = learner.quantize(state, latents)
    expected = learner.update(state, latents, quantized, key)
    found = learner.update(state, *jax.device_put((latents, quantized), rows), key)
    assert_close(found, expected)


def test_a_shared_codebook_is_one(latents, key):
    learner = interface.make("shared_ema", SPEC)
    state = train(learner, learner.init(key), latents, key, 3)
    books = learner.codebooks(state)
    assert state.counts.shape == (1, 16)
    np.testing.assert_array_equal(books[0], books[2])


@pytest.mark.parametrize("num_beams", [1, 4])
def test_more_beams_are_never_further_and_one_is_greedy(num_beams, latents, key):
    plain = interface.make("ema", SPEC)
    state = plain.start(plain.init(key), latents, key)
    learner = interface.make("ema", dataclasses.replace(SPEC, num_beams=num_beams))
    greedy, found = plain.quantize(state, latents), learner.quantize(state, latents)
    books = plain.codebooks(state)
    np.testing.assert_array_equal(found.quantized, rvq.decode(found.codes, books))
    further = [jnp.sum((latents - each.quantized) ** 2, -1) for each in (greedy, found)]
    assert (further[1] <= further[0] + 1e-6).all()
    np.testing.assert_array_equal(greedy.codes, rvq.encode(latents, books)[0])
    assert (found.codes == greedy.codes).all() == (num_beams == 1)


@pytest.mark.parametrize("make", [interface.LEARNERS[name] for name in ("ema", "shared_ema")])
def test_dead_codes_live_at_the_next_step(make, latents, key):
    spec = interface.Spec(code_dim=4, depth=1, codebook_size=8, decay=0.0, restart_threshold=0.5)
    learner = jitted(make(spec))
    state = learner.init(key)
    state = state.replace(sums=state.sums + jnp.full(state.sums.shape, 100.0).at[:, 0].set(0.0))
    first = learner.quantize(state, latents)
    assert len(np.unique(first.codes)) == 1
    state = learner.update(state, latents, first, key)
    # All but the one code that everything chose are restarted, and each finds vectors.
    assert set(range(1, 8)) <= set(np.unique(learner.quantize(state, latents).codes))
    off = jitted(make(dataclasses.replace(spec, restart_threshold=0.0)))
    state = off.update(off.init(key), latents, first, key)
    assert len(np.unique(off.quantize(state, latents).codes)) < 8


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("code_dim", 0),
        ("depth", 0),
        ("codebook_size", 1),
        ("decay", 1.0),
        ("smoothing", -1.0),
        ("restart_threshold", 1.0),
        ("num_start_iterations", -1),
        ("max_distances", 0),
        ("learning_rate", 0.0),
        ("num_beams", 0),
    ],
)
def test_a_bad_spec_names_field_and_value(field, value):
    fields = {"code_dim": 4, "depth": 2, "codebook_size": 8, field: value}
    with pytest.raises(errors.UserError, match=f"{field} is {value}; expected"):
        interface.Spec(**fields)


def test_an_unknown_learner_names_the_nearest():
    with pytest.raises(errors.UserError, match="'probabalistic'; did you mean 'probabilistic'"):
        interface.make("probabalistic", SPEC)
    with pytest.raises(errors.UserError) as caught:
        interface.make("xx", SPEC)
    assert all(name in str(caught.value) for name in interface.LEARNERS)
