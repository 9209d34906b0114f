"""Tasks and batches that train alike on every mesh, whichever processes hold it."""

import tiny_tasks

from resgen_jax.training import adversary, resgen_task, rq_vae_loss

NUM_STEPS = 3


def tokenizer():
    # Two steps of moving averages after k-means; restarts happen from the first of them on.
    task = tiny_tasks.tokenizer(rq_vae_loss.LossSpec(start_step=1), restart_threshold=0.3)
    return task, [tiny_tasks.images(16, seed) for seed in range(NUM_STEPS)]


def adversarial():
    """With a discriminator that normalises over the batch, in the second half of the steps."""
    spec = adversary.Spec(
        width=4, num_layers=1, start_step=1, lecam_weight=0.1, r1_weight=1.0, r1_every=2
    )
    task = tiny_tasks.tokenizer(rq_vae_loss.LossSpec(start_step=1), adversarial=spec)
    return task, [tiny_tasks.images(16, seed) for seed in range(NUM_STEPS)]


def generator():
    loss = resgen_task.LossSpec(condition_drop_rate=0.5, num_nll_draws=2)
    task = tiny_tasks.generator(loss)
    return task, [tiny_tasks.codes(16, seed) for seed in range(NUM_STEPS)]


TASKS = {"tokenizer": tokenizer, "generator": generator, "adversarial": adversarial}
