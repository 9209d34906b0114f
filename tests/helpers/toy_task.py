"""A small task for tests of the loop: a two-layer regression with a running mean beside it."""

import dataclasses

import grain
import jax
import jax.numpy as jnp
import numpy as np

from resgen_jax.training import microbatches
from resgen_jax.training import optimizer as optimizers
from resgen_jax.training.state import TrainState

IN_DIM, HIDDEN, OUT_DIM, NUM_ROWS = 8, 16, 4, 96


@dataclasses.dataclass
class ToyTask:
    """`poison_index` names a row whose loss is not finite; `noise` makes steps use their key."""

    num_steps: int = 40
    spec: optimizers.Spec = dataclasses.field(
        default_factory=lambda: optimizers.Spec(
            learning_rate=1e-2, warmup_steps=2, weight_decay=0.1, clip_norm=1.0
        )
    )
    poison_index: int = -1
    noise: float = 0.1
    hidden: int = HIDDEN
    name: str = "toy"

    def __post_init__(self):
        self.optimizer = optimizers.make(self.spec, self.num_steps)
        self.rate = optimizers.schedule(self.spec, self.num_steps)

    def init(self, key):
        up, down = jax.random.split(key)
        params = {
            "up": {"kernel": jax.random.normal(up, (IN_DIM, self.hidden)) / IN_DIM**0.5},
            "down": {
                "kernel": jax.random.normal(down, (self.hidden, OUT_DIM)) / self.hidden**0.5,
                "bias": jnp.zeros(OUT_DIM),
            },
        }
        return optimizers.initial_state(params, self.optimizer, {"mean": jnp.zeros(IN_DIM)})

    def axes(self):
        return {
            "up": {"kernel": ("embed", "mlp")},
            "down": {"kernel": ("mlp", "embed"), "bias": (None,)},
        }

    def statistics_axes(self):
        return {"mean": (None,)}

    def loss(self, params, batch, num_rows):
        hidden = jnp.tanh(batch["x"] @ params["up"]["kernel"])
        guess = hidden @ params["down"]["kernel"] + params["down"]["bias"][None, :]
        rows = jnp.mean((guess + batch["noise"] - batch["y"]) ** 2, axis=-1)
        rows = jnp.where(batch["index"] == self.poison_index, jnp.nan, rows)
        return jnp.sum(rows) / num_rows, ({}, {"x": batch["x"]})

    def draw(self, batch, key):
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, batch["index"])
        noise = jax.vmap(lambda k: jax.random.normal(k, (OUT_DIM,)))(keys)
        return batch | {"noise": self.noise * noise}

    def step(self, state, batch, key):
        (loss, (_, rows)), gradients = microbatches.value_and_grad(
            lambda params, rows: self.loss(params, rows, len(batch["x"])),
            state.params,
            self.draw(batch, key),
            self.spec.num_microbatches,
        )
        mean = 0.9 * state.statistics["mean"] + 0.1 * jnp.mean(rows["x"], axis=0)
        state, metrics = optimizers.apply_gradients(
            state,
            gradients,
            self.optimizer,
            rate=self.rate,
            average_decay=0.99,
            statistics={"mean": mean},
        )
        return state, {"loss": loss, "mean_0": mean[0], **metrics}

    def evaluate(self, state, batch, key):
        params = state.average_params
        hidden = jnp.tanh(batch["x"] @ params["up"]["kernel"])
        guess = hidden @ params["down"]["kernel"] + params["down"]["bias"][None, :]
        rows = jnp.mean((guess - batch["y"]) ** 2, axis=-1)
        weight = batch["is_valid"].astype(jnp.float32)
        count = jnp.sum(weight)
        return {"error": jnp.sum(rows * weight) / count, "num_examples": count}

    def remarks(self, metrics):
        return {}

    def flops_per_example(self):
        return 6.0 * self.hidden * (IN_DIM + OUT_DIM)


def rows(num_rows=NUM_ROWS, seed=0):
    """A list of examples in the form that grain reads."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(num_rows, IN_DIM)).astype(np.float32)
    y = np.sin(x @ random.normal(size=(IN_DIM, OUT_DIM))).astype(np.float32)
    return [{"x": x[row], "y": y[row], "index": np.int32(row)} for row in range(num_rows)]


def iterator(batch_size=16, seed=0):
    """Shuffled batches without end; its state can be saved."""
    dataset = grain.MapDataset.source(rows()).seed(seed).shuffle().repeat()
    here = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    return iter(dataset.batch(batch_size, drop_remainder=True).to_iter_dataset(here))


def held_out(num_batches=0, batch_size=16, num_rows=24):
    """Batches in order, the last one padded; `num_batches` of them, 0 = all."""
    num_rows = min(num_rows, num_batches * batch_size or num_rows)
    examples = rows(num_rows, seed=1)
    for start in range(0, num_rows, batch_size):
        chosen = examples[start : start + batch_size]
        padding = [chosen[0]] * (batch_size - len(chosen))
        batch = {name: np.stack([row[name] for row in chosen + padding]) for name in chosen[0]}
        batch["is_valid"] = np.arange(batch_size) < len(chosen)
        yield batch


def batch(batch_size=16, seed=3):
    """One batch of host arrays."""
    examples = rows(batch_size, seed)
    return {name: np.stack([row[name] for row in examples]) for name in examples[0]}


def first_state(task, seed=0) -> TrainState:
    """The initial state on the first device."""
    return jax.jit(task.init)(jax.random.key(seed))
