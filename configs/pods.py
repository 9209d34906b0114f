"""Carries a config over to the large batch of a pod, as `:pod4096` does; no config itself."""

import math

import ml_collections


def scale_to_batch(config: ml_collections.ConfigDict, batch_size: int) -> None:
    """Sets the global batch and what goes with it, where k is the new batch over the old one.

    - Samples: steps, warm-up and the steps at which losses begin are divided by k, so that as many
      samples are seen in each phase.
    - Learning rate: times sqrt(k), the rule for Adam (Malladi et al. 2022, arXiv 2205.10287). While
      noise dominates the gradient, Adam divides it out, so a step is as long in any batch, and the
      random walk of n / k steps is as wide when each is sqrt(k) times as long. The linear rule is
      for SGD (Goyal et al. 2017, arXiv 1706.02677), whose steps shrink with the noise.
    - Moving averages: of parameters and codebook statistics, decay to the power of k (Busbridge
      et al. 2023, arXiv 2307.13813), so that each averages over as many samples.
    - Clipping: the limit is divided by sqrt(k), as the norm of the noise is (McCandlish et al.
      2018, arXiv 1812.06162), so that it acts about as often.
    - Held-out measurements and checkpoints: sqrt(k) times fewer in a run, as its steps are k times
      fewer and each of them costs as much as before.

    Adam's b1 and b2 stay. The rule of Malladi et al. multiplies 1 - b by k, which leaves the
    interval from 0 to 1 at a k of 10 for b1 = 0.9. All of these rules hold while noise dominates
    the gradient; beyond the critical batch size (McCandlish et al.) a larger batch saves no steps.
    """
    ratio = batch_size / config.data.batch_size
    config.data.batch_size = batch_size
    train = config.train
    train.num_steps = _fewer(train.num_steps, ratio)
    for name in ("evaluate_every", "checkpoint_every"):
        train[name] = _fewer(train[name], math.sqrt(ratio))
    train.num_held_out_batches = math.ceil(train.num_held_out_batches / ratio)
    config.loss.average_decay **= ratio
    _scale_optimizer(config.optimizer, ratio)
    if "quantizer" in config:
        config.quantizer.decay **= ratio
        config.loss.start_step = _fewer(config.loss.start_step, ratio)
    if "adversarial" in config:
        config.adversarial.start_step = _fewer(config.adversarial.start_step, ratio)
        _scale_optimizer(config.adversarial.optimizer, ratio)


def _scale_optimizer(optimizer: ml_collections.ConfigDict, ratio: float) -> None:
    optimizer.learning_rate *= math.sqrt(ratio)
    optimizer.warmup_steps = _fewer(optimizer.warmup_steps, ratio)
    if "clip_norm" in optimizer:
        optimizer.clip_norm /= math.sqrt(ratio)


def _fewer(num_steps: int, ratio: float) -> int:
    """As many samples in larger batches; what took a step still takes one."""
    return max(round(num_steps / ratio), min(num_steps, 1))
