"""Laws of named leaves and of checksums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from resgen_jax.core import trees


def numpy_checksum(array):
    """The definition, with Python's own integers."""
    words = np.ascontiguousarray(array).view(f"u{min(array.dtype.itemsize, 4)}").ravel()
    total = sum(
        int(word) * (place * 2 * 2654435761 + 1) for place, word in enumerate(words.tolist())
    )
    return total % 2**32


ARRAYS = {
    "float32": np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32),
    "bfloat16": np.asarray(jnp.arange(7, dtype=jnp.bfloat16)),
    "int32": np.array([[0, -1], [2**31 - 1, 5]], np.int32),
    "uint8": np.arange(11, dtype=np.uint8),
    "scalar": np.array(1.5, np.float32),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_checksum_equals_its_definition(name):
    array = ARRAYS[name]
    assert int(trees.checksum(jnp.asarray(array))) == numpy_checksum(array)


@pytest.mark.parametrize("name", ["float32", "bfloat16", "uint8"])
def test_every_flipped_bit_shows(name):
    array = ARRAYS[name]
    data = np.frombuffer(array.tobytes(), np.uint8)
    flips = np.repeat(data[None], data.size * 8, axis=0)
    bits = np.arange(data.size * 8)
    flips[bits, bits // 8] ^= (1 << (bits % 8)).astype(np.uint8)
    changed = flips.view(array.dtype).reshape(-1, *array.shape)
    # As words, so that a NaN made by a flip is not tidied up on the way.
    sums = jax.jit(jax.vmap(trees.checksum))(jnp.asarray(changed))
    assert np.all(np.asarray(sums) != int(trees.checksum(jnp.asarray(array))))


def test_exchanged_words_show():
    array = ARRAYS["float32"]
    swapped = array.copy()
    swapped[0, 0], swapped[2, 3] = array[2, 3], array[0, 0]
    assert int(trees.checksum(jnp.asarray(array))) != int(trees.checksum(jnp.asarray(swapped)))


def test_every_mesh_computes_the_same_checksum(mesh):
    array = jax.random.normal(jax.random.key(0), (16, 8))
    expected = trees.checksum(array)
    for spec in [("data", "fsdp"), (("data", "fsdp"), "tensor"), (None, "fsdp")]:
        placed = jax.device_put(array, NamedSharding(mesh, PartitionSpec(*spec)))
        assert int(jax.jit(trees.checksum)(placed)) == int(expected)


def test_keys_and_booleans_have_checksums():
    tree = {"key": jax.random.key(3), "mask": jnp.array([True, False])}
    other = {"key": jax.random.key(4), "mask": jnp.array([False, True])}
    for name in tree:
        one, two = trees.checksums(tree)[name], trees.checksums(other)[name]
        assert one.dtype == jnp.uint32
        assert int(one) != int(two)


def test_leaves_are_named_by_their_path():
    tree = {"b": [np.zeros(2), np.zeros(3)], "a": {"kernel": np.zeros((4, 5))}}
    named = trees.named_leaves(tree)
    assert [(name, leaf.shape) for name, leaf in named.items()] == [
        ("a/kernel", (4, 5)),
        ("b/0", (2,)),
        ("b/1", (3,)),
    ]
    assert trees.num_parameters(tree) == 25


def test_abstract_leaves_are_counted_without_memory():
    shapes = jax.eval_shape(lambda: {"w": jnp.zeros((10_000, 100_000)), "s": jnp.zeros(())})
    assert trees.num_parameters(shapes) == 10**9 + 1
