"""What `resgen evaluate` and evaluation while training do alike: networks, references, figures."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int

from resgen_jax.convert import weights
from resgen_jax.data import sources, spread
from resgen_jax.evaluation import distances, features, probe, reconstruction, reference
from resgen_jax.features import lpips
from resgen_jax.io import paths
from resgen_jax.runs import open_run, progress, reconstruct, sampling
from resgen_jax.runtime import mesh as meshes

LPIPS_BACKBONE = "squeeze"
# The names of figures of `reconstruction`, as a record has them.
NAMES = {"psnr": "PSNR", "ssim": "SSIM", f"lpips_{LPIPS_BACKBONE}": f"LPIPS-{LPIPS_BACKBONE}"}
NUM_JUDGED = 2000  # held-out images that say how far a judge can be trusted
Report = Callable[[int], None]
Phase = Callable[[str, int], Any]  # name and total -> a context that gives a Report


def open_extractor(name: str, directory: str | None, mesh: Mesh) -> features.Extractor:
    """The feature network `name` with its weights, on the devices of a mesh."""
    network, params = weights.load_features(name, directory)
    return features.Extractor(network, params, mesh, weights.feature_fingerprints(name, directory))


def has_lpips(directory: str | None, image_size: int) -> bool:
    """Whether LPIPS can be measured: its weights are there, and the images large enough."""
    is_large = image_size >= lpips.BACKBONES[LPIPS_BACKBONE].smallest_side
    folder = weights.folder_of(directory)
    sets = weights.TABLE[f"lpips_{LPIPS_BACKBONE}"].file_sets(f"lpips_{LPIPS_BACKBONE}")
    return is_large and any(all((folder / file).is_file() for file in files) for files in sets)


def lpips_measure(directory: str | None) -> reconstruction.Measure:
    """LPIPS as a measure of reconstructions; gray images are taken as colour."""
    network, params = weights.load_lpips(LPIPS_BACKBONE, directory)

    def distance(params, images, originals):
        colour = [
            jnp.broadcast_to(values, (*values.shape[:-1], 3)) for values in (images, originals)
        ]
        with jax.default_matmul_precision("highest"):  # as a loss it may be coarse, not as a figure
            return network.distance(params, *colour)

    return reconstruction.Measure(distance, params)


def reference_of(
    workdir: str | os.PathLike,
    split: str,
    dataset: sources.Dataset,
    extractor: features.Extractor,
    *,
    num_images: int = 0,
    batch_size: int,
    num_threads: int = 0,
    crop: str = "center",
    phase: Phase = progress.phase,
) -> reference.Reference:
    """Statistics of the images of a run, kept in its directory; `num_images` 0 takes them all.

    `split` is train, with the features of up to 10,000 images for precision and recall, or
    held_out, with none.
    """
    images = {"train": dataset.train, "held_out": dataset.held_out}[split]
    source = spread.Spread(images, num_images) if num_images else images
    size = open_run.batch_for(extractor.mesh, batch_size, len(source))

    def build() -> features.Collected:
        with phase(f"statistics of {split}", -(-len(source) // size)) as report:
            return features.collect(
                extractor,
                source,
                batch_size=size,
                kept=reference.kept_rows(len(source)) if split == "train" else (),
                num_threads=num_threads,
                report=report,
            )

    facts = reference.facts_of(
        extractor,
        np.shape(source[0]["images"]),
        num_images=len(source),
        crop=crop,
        split=split,
        images=images.fingerprint(),
    )
    path = paths.of(workdir) / f"reference_{extractor.network.name}_{split}.npz"
    return reference.cached(path, extractor, facts, build)


def judge_of(
    dataset: sources.Dataset,
    compared: reference.Reference,
    extractor: features.Extractor,
    *,
    num_images: int = 0,
    batch_size: int,
    num_threads: int = 0,
) -> tuple[probe.Probe, dict[str, float]]:
    """A judge of classes by the features that `reference_of` kept, and its held-out accuracy."""
    judge = probe.fit(cast(np.ndarray, compared.features), kept_labels(dataset, num_images))
    held_out = spread.Spread(dataset.held_out, NUM_JUDGED)
    size = open_run.batch_for(extractor.mesh, batch_size, len(held_out))
    with progress.phase("judge", -(-len(held_out) // size)) as report:
        found = features.collect(
            extractor, held_out, batch_size=size, num_threads=num_threads, report=report
        )
    labels = np.array([dataset.held_out.label(number) for number in held_out.chosen])
    end = distances.suffix(extractor.network.distance_name)
    return judge, {f"judge_accuracy{end}": probe.agreement(judge, found.features, labels)}


def kept_labels(dataset: sources.Dataset, num_images: int = 0) -> Int[np.ndarray, "n"]:
    """The classes of the training images whose features `reference_of` kept."""
    train = spread.Spread(dataset.train, num_images or len(dataset.train))
    numbers = np.array(train.chosen)[list(reference.kept_rows(len(train)))]
    return np.array([dataset.train.label(int(number)) for number in numbers], np.int32)


class Reconstructions:
    """A tokenizer measured on the same images again and again; compiled once."""

    def __init__(
        self,
        tokenizer: open_run.TokenizerRun,
        source: sources.Source,
        *,
        batch_size: int,
        depths: tuple[int, ...] = (),
        extractor: features.Extractor | None = None,
        compared: reference.Reference | None = None,
        lpips: reconstruction.Measure | None = None,
    ):
        model = tokenizer.model
        self.depths = reconstruction.check_depths(depths, model.depth)
        self.source = source
        self._batch_size = open_run.batch_for(tokenizer.mesh, batch_size, len(source))
        self._extractor, self._compared = extractor, compared
        measures = reconstruction.measures_for(model.image_size)
        if lpips is not None:
            measures[f"lpips_{LPIPS_BACKBONE}"] = lpips
        self._evaluation = reconstruction.Evaluation(
            reconstruct.reconstruct_by_depth(tokenizer.model, self.depths),
            depth=model.depth,
            codebook_size=model.codebook_size,
            num_depths=len(self.depths),
            measures=measures,
        )

    @property
    def num_batches(self) -> int:
        """How many batches a run takes."""
        return -(-len(self.source) // self._batch_size)

    def run(
        self,
        tokenizer: open_run.TokenizerRun,
        report: Report = lambda done: None,
        note: Callable[[str], None] = lambda text: None,
        show: Callable[[Any, Any], None] = lambda originals, made: None,
    ) -> dict[str, Any]:
        """The figures of this state of the tokenizer, `<name>_by_depth` for each of the depths.

        Distances are to the reference, by the names of `distances.measure` with r before them.
        `show` is given every batch, and what its codes give back at these depths, in bytes.
        """
        collectors = [
            features.Collector(self._extractor, ()) for _ in self.depths if self._extractor
        ]

        def see(originals, made, is_valid):
            show(originals, made)
            for index, collector in enumerate(collectors):
                collector.add(made[:, index], is_valid)

        with jax.set_mesh(tokenizer.mesh):  # the quantizer bounds its memory by the device
            figures = self._evaluation.run(
                (tokenizer.params, tokenizer.statistics),
                reconstruct.batches(tokenizer, self.source, self._batch_size, report),
                see,
            )
        figures["depths"] = list(self.depths)
        found = [
            distances.measure(
                cast(features.Extractor, self._extractor),  # collectors have one
                collector.finish(),
                cast(reference.Reference, self._compared),
                prefix="r",
                note=note if index == 0 else lambda text: None,
            )
            for index, collector in enumerate(collectors)
        ]
        for name in found[-1] if found else ():
            figures[f"{name}_by_depth"] = [metrics[name] for metrics in found]
            figures[name] = found[-1][name]
        return figures


def collect_samples(
    extractors: Sequence[features.Extractor],
    batches: Iterable[sampling.Batch],
    *,
    keeps_features: bool,
    report: Report = lambda done: None,
) -> list[features.Collected]:
    """Features of samples as they are drawn, by networks on one mesh; each sample is decoded once.

    `report` hears how many samples are done.
    """
    kept = None if keeps_features else ()
    collectors, done = [features.Collector(extractor, kept) for extractor in extractors], 0
    for batch in batches:
        is_valid = np.arange(batch.images.shape[0]) < batch.count
        rows = open_run.put_rows(extractors[0].mesh, {"is_valid": is_valid})
        for collector in collectors:
            collector.add(batch.images, rows["is_valid"])
        done += batch.count
        report(done)
    return [collector.finish() for collector in collectors]


def batch_sharding(extractor: features.Extractor) -> jax.sharding.NamedSharding:
    """How rows lie on the extractor's devices."""
    return meshes.batch_sharding(extractor.mesh)
