"""Measuring images in files: samples against a reference, and statistics for later."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, cast

from resgen_jax.convert import weights
from resgen_jax.core import errors
from resgen_jax.data import sources, spread
from resgen_jax.evaluation import archive, distances, features, reference, samples
from resgen_jax.io import files
from resgen_jax.metrics import frechet
from resgen_jax.runs import evaluation_request, measuring, open_run, progress, run_directory
from resgen_jax.runtime import mesh as meshes

INCEPTION, ALL = "inception", "all"
CROP = "adm"  # of a folder of reference images
NUM_THREADS = 4  # that decode files ahead of the devices


def samples_of_file(request: evaluation_request.Request) -> dict[str, Any]:
    """Metrics of `--samples` against `--reference`."""
    file = cast(str, request.samples)
    opened = samples.open_images(file, note=progress.say)
    shape = opened.image_shape
    source: sources.Source = opened
    if request.num_images:
        source = spread.Spread(opened, request.num_images)
    _check_count("samples", source)
    extractors = open_extractors(request)
    read = read_references(request, extractors, shape, request.crop or CROP)
    collected = _collect("samples", extractors, source, request.batch_size)
    metrics: dict[str, float] = {}
    for extractor, (compared, _), found in zip(extractors, read, collected, strict=True):
        measured = distances.measure(
            extractor,
            found,
            compared,
            manifolds=manifolds(request),
            note=progress.say,
            sharding=measuring.batch_sharding(extractor),
        )
        distances.check_apart(extractor.network.distance_name, measured, compared)
        metrics |= measured
    return {
        "measured": "samples",
        "samples": {
            "file": file,
            "sha256": _sha256(file),
            "num_images": len(source),
            "image_size": list(shape[:2]),
        },
        "sampler": samples.sampler_of(file),
        "metrics": metrics,
        "reference": one_or_all([described for _, described in read]),
        "features": one_or_all([describe(extractor) for extractor in extractors]),
    }


def write_reference(request: evaluation_request.Request) -> dict[str, Any]:
    """The file of statistics; there is no metric to record."""
    path, folder = pathlib.Path(cast(str, request.write_reference)), cast(str, request.images)
    if path.suffix != ".npz":
        raise errors.UserError(f"--write_reference is {path}; expected a name that ends in .npz")
    if request.image_size is None and request.crop:
        raise errors.UserError("--crop needs --image_size, the side that images are cropped to")
    run_directory.check_writable(path.parent, path.name)
    crop = request.crop or CROP
    source = samples.open_images(folder, request.image_size, crop, progress.say)
    _check_count("images", source)
    if request.features == ALL:
        raise errors.UserError(
            "--features=all: a file holds statistics of one network; name it, and write one each"
        )
    extractor = open_extractor(request)
    (collected,) = _collect(
        "statistics",
        [extractor],
        source,
        request.batch_size,
        kept=reference.kept_rows(len(source)),
    )
    if told := frechet.shortage(len(source), extractor.network.num_features):
        progress.say(told)
    facts = reference.facts_of(
        extractor,
        source.image_shape,
        num_images=len(source),
        crop=crop if request.image_size else None,
        source=str(pathlib.Path(folder).absolute()),
    )
    reference.write(path, reference.of(collected, facts), source)
    progress.result(
        f"statistics: {path} ({len(source)} images of {facts['image_size']}, "
        f"{facts['network']}, {facts['num_features']} features)"
    )
    return {}


def open_extractors(request: evaluation_request.Request) -> list[features.Extractor]:
    """The networks in whose features samples are measured, on all devices.

    The one that the flags name, or else all whose weights are at hand; but a file of statistics is
    of one network. Without any, the message of Inception's weights says what to do.
    """
    if request.features and request.features != ALL:
        return [open_extractor(request)]
    names = weights.features_at_hand(request.weights)
    if not names:
        return [open_extractor(dataclasses.replace(request, features=INCEPTION))]
    if statistics := _statistics_in(request.reference):
        said = reference.network_in(statistics)
        names = (said,) if said in weights.FEATURE_NETWORKS else names[:1]  # refused when read
    return [open_extractor(dataclasses.replace(request, features=name)) for name in names]


def open_extractor(request: evaluation_request.Request) -> features.Extractor:
    """The network that the flags name, or Inception, on all devices."""
    if request.features == "none":
        raise errors.UserError("--features=none is for tokenizers; name a network")
    mesh = meshes.make(meshes.Spec())
    return measuring.open_extractor(request.features or INCEPTION, request.weights, mesh)


def one_or_all(found: list[dict[str, Any]]) -> Any:
    """What a record says of networks: of one its facts, of several a list of them."""
    return found[0] if len(found) == 1 else found


def manifolds(request: evaluation_request.Request) -> distances.Manifolds:
    """How precision and recall are taken."""
    return distances.WITH_ADM if request.adm_manifolds else distances.FLOAT32


def read_references(
    request: evaluation_request.Request,
    extractors: Sequence[features.Extractor],
    shape: Sequence[int],
    crop: str,
) -> list[tuple[reference.Reference, dict[str, Any]]]:
    """What `--reference` names, and what the record says of it, for each network.

    `shape` is that of the samples, `crop` that of a folder's images. Raises UserError for images of
    another size.
    """
    path = pathlib.Path(cast(str, request.reference))
    if _statistics_in(request.reference):
        found = [_read_statistics(request, path, extractor, shape) for extractor in extractors]
    else:
        found = _measure_images(request, path, extractors, shape, crop)
    sha256 = _sha256(path)
    return [(one, {"file": str(path), "sha256": sha256, **one.facts}) for one in found]


def _statistics_in(path: str | None) -> pathlib.Path | None:
    """The path, where it is of a file of statistics."""
    place = pathlib.Path(path) if path else None
    is_file = place is not None and not place.is_dir() and "mu" in archive.names(place)
    return place if is_file else None


def _read_statistics(request, path, extractor, shape) -> reference.Reference:
    compared = reference.read(path, extractor)
    images = reference.images_in(path)
    size = compared.facts.get("image_size")
    if not size and images is not None:
        size = list(images.image_shape[:2])
    _check_size(path, size, shape)
    if compared.features is None and images is not None:
        (found,) = _collect("reference", [extractor], images, request.batch_size)
        compared = compared._replace(features=found.features)
    return compared


def _measure_images(request, path, extractors, shape, crop) -> list[reference.Reference]:
    if shape[0] != shape[1] and path.is_dir():
        raise errors.UserError(
            f"samples are {shape[0]} x {shape[1]}, but a folder is cropped to squares; give "
            "the reference as an NPZ file"
        )
    source = samples.open_images(str(request.reference), shape[0], crop, progress.say)
    _check_size(path, source.image_shape[:2], shape)
    _check_count("reference", source)
    kept = reference.kept_rows(len(source))
    collected = _collect("reference", extractors, source, request.batch_size, kept=kept)
    facts = {"num_images": len(source), "crop": crop if path.is_dir() else None}
    return [
        reference.of(found, reference.facts_of(extractor, source.image_shape, **facts))
        for extractor, found in zip(extractors, collected, strict=True)
    ]


def describe(extractor: features.Extractor) -> dict[str, Any]:
    """What the record says of the network."""
    return {
        "network": extractor.network.name,
        "num_features": extractor.network.num_features,
        "weights": extractor.weights,
        "sha256": extractor.sha256,
    }


def _collect(name, extractors, source, batch_size, kept=None) -> list[features.Collected]:
    batch_size = open_run.batch_for(extractors[0].mesh, batch_size, len(source))
    with progress.phase(name, -(-len(source) // batch_size)) as report:
        return features.collect_all(
            extractors,
            source,
            batch_size=batch_size,
            kept=kept,
            num_threads=NUM_THREADS,
            report=report,
        )


def _check_count(name: str, source: sources.Source) -> None:
    if len(source) < 2:
        raise errors.UserError(f"1 image ({name}) has no covariance; give at least 2")


def _check_size(path: pathlib.Path, size: Sequence[int] | None, shape: Sequence[int]) -> None:
    if size is not None and list(size) != list(shape[:2]):
        raise errors.UserError(
            f"the reference {path} is of images of {size[0]} x {size[1]}, but the samples are "
            f"{shape[0]} x {shape[1]}; take a reference of that size (write one with "
            "`resgen evaluate --write_reference=FILE --images=DIR --image_size=SIDE`)"
        )


def _sha256(path: str | pathlib.Path) -> str:
    path = pathlib.Path(path)
    return reference.folder_sha256(path) if path.is_dir() else files.sha256(path)
