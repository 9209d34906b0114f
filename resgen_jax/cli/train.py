"""`resgen train`: a tokenizer on images or a generator on codes, from the start or going on."""

import argparse
import time

from resgen_jax import recipes
from resgen_jax.cli import flags
from resgen_jax.core import shell
from resgen_jax.runs import noise, progress, train
from resgen_jax.runs.configs import configuration
from resgen_jax.runtime import interruption
from resgen_jax.training import loop
from resgen_jax.training.telemetry import inspection

STOPPED = 3
IMPORTED = time.perf_counter()


def run(values: argparse.Namespace, overrides: flags.Overrides) -> int:
    """Trains to the end; 3 if it was stopped, after saving."""
    text = flags.require(values, "config", "the config file", "tokenizers/rq_vae_digits.py")
    workdir = flags.require(values, "workdir", "where the run is kept", "runs/tokenizer")
    config = configuration.load(text, overrides)
    if values.synthetic_data:
        config = noise.marked(config)
    steps = inspection.steps(values.profile_steps) if values.profile_steps else inspection.NO_STEPS
    inspect = inspection.Spec(steps, dumps_programs=values.dump_hlo)
    try:
        with interruption.Interruption() as early, early.cutting():
            state = train.train(config, workdir, inspect=inspect, began=IMPORTED)
    except interruption.Cut:  # while modules and data were opened
        progress.say("resgen train: stopped before training began: nothing to save")
        progress.say(f"go on with: {values.command}")
        return STOPPED
    except loop.Stopped as stopped:
        progress.say(f"resgen train: {stopped}")
        progress.say(f"go on with: {values.command}")
        return STOPPED
    progress.result(f"done: {int(state.step)} steps in {workdir}")
    if not noise.is_marked(config):
        next_verb = recipes.find(config.task).role.next_verb
        progress.result(f"next: resgen {next_verb} {shell.written('workdir', workdir)}")
    return 0
