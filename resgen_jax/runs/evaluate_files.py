"""Measuring images in files: samples against a reference, and statistics for later."""

import pathlib
from collections.abc import Sequence
from typing import Any, cast

from resgen_jax.core import errors
from resgen_jax.data import sources, spread
from resgen_jax.evaluation import archive, distances, features, reference, samples
from resgen_jax.io import files
from resgen_jax.metrics import frechet
from resgen_jax.runs import evaluation_request, measuring, open_run, progress, run_directory
from resgen_jax.runtime import mesh as meshes

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
    extractor = open_extractor(request)
    compared, described = read_reference(request, extractor, shape, request.crop or CROP)
    collected = _collect("samples", extractor, source, request.batch_size)
    metrics = distances.measure(
        extractor,
        collected,
        compared,
        manifolds=manifolds(request),
        note=progress.say,
        sharding=measuring.batch_sharding(extractor),
    )
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
        "reference": described,
        "features": describe(extractor),
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
    extractor = open_extractor(request)
    collected = _collect(
        "statistics",
        extractor,
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


def open_extractor(request: evaluation_request.Request) -> features.Extractor:
    """The network that the flags name, on all devices."""
    if request.features == "none":
        raise errors.UserError("--features=none is for tokenizers; name a network")
    mesh = meshes.make(meshes.Spec())
    return measuring.open_extractor(request.features or "inception", request.weights, mesh)


def manifolds(request: evaluation_request.Request) -> distances.Manifolds:
    """How precision and recall are taken."""
    return distances.WITH_ADM if request.adm_manifolds else distances.FLOAT32


def read_reference(
    request: evaluation_request.Request,
    extractor: features.Extractor,
    shape: Sequence[int],
    crop: str,
) -> tuple[reference.Reference, dict[str, Any]]:
    """What `--reference` names, and what the record says of it; `shape` is that of the samples.

    `crop` is that of a folder's images. Raises UserError for images of another size.
    """
    path = pathlib.Path(cast(str, request.reference))
    if not path.is_dir() and "mu" in archive.names(path):
        compared = reference.read(path, extractor)
        images = reference.images_in(path)
        size = compared.facts.get("image_size")
        if not size and images is not None:
            size = list(images.image_shape[:2])
        _check_size(path, size, shape)
        if compared.features is None and images is not None:
            found = _collect("reference", extractor, images, request.batch_size)
            compared = compared._replace(features=found.features)
    else:
        if shape[0] != shape[1] and path.is_dir():
            raise errors.UserError(
                f"samples are {shape[0]} x {shape[1]}, but a folder is cropped to squares; give "
                "the reference as an NPZ file"
            )
        source = samples.open_images(cast(str, request.reference), shape[0], crop, progress.say)
        _check_size(path, source.image_shape[:2], shape)
        _check_count("reference", source)
        kept = reference.kept_rows(len(source))
        found = _collect("reference", extractor, source, request.batch_size, kept=kept)
        compared = reference.of(
            found,
            reference.facts_of(
                extractor,
                source.image_shape,
                num_images=len(source),
                crop=crop if path.is_dir() else None,
            ),
        )
    return compared, {"file": str(path), "sha256": _sha256(path), **compared.facts}


def describe(extractor: features.Extractor) -> dict[str, Any]:
    """What the record says of the network."""
    return {
        "network": extractor.network.name,
        "num_features": extractor.network.num_features,
        "weights": extractor.weights,
        "sha256": extractor.sha256,
    }


def _collect(name, extractor, source, batch_size, kept=None) -> features.Collected:
    batch_size = open_run.batch_for(extractor.mesh, batch_size, len(source))
    with progress.phase(name, -(-len(source) // batch_size)) as report:
        return features.collect(
            extractor,
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
