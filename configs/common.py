"""What every config begins with, and how few steps `:tiny` takes; no config itself."""

import ml_collections


def begin(task: str) -> ml_collections.ConfigDict:
    """A config of `task` that has a seed and a mesh over all devices, and no more."""
    config = ml_collections.ConfigDict()
    config.task = task
    config.seed = 0
    config.mesh = dict(data=-1, fsdp=1, tensor=1)
    return config


def take_few_steps(config: ml_collections.ConfigDict) -> None:
    """Four steps, with a measurement and a checkpoint after two."""
    config.optimizer.warmup_steps = 1
    config.train = dict(num_steps=4, log_every=1, evaluate_every=2, checkpoint_every=2)
