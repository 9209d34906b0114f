"""What the demo leaves behind: pictures, metrics.json, and the page that shows them."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from PIL import Image

from resgen_jax.core import durations, shell
from resgen_jax.evaluation import curves, environment, figures, pictures, report
from resgen_jax.runs import progress, reconstruct, remarks, run_directory, sampling
from resgen_jax.runs.demo import evidence, plans
from resgen_jax.training.telemetry import writer

PAGE, METRICS, JUDGED = "report.html", "metrics.json", "judged.json"
SAMPLES, UNMASKING, CURVES, ARRAYS = "samples.png", "unmasking.png", "curves.png", "samples.npz"
DIGITS_TARGETS = {
    "psnr": 22,
    "usage": 0.95,
    "judge_accuracy": 0.97,
    "class_agreement": 0.95,
}


def save_samples(
    workdir: pathlib.Path,
    samples: sampling.Samples,
    by_step: np.ndarray,
    share: np.ndarray,
    shown: np.ndarray,
    class_names: Sequence[str],
) -> None:
    """The arrays, and the pictures of samples and of their unmasking."""
    run_directory.save_arrays(workdir / ARRAYS, **samples._asdict())
    picture = pictures.samples(samples.images, samples.labels, class_names)
    run_directory.save_picture(workdir / SAMPLES, picture)
    names = [str(class_names[label]) for label in shown]
    run_directory.save_picture(workdir / UNMASKING, pictures.unmasking(by_step, share, names))


def read_samples(workdir: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of the samples."""
    with np.load(workdir / ARRAYS) as arrays:
        return arrays["images"], arrays["labels"]


def write(plan: plans.Plan, phases: Sequence[report.Phase]) -> pathlib.Path:
    """curves.png, metrics.json and report.html; the figures are printed too."""
    rebuilt = json.loads((plan.workdir / reconstruct.FIGURES).read_text())
    judged = json.loads((plan.workdir / JUDGED).read_text())
    tokenizer, generator = (
        _curve("Tokenizer", plan.tokenizer_dir),
        _curve("Generator", plan.generator_dir),
    )
    nats = remarks.nats_of_run(plan.generator_dir)
    run_directory.save_picture(
        plan.workdir / CURVES, _curves([tokenizer, generator], rebuilt, nats)
    )
    total, cpu = (sum(getattr(p, name) for p in phases) for name in ("seconds", "cpu_seconds"))
    where = environment.describe()
    settings = {
        "tokenizer": run_directory.flatten(run_directory.to_json(plan.tokenizer)),
        "generator": run_directory.flatten(run_directory.to_json(plan.generator)),
    }
    metrics = {
        "reconstruction": rebuilt,
        "samples": judged,
        "seconds": total,
        "phases": [vars(phase) for phase in phases],
        "settings": settings,
        "environment": where,
    }
    run_directory.write_json(plan.workdir / METRICS, metrics)
    targets = DIGITS_TARGETS if plan.has_targets else {}
    rows = figures.key_figures(rebuilt, judged, targets)
    what = "handwritten digits" if plan.is_digits else f"images of {plan.tokenizer.data.path}"
    size = rebuilt["codebook_size"]
    warnings = remarks.of_depths(rebuilt["psnr_by_depth"])
    warnings += remarks.of_run(plan.generator_dir, size)
    warnings += remarks.of_curve(generator.held_out)
    page = report.Report(
        title="ResGen on " + what,
        headline=f"Both stages trained, sampled and measured in {durations.written(total)} "
        f"({durations.written(cpu)} of CPU time).",
        figures=rows,
        pictures=_pictures(plan.workdir),
        phases=phases,
        commands=_commands(plan),
        settings=settings,
        environment=where,
        remarks=warnings,
    )
    if jax.process_index() == 0:
        report.write(plan.workdir / PAGE, page)
    _print(rows, phases)
    for warning in warnings:
        progress.result(warning)
    return plan.workdir / PAGE


def _curves(
    stages: Sequence[curves.Curve], rebuilt: dict[str, Any], nats: Sequence[float]
) -> Image.Image:
    return curves.draw(
        stages,
        psnr_by_depth=rebuilt["psnr_by_depth"],
        perplexity_by_level=rebuilt["perplexity_by_level"],
        nats_by_level=nats,
        codebook_size=rebuilt["codebook_size"],
    )


def _curve(title: str, workdir: pathlib.Path) -> curves.Curve:
    lines = writer.read(workdir)
    pairs = {
        split: [
            (line["step"], line["loss"])
            for line in lines
            if line["split"] == split and line.get("loss") is not None
        ]
        for split in ("train", "held_out")
    }
    return curves.Curve(title, pairs["train"], pairs["held_out"])


def _pictures(workdir: pathlib.Path) -> list[report.Picture]:
    captions = {
        reconstruct.PICTURE: (
            "Reconstructions",
            "Held-out images above, what their codes give back below: more codes, more detail.",
        ),
        SAMPLES: ("Samples", "New images, a row for each class."),
        evidence.REAL: ("Real images", "Training images, to compare the samples with."),
        evidence.NEIGHBOURS: (
            "Nearest training images",
            "Samples, each beside the training images most like it: new images, or copies?",
        ),
        evidence.FILLED_IN: (
            "Filled in",
            "Held-out images of which the upper half is kept and the lower half drawn anew.",
        ),
        UNMASKING: (
            "Unmasking",
            "What the decoder shows after each sampling step, as more codes are known.",
        ),
        CURVES: (
            "Curves",
            "Losses of both stages, what the tokenizer does with its codes, and how well the "
            "generator knows those of each level.",
        ),
    }
    return [
        report.Picture(title, Image.open(workdir / name).copy(), caption)
        for name, (title, caption) in captions.items()
        if (workdir / name).exists()  # a grid of one position has no half to fill in
    ]


def _commands(plan: plans.Plan) -> list[report.Command]:
    in_generator = shell.written("workdir", plan.generator_dir)
    longer = 2 * plan.generator.train.num_steps
    return [
        report.Command(
            "Draw more samples, with stronger guidance:",
            f"resgen sample {in_generator} --num_samples=200 --guidance_scale=2",
        ),
        report.Command(
            "Keep the upper half of held-out images and fill in the rest:",
            f"resgen sample {in_generator} --keep=0:{_half(plan)},: --keep_from=held-out",
        ),
        report.Command(
            "Train the generator longer:",
            f"resgen train {shell.written('config', plan.generator.source)} "
            f"{shell.written('config.data.codes', plan.codes_dir)} "
            f"--config.train.num_steps={longer} "
            f"{shell.written('workdir', f'{plan.generator_dir}-longer')}",
        ),
        report.Command(
            "Look at the tokenizer's reconstructions again:",
            f"resgen reconstruct {shell.written('workdir', plan.tokenizer_dir)}",
        ),
        report.Command(
            "Do all this on your own images, one subfolder for each class:",
            "resgen demo --images=DIR --workdir=runs/mine",
        ),
    ]


def _half(plan: plans.Plan) -> int:
    described = json.loads((plan.codes_dir / "codes.json").read_text())
    return max(1, described["grid"][0] // 2)


def _print(rows: Sequence[figures.Figure], phases: Sequence[report.Phase]) -> None:
    for row in rows:
        mark = {True: "  ok", False: "  below its goal", None: ""}[row.is_met]
        progress.result(f"{row.name + ':':<26}{row.value:<12}{row.beside}{mark}")
    for phase in phases:
        progress.result(
            f"{phase.name + ':':<26}{phase.seconds:7.1f} s  "
            f"(of it compiling {phase.compile_seconds:.1f} s; CPU time {phase.cpu_seconds:.1f} s)"
        )
    total, cpu = (sum(getattr(p, name) for p in phases) for name in ("seconds", "cpu_seconds"))
    progress.result(f"{'all:':<26}{total:7.1f} s  (CPU time {cpu:.1f} s)")
