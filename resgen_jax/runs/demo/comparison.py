"""`resgen demo --compare` and `--samplers`: training choices, and ways to sample one generator."""

import pathlib
from collections.abc import Mapping
from typing import Any

from resgen_jax.recipes import configs
from resgen_jax.runs import open_run, progress, run_directory, sampling, train
from resgen_jax.runs.demo import plans, sample_judge
from resgen_jax.training.telemetry import writer

TABLE, SAMPLERS_TABLE = "comparison.json", "samplers.json"
MAX_STEPS = 1000  # of each choice; the order of the choices shows well before the end
# What each choice changes in the generator's `loss`; the first is the paper's form.
CHOICES: Mapping[str, Mapping[str, Any]] = {
    "bound": {"objective": "bound", "code_loss_weight": 0.0},
    "exact": {"objective": "exact", "code_loss_weight": 0.0},
    "weighted": {"objective": "weighted", "code_loss_weight": 0.0},
    "bound+codes": {"objective": "bound", "code_loss_weight": 1.0},
    "exact+codes": {"objective": "exact", "code_loss_weight": 1.0},
    "weighted+codes": {"objective": "weighted", "code_loss_weight": 1.0},
}
# Unguided draws from the whole mixture; in random order, which cuts nothing off what was learnt;
# and the sampler that the config ships.
SAMPLERS: Mapping[str, Mapping[str, Any]] = {
    "plain": {"guidance_scale": 1.0, "noise_scale": 1.0},
    "random_order": {"guidance_scale": 1.0, "noise_scale": 1.0, "confidence": "random"},
    "config": {},
}
# Ways to draw from one trained generator: which head proposes the codes, which says how sure it is.
DRAWS: Mapping[str, Mapping[str, Any]] = {
    "mixture, component": {"proposal": "mixture", "confidence": "component"},
    "mixture, code head": {"proposal": "mixture", "confidence": "code_head"},
    "mixture, distances": {"proposal": "mixture", "confidence": "distance"},
    "mixture, random order": {"proposal": "mixture", "confidence": "random"},
    "codes, code head": {"proposal": "codes", "confidence": "code_head"},
    "codes, random order": {"proposal": "codes", "confidence": "random"},
    "guided, code head": {"proposal": "guided", "confidence": "code_head"},
}
GUIDANCE: Mapping[str, Mapping[str, Any]] = {
    "unguided": {"guidance_scale": 1.0, "guidance_schedule": "constant"},
    "guidance 1.5": {"guidance_scale": 1.5, "guidance_schedule": "constant"},
}
CELLS = "each cell: Fréchet distance, variety within a class, class agreement"
MEASURES = ("frechet_distance", "within_class_variance_ratio", "class_agreement")


def compare(plan: plans.Plan) -> dict[str, Any]:
    """Train the generator once for each choice, judge its samples, write and print the table."""
    judging, table = sample_judge.train(plan), {}
    for number, (name, loss) in enumerate(CHOICES.items()):
        progress.say(f"[{number + 1}/{len(CHOICES)}] training with {name}")
        workdir = plan.workdir / "comparison" / name
        train.train(_config(plan.generator, loss), workdir)
        row: dict[str, Any] = {"held_out": _held_out(workdir)}
        row |= _judged(plan, judging, workdir, SAMPLERS)
        table[name] = row
        run_directory.write_json(plan.workdir / TABLE, table)
    _print(table)
    return table


def samplers(plan: plans.Plan) -> dict[str, Any]:
    """Judge the demo's generator by each way to draw, write and print the table."""
    judging, table = sample_judge.train(plan), {}
    for name, draw in DRAWS.items():
        knobs = {column: {**draw, **guidance} for column, guidance in GUIDANCE.items()}
        table[name] = _judged(plan, judging, plan.generator_dir, knobs)
        run_directory.write_json(plan.workdir / SAMPLERS_TABLE, table)
    progress.result(f"{'':<24}" + "  ".join(f"{column:>18}" for column in GUIDANCE))
    for name, row in table.items():
        progress.result(f"{name:<24}" + "  ".join(_cell(row[column]) for column in GUIDANCE))
    progress.result(CELLS)
    return table


def _judged(
    plan: plans.Plan,
    judging: sample_judge.SampleJudge,
    workdir: pathlib.Path,
    knobs: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The measures of a generator's samples by each set of the sampler's settings."""
    generator = open_run.open_generator(workdir, progress.say)
    tokenizer = open_run.open_tokenizer_for(generator, None, progress.say)
    labels = sampling.in_turn(None, len(generator.meta.class_names), plan.num_samples)
    row = {}
    for name, settings in knobs.items():
        spec = sampling.spec_with(generator.config, settings)
        drawn = sampling.draw(generator, tokenizer, spec, labels, seed=0, batch_size=500)
        found = judging.judge(drawn.images, drawn.labels)
        row[name] = {measure: found[measure] for measure in MEASURES}
    return row


def _config(config: Any, loss: Mapping[str, Any]) -> Any:
    """The demo's generator with one training choice in place of its own, trained for less."""
    changes = {f"loss.{name}": value for name, value in loss.items()}
    changes |= {
        "train.num_steps": min(config.train.num_steps, MAX_STEPS),
        "model.has_code_head": loss["code_loss_weight"] > 0,
        "sampler.confidence": "component",  # which every choice has
    }
    return configs.change(config, changes)


def _held_out(workdir) -> dict[str, float]:
    """The last held-out figures of the codes: nats of each level under the mixture."""
    lines = [line for line in writer.read(workdir) if line["split"] == "held_out"]
    return {name: value for name, value in lines[-1].items() if name.startswith("code_nll/")}


def _print(table: Mapping[str, Any]) -> None:
    names = "  ".join(f"{sampler:>18}" for sampler in SAMPLERS)
    progress.result(f"{'':<16}{names}    held-out nats of codes, levels 1 2 3")
    for choice, row in table.items():
        cells = "  ".join(_cell(row[sampler]) for sampler in SAMPLERS)
        nats = [row["held_out"].get(f"code_nll/level_{level}") for level in range(3)]
        written = " ".join(f"{value:.2f}" for value in nats if value is not None)
        progress.result(f"{choice:<16}{cells}    {written}")
    progress.result(CELLS)


def _cell(measures: Mapping[str, float | None]) -> str:
    values = [measures[name] for name in MEASURES]
    return " ".join("  n/a" if value is None else f"{value:5.2f}" for value in values).rjust(18)
