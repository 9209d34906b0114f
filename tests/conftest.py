"""Settings of every test: strict promotion, checked types, 8 CPU devices, a compile cache."""

import os
import pathlib
import sys

# Tests compile far longer than they compute, and without LLVM's optimizations in half the time.
# In the environment, for the processes that tests start.
os.environ["XLA_FLAGS"] = f"--xla_backend_optimization_level=0 {os.environ.get('XLA_FLAGS', '')}"

import jax
import jaxtyping
import pytest

# Before any import of the package: the hook checks each annotated call while the tests run.
jaxtyping.install_import_hook("resgen_jax", "beartype.beartype")

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# What several test files share, and the commands beside PyTorch; they have no package of their own.
sys.path[:0] = [str(pathlib.Path(__file__).parent / name) for name in ("helpers", "benchmarks")]

CACHE = pathlib.Path(__file__).parents[1] / ".jax_cache"
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE)  # of the processes that tests start, too
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

from flax import nnx  # noqa: E402  (after the settings above)

nnx.use_eager_sharding(False)

pytest_plugins = ["places_of_runs", "toy_runs"]  # fixtures that several folders share


def pytest_configure(config):
    """Warnings are errors, but for those about annotations that libraries of ours still write."""
    old_names = "ignore::beartype.roar.BeartypeDecorHintPep585DeprecationWarning"
    config.addinivalue_line("filterwarnings", old_names)


@pytest.fixture
def key():
    """A random key; derive others by `jax.random.fold_in` or `keys.named_keys`."""
    return jax.random.key(0)


@pytest.fixture
def single():
    """The mesh of one device."""
    return make_mesh(1, 1, 1)


@pytest.fixture(
    params=[(8, 1, 1), (2, 4, 1), (2, 2, 2)], ids=lambda sizes: "x".join(map(str, sizes))
)
def mesh(request):
    """Each mesh of 8 devices in turn: (data, fsdp, tensor)."""
    return make_mesh(*request.param)


def make_mesh(data, fsdp, tensor):
    from resgen_jax.runtime import mesh as meshes

    devices = jax.devices()[: data * fsdp * tensor]
    return meshes.make(meshes.Spec(data, fsdp, tensor), devices)
