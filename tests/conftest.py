"""Settings of every test: strict promotion, checked types, 8 CPU devices, a compile cache."""

import pathlib

import jax
import jaxtyping
import pytest

# Before any import of the package: the hook checks each annotated call while the tests run.
jaxtyping.install_import_hook("resgen_jax", "beartype.beartype")

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

CACHE = pathlib.Path(__file__).parents[1] / ".jax_cache"
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

from flax import nnx  # noqa: E402  (after the settings above)

nnx.use_eager_sharding(False)


@pytest.fixture
def key():
    """A random key; derive others by `jax.random.fold_in` or `keys.named_keys`."""
    return jax.random.key(0)
