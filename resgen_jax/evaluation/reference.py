"""Statistics of the images that others are compared with: computed, written, read and checked."""

import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from resgen_jax.core import errors
from resgen_jax.data import pipeline, sources, spread
from resgen_jax.evaluation import archive, features, samples
from resgen_jax.io import files, json_files, paths
from resgen_jax.metrics import frechet

NUM_KEPT = 10_000  # reference images that precision and recall take, as in the ADM evaluator
META, KEPT, IMAGES = "meta", "features", "arr_0"
ADM_NETWORK = "the Inception network of the ADM evaluator"


class Gaussian(NamedTuple):
    """Mean and covariance of some features."""

    mean: Float[np.ndarray, "f"]
    cov: Float[np.ndarray, "f f"]


class Reference(NamedTuple):
    """What samples are compared with."""

    pooled: Gaussian
    spatial: Gaussian | None
    features: Float[np.ndarray, "n f"] | None  # of up to 10,000 images
    facts: dict[str, Any]  # network, sha256 of its weights, image size, crop, number of images


def of(collected: features.Collected, facts: Mapping[str, Any]) -> Reference:
    """The statistics of collected images."""
    kept = collected.features if len(collected.features) else None
    spatial = collected.spatial and gaussian(collected.spatial)
    return Reference(gaussian(collected.moments), spatial, kept, dict(facts))


def gaussian(moments: frechet.Moments) -> Gaussian:
    """The Gaussian with these moments."""
    return Gaussian(moments.mean, frechet.covariance(moments))


def facts_of(extractor: features.Extractor, image_shape: tuple[int, ...], **more: Any) -> dict:
    """What a file of statistics says of itself."""
    return {
        "network": extractor.network.name,
        "num_features": extractor.network.num_features,
        "weights_sha256": extractor.sha256,
        "image_size": list(image_shape[:2]),
        **more,
    }


def kept_rows(num_images: int) -> tuple[int, ...]:
    """The rows whose features are kept: up to 10,000, evenly spread."""
    return spread.Spread(range(num_images), NUM_KEPT).chosen


def write(path: paths.Path, reference: Reference, source: sources.Source | None = None) -> None:
    """A file of statistics, with the images of `source` (up to 10,000) as the ADM evaluator wants.

    Written by the first process; the others take their part in nothing.
    """
    with archive.writing(path, is_on=jax.process_index() == 0) as out:
        out.array(META, json.dumps(reference.facts))
        for gaussian_, suffix in ((reference.pooled, ""), (reference.spatial, "_s")):
            if gaussian_ is not None:
                out.array(f"mu{suffix}", gaussian_.mean)
                out.array(f"sigma{suffix}", gaussian_.cov)
        if reference.features is not None:
            out.array(KEPT, reference.features)
        if source is not None and jax.process_index() == 0:
            _write_images(out, source)


def read(path: pathlib.Path, extractor: features.Extractor) -> Reference:
    """The statistics in a file of ours or of the ADM evaluator, whose features are not computed.

    Raises UserError, naming both, for statistics of another network, of other weights, or of
    another number of features.
    """
    held = archive.names(path)
    if missing := sorted({"mu", "sigma"} - set(held)):
        raise errors.UserError(
            f"{path} holds no {' and no '.join(missing)} (it holds {', '.join(held)}); write "
            "statistics with `resgen evaluate --write_reference=FILE --images=DIR`"
        )
    facts = _read_facts(path) if META in held else {}
    pooled = _read_gaussian(path, "")
    _check_network(path, facts, len(pooled.mean), extractor)
    return Reference(
        pooled,
        _read_gaussian(path, "_s") if {"mu_s", "sigma_s"} <= set(held) else None,
        np.asarray(archive.read(path, KEPT)) if KEPT in held else None,
        facts,
    )


def network_in(path: pathlib.Path) -> str:
    """The name of the network that a file's statistics are of; of the ADM evaluator's Inception."""
    facts = _read_facts(path) if META in archive.names(path) else {}
    return str(facts.get("network", "inception"))


def images_in(path: pathlib.Path) -> samples.ArrayImages | None:
    """The reference images of a file, as the ADM evaluator's have them for precision and recall."""
    if IMAGES not in archive.names(path):
        return None
    return samples.of_array(archive.read(path, IMAGES), f"{IMAGES} of {path}")


def cached(
    path: paths.Path,
    extractor: features.Extractor,
    facts: Mapping[str, Any],
    build: Callable[[], features.Collected],
) -> Reference:
    """The statistics at `path` if they are of these facts; else they are built and written."""
    facts = json.loads(json.dumps(dict(facts)))
    if path.is_file():
        try:
            with paths.reading(path) as file:
                found = read(file, extractor)
        except errors.UserError:  # of another network, or damaged: a cache is only built anew
            pass
        else:
            if found.facts == facts:
                return found
    built = of(build(), facts)
    write(path, built)
    return built


def folder_sha256(place: pathlib.Path) -> str:
    """One checksum of all image files below a folder and of their names, whatever holds it."""
    digest = hashlib.sha256()
    for file in samples.look_below(place).files:
        line = f"{file.relative_to(place).as_posix()} {files.sha256(file)}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _read_facts(path: pathlib.Path) -> dict[str, Any]:
    try:
        facts = json_files.parse(str(archive.read(path, META)))
    except ValueError:  # another program's; a UserError is one too, and tells less than this
        facts = None
    if not isinstance(facts, dict):
        raise errors.UserError(
            f"{META} of {path} is not what `resgen evaluate --write_reference` puts there; write "
            "the statistics anew, or leave that array out"
        )
    return facts


def _read_gaussian(path: pathlib.Path, suffix: str) -> Gaussian:
    mean, cov = (
        np.asarray(archive.read(path, name + suffix), np.float64) for name in ("mu", "sigma")
    )
    if mean.ndim != 1 or cov.shape != 2 * mean.shape:
        raise errors.UserError(
            f"mu{suffix} of {path} has shape {mean.shape} and sigma{suffix} {cov.shape}; expected "
            "f and f x f"
        )
    return Gaussian(mean, cov)


def _check_network(
    path: pathlib.Path, facts: Mapping[str, Any], num_features: int, extractor: features.Extractor
) -> None:
    network = extractor.network
    theirs = facts.get("network", ADM_NETWORK)
    is_adm = "network" not in facts and network.distance_name == "FID"
    if num_features != network.num_features or not (is_adm or theirs == network.name):
        raise errors.UserError(
            f"{path} holds statistics of {num_features} features of {theirs}, but the features "
            f"here are {network.num_features} of {network.name}; name statistics of that network, "
            "or choose the other with --features"
        )
    sha256 = facts.get("weights_sha256", extractor.sha256)
    if sha256 != extractor.sha256:
        raise errors.UserError(
            f"{path} holds statistics of {theirs} with weights of sha256 {sha256[:12]}..., but the "
            f"weights here have {extractor.sha256[:12]}...; use the same weights, or write the "
            "statistics anew"
        )


def _write_images(out: archive.Writer, source: sources.Source) -> None:
    chosen = spread.Spread(source, NUM_KEPT)
    shape = (len(chosen), *np.shape(chosen[0]["images"]))
    with out.rows(IMAGES, np.uint8, shape) as append:
        for batch in pipeline.epoch(chosen, batch_size=64):
            append(batch["images"][batch["is_valid"]])
