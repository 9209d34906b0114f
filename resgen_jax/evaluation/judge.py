"""The judge: a classifier trained on the real images, whose features measure samples."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from resgen_jax.core import checked, errors, keys
from resgen_jax.data import images as image_data
from resgen_jax.evaluation import classifier
from resgen_jax.nn import functional
from resgen_jax.training import optimizer as optimizers

PyTree = Any
NUM_REPORTS = 20  # how often training returns to the host to tell its loss
BATCH_SIZE = 512  # images judged at a time
SPEC = classifier.Spec()


@dataclasses.dataclass(frozen=True)
class Judge:
    """A trained classifier; features are standardised by the real training images."""

    forward: Callable[..., Any]  # jitted: params, uint8 images -> raw features, logits
    params: PyTree
    mean: Float[np.ndarray, "f"]
    deviation: Float[np.ndarray, "f"]
    image_shape: tuple[int, int, int]
    batch_size: int
    compile_seconds: float

    def outputs(
        self, images: UInt8[np.ndarray, "n h w c"]
    ) -> tuple[Float[np.ndarray, "n f"], Float[np.ndarray, "n classes"]]:
        """Standardised features and logits, in batches of one size, so one compilation."""
        if images.shape[1:] != self.image_shape:
            raise errors.UserError(
                f"the judge was trained on images of shape {self.image_shape}, "
                f"these are {images.shape[1:]}; resize them or train a judge of their own"
            )
        features, logits = [], []
        for start in range(0, max(len(images), 1), self.batch_size):  # of none, one of padding
            batch = images[start : start + self.batch_size]
            padding = ((0, self.batch_size - len(batch)), (0, 0), (0, 0), (0, 0))
            raw, scores = self.forward(self.params, np.pad(batch, padding))
            features.append(np.asarray(raw)[: len(batch)])
            logits.append(np.asarray(scores)[: len(batch)])
        return (np.concatenate(features) - self.mean) / self.deviation, np.concatenate(logits)

    def features(self, images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n f"]:
        """Pre-activations of the penultimate layer, zero mean and unit variance on real images."""
        return self.outputs(images)[0]

    def predict(self, images: UInt8[np.ndarray, "n h w c"]) -> Int[np.ndarray, "n"]:
        """The most likely class of each image."""
        return self.outputs(images)[1].argmax(axis=-1).astype(np.int32)


def train(
    key: PRNGKeyArray,
    images: UInt8[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, "n"],
    num_classes: int,
    spec: classifier.Spec = SPEC,
    progress: Callable[[int, int, float], None] = lambda step, num_steps, loss: None,
) -> Judge:
    """Fit the judge to real training images, held in memory.

    `progress` is told the step, the number of steps and the mean loss since it was last told.
    Raises UserError for fewer than two classes, labels outside them, or no image.
    """
    check(labels, num_classes)
    image_shape = images.shape[1:]
    network = functional.from_module(
        lambda rngs: classifier.Classifier(spec, image_shape, num_classes, rngs)
    )
    forward = jax.jit(lambda params, batch: network.apply(params, image_data.to_unit(batch)))
    optimizer = _optimizer(spec)
    use = keys.named_keys(key, "init", "steps")
    params = jax.jit(network.init)(use["init"])
    state = (params, jax.jit(optimizer.init)(params))
    data = jnp.asarray(images), jnp.asarray(labels.astype(np.int32))

    started = time.perf_counter()
    run = functools.partial(_run, spec, network, optimizer)
    steps = jax.jit(run).lower(state, use["steps"], *data, 0, 1).compile()
    compile_seconds = time.perf_counter() - started
    stride = max(1, spec.num_steps // NUM_REPORTS)
    for first in range(0, spec.num_steps, stride):
        last = min(first + stride, spec.num_steps)
        state, loss = steps(state, use["steps"], *data, first, last)
        progress(last, spec.num_steps, float(loss))

    return standardised(forward, state[0], images, compile_seconds)


def standardised(
    forward: Callable[..., Any],
    params: PyTree,
    images: UInt8[np.ndarray, "n h w c"],
    compile_seconds: float = 0.0,
) -> Judge:
    """The judge of a network: its features get zero mean and unit variance on these images."""
    batch_size = min(BATCH_SIZE, len(images))
    shown = jax.eval_shape(forward, params, images[:batch_size])
    feature_dim = shown[0].shape[-1]
    judge = Judge(
        forward=forward,
        params=params,
        mean=np.zeros(feature_dim, np.float32),
        deviation=np.ones(feature_dim, np.float32),
        image_shape=images.shape[1:],
        batch_size=batch_size,
        compile_seconds=compile_seconds,
    )
    raw = judge.features(images)
    return dataclasses.replace(
        judge, mean=raw.mean(axis=0), deviation=np.maximum(raw.std(axis=0), 1e-6)
    )


def _run(spec, network, optimizer, state, key, images, labels, first, last):
    """Steps `first` to `last`, and their mean loss; the bounds do not recompile."""

    def loss_of(params, batch, targets):
        _, logits = network.apply(params, batch)
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    def step(index, carry):
        (params, opt_state), total = carry
        use = keys.named_keys(keys.step_key(key, index), "rows", "shift")
        rows = jax.random.randint(use["rows"], (spec.batch_size,), 0, images.shape[0])
        batch = image_data.to_unit(shifted(use["shift"], images[rows], spec.max_shift_ratio))
        loss, gradients = jax.value_and_grad(loss_of)(params, batch, labels[rows])
        with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer power
            updates, opt_state = optimizer.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), total + loss

    state, total = jax.lax.fori_loop(first, last, step, (state, jnp.float32(0)))
    return state, total / jnp.asarray(last - first, jnp.float32)


def _optimizer(spec: classifier.Spec) -> optax.GradientTransformation:
    adamw = optimizers.Spec(
        learning_rate=spec.learning_rate,
        warmup_steps=spec.num_steps // 10,
        decay="cosine",
        weight_decay=spec.weight_decay,
    )
    return optimizers.make(adamw, spec.num_steps)


def check(labels: Int[np.ndarray, "n"], num_classes: int) -> None:
    """Raises UserError for fewer than two classes, labels outside them, or none."""
    if num_classes < 2:
        raise errors.UserError(
            f"{num_classes} class: a judge needs two to tell apart; give a folder of images each"
        )
    if not len(labels):
        raise errors.UserError("no training image for the judge; expected at least one per class")
    checked.labels(labels, num_classes)


def shifted(key, images: UInt8[Array, "b h w c"], ratio: float) -> UInt8[Array, "b h w c"]:
    """Each image moved by its own offset, its edge repeated."""
    reach = round(max(images.shape[1:3]) * ratio)
    padded = jnp.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    offsets = jax.random.randint(key, (images.shape[0], 2), 0, 2 * reach + 1)

    def crop(image, offset):
        return jax.lax.dynamic_slice(image, (offset[0], offset[1], 0), images.shape[1:])

    return jax.vmap(crop)(padded, offsets)
