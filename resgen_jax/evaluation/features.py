"""Features of images by a frozen network, on all devices of a mesh, gathered on the host."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, UInt8

from resgen_jax.core import errors, trees
from resgen_jax.data import pipeline
from resgen_jax.data.sources import Source
from resgen_jax.features import interface
from resgen_jax.metrics import frechet
from resgen_jax.runtime import mesh as meshes

PyTree = Any


class Collected(NamedTuple):
    """What is known of a set of images; each moment in float64, so in no order."""

    moments: frechet.Moments
    spatial: frechet.Moments | None  # None where the network has no spatial features
    features: Float[np.ndarray, "z f"]  # of the rows that were to be kept
    logits: Float[np.ndarray, "n k"] | None


class Extractor:
    """A frozen network with its weights on all devices; compiles once for each size of a batch."""

    def __init__(
        self,
        network: interface.FeatureNetwork,
        params: PyTree,
        mesh: Mesh,
        weights: Mapping[str, str] | None = None,
    ):
        """`weights` names the files they came from, with their checksums."""
        self.network, self.mesh, self.weights = network, mesh, dict(weights or {})
        self.sha256 = fingerprint(params)
        self._params = jax.device_put(params, meshes.replicated(mesh))
        self._run = program(network, mesh)

    def __call__(self, images: UInt8[Array, "b h w c"], is_valid: Bool[Array, "b"]) -> Any:
        """The network's outputs, gray images taken as colour, and `is_valid`, whole everywhere."""
        return self._run(self._params, images, is_valid)


def program(network: interface.FeatureNetwork, mesh: Mesh) -> Any:
    """The jitted function behind `Extractor`, of parameters, images and `is_valid`."""

    def run(params, images, is_valid):
        height, width = images.shape[1:3]
        colour = jnp.broadcast_to(images, (images.shape[0], height, width, 3))
        return network.apply(params, colour.astype(jnp.float32)), is_valid

    # Every process gets all rows, so that each adds up the same.
    return jax.jit(run, out_shardings=meshes.replicated(mesh))


class Collector:
    """Adds up batches, one behind the devices."""

    def __init__(self, extractor: Extractor, kept: Collection[int] | None = None):
        """`kept` are the numbers of the rows whose features stay; None keeps all."""
        self._extractor, self._kept = extractor, None if kept is None else frozenset(kept)
        self._moments = frechet.start(extractor.network.num_features)
        self._spatial: frechet.Moments | None = None
        self._features: list[np.ndarray] = []
        self._logits: list[np.ndarray] = []
        self._pending: Any = None

    def add(self, images: UInt8[Array, "b h w c"], is_valid: Bool[Array, "b"]) -> None:
        """Count the valid rows of a global batch."""
        outputs = self._extractor(images, is_valid)
        self._settle()
        self._pending = outputs

    def finish(self) -> Collected:
        """What the batches added up to; UserError if there was no valid row."""
        self._settle()
        if not self._moments.num_rows:
            raise errors.UserError("no image to measure; give at least one")
        empty = np.zeros((0, self._extractor.network.num_features), np.float32)
        return Collected(
            self._moments,
            self._spatial,
            np.concatenate([empty, *self._features]),
            np.concatenate(self._logits) if self._logits else None,
        )

    def _settle(self) -> None:
        if self._pending is None:
            return
        outputs, is_valid = jax.device_get(self._pending)
        self._pending = None
        features = outputs.features[is_valid]
        if not np.isfinite(features).all():
            num_bad = int(np.sum(~np.isfinite(features).all(axis=1)))
            raise errors.UserError(
                f"the features of {num_bad} images hold NaN or infinity; check the images and the "
                f"weights of {self._extractor.network.name}"
            )
        first = self._moments.num_rows
        self._moments = frechet.accumulate(self._moments, features)
        is_kept = [self._kept is None or first + row in self._kept for row in range(len(features))]
        self._features.append(features[np.array(is_kept, bool)])
        if outputs.spatial is not None:
            spatial = outputs.spatial[is_valid]
            before = frechet.start(spatial.shape[1]) if self._spatial is None else self._spatial
            self._spatial = frechet.accumulate(before, spatial)
        if outputs.logits is not None:
            self._logits.append(outputs.logits[is_valid])


def collect(extractor: Extractor, source: Source, **settings: Any) -> Collected:
    """Features of every image of a source, by one network; `settings` as of `collect_all`."""
    return collect_all([extractor], source, **settings)[0]


def collect_all(
    extractors: Sequence[Extractor],
    source: Source,
    *,
    batch_size: int,
    kept: Collection[int] | None = None,
    num_threads: int = 0,
    report: Callable[[int], None] = lambda done: None,
) -> list[Collected]:
    """Features of every image of a source by networks on one mesh; each image is read once.

    `batch_size` counts the images of all processes and is a multiple of the mesh's shards. `report`
    hears how many batches are done.
    """
    mesh = extractors[0].mesh
    collectors = [Collector(extractor, kept) for extractor in extractors]
    batches = pipeline.epoch(
        source,
        batch_size=batch_size,
        num_threads=num_threads,
        rows=meshes.rows_here(mesh, batch_size),
    )
    for number, rows in enumerate(batches):
        batch = meshes.put_batch(mesh, {name: rows[name] for name in ("images", "is_valid")})
        for collector in collectors:
            collector.add(batch["images"], batch["is_valid"])
        report(number + 1)
    return [collector.finish() for collector in collectors]


def fingerprint(params: PyTree) -> str:
    """sha256 of all parameters with their names, whatever file they came from."""
    digest = hashlib.sha256()
    for name, leaf in sorted(trees.named_leaves(params).items()):
        values = np.asarray(leaf)
        digest.update(f"{name} {values.dtype} {values.shape};".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
