"""The judge of photographs: a residual network trained in few epochs, on crops that it mirrors."""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from resgen_jax.core import keys
from resgen_jax.data import images as image_data
from resgen_jax.evaluation import judge, photo_views, residual
from resgen_jax.evaluation.photo_spec import Spec

PyTree = Any
NUM_NORMALISED = 2000  # training images whose statistics normalise the layers afterwards
ADAM_RATIO = 0.1  # of the learning rate, for what is no convolution
NUM_REPORTS = 50  # how often a training tells its state, from which it can go on
SPEC = Spec()


class State(NamedTuple):
    """All that training goes on from."""

    step: int  # how many are done
    params: PyTree
    opt_state: PyTree
    average: PyTree  # of the parameters of the last steps
    num_averaged: int


def start(
    key: PRNGKeyArray, image_shape: tuple[int, int, int], num_classes: int, spec: Spec = SPEC
) -> State:
    """The state before the first step."""
    shapes = residual.shapes(spec, image_shape, num_classes)
    params = residual.init(shapes, keys.named_keys(key, "init")["init"])
    # Neither the schedule nor its length is part of the state.
    opt_state = jax.jit(_optimizer(spec, 1).init)(params)
    return State(0, params, opt_state, jax.tree.map(jnp.zeros_like, params), 0)


def train(
    key: PRNGKeyArray,
    images: UInt8[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, "n"],
    num_classes: int,
    spec: Spec = SPEC,
    *,
    state: State | None = None,
    report: Callable[[State, int, float], None] = lambda state, num_steps, loss: None,
) -> judge.Judge:
    """Fit the judge to real training images, held in memory, from `state` on where given.

    `report` is told the state, the number of steps and the loss, every few steps: training that
    goes on from such a state ends as if it had not been stopped. Raises UserError for fewer than
    two classes, labels outside them, or no image.
    """
    judge.check(labels, num_classes)
    use = keys.named_keys(key, "order", "steps")
    batch_size, length = min(spec.batch_size, len(images)), num_steps(spec, len(images))
    state = state or start(key, images.shape[1:], num_classes, spec)
    stride = max(1, length // NUM_REPORTS)
    order = _rows(use["order"], len(images), batch_size, length)
    for step, rows in enumerate(order):
        if step < state.step:
            continue
        window = photo_views.window(spec, images.shape[1:3], step / length)
        batch = jnp.asarray(images[rows]), jnp.asarray(labels[rows].astype(np.int32))
        step_key = keys.step_key(use["steps"], step)
        learnt = state.params, state.opt_state
        (params, opt_state), loss = _step(spec, length, window, learnt, step_key, *batch)
        average, num_averaged = state.average, state.num_averaged
        if step >= spec.average_from * length or step + 1 == length:
            num_averaged += 1
            average = _averaged(average, params, jnp.float32(1 / num_averaged))
        state = State(step + 1, params, opt_state, average, num_averaged)
        if state.step % stride == 0 or state.step == length:
            report(state, length, float(loss))
    chosen = np.linspace(0, len(images) - 1, min(len(images), NUM_NORMALISED)).astype(int)
    shown = image_data.to_unit(jnp.asarray(images[chosen]))
    statistics = jax.jit(residual.measure)(state.average, shown)
    return judge.standardised(forward, {"params": state.average, "statistics": statistics}, images)


def num_steps(spec: Spec, num_images: int) -> int:
    """How many steps the training on so many images takes."""
    return max(1, round(spec.num_epochs * num_images / min(spec.batch_size, num_images)))


@jax.jit
def forward(
    params: PyTree, images: UInt8[Array, "b h w c"]
) -> tuple[Float[Array, "b f"], Float[Array, "b classes"]]:
    """Features and logits of images and of their mirror images, in the mean."""
    normalise = residual.by_statistics(params["statistics"])
    values = image_data.to_unit(images)
    features, logits = residual.apply(params["params"], values, normalise)
    others, other_logits = residual.apply(params["params"], values[:, :, ::-1], normalise)
    return (features + others) / 2, (logits + other_logits) / 2


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _step(spec, length, window, learnt, key, images, labels):
    """One step of the optimizer on views of these images, and its loss."""
    seen = image_data.to_unit(photo_views.draw(key, images, *window))

    def loss_of(params):
        _, logits = residual.apply(params, seen, residual.by_batch)
        targets = jax.nn.one_hot(labels, logits.shape[-1])
        targets = optax.smooth_labels(targets, spec.label_smoothing)
        return optax.softmax_cross_entropy(logits, targets).mean()

    params, opt_state = learnt
    loss, gradients = jax.value_and_grad(loss_of)(params)
    # optax mixes ranks and dtypes.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        updates, opt_state = _optimizer(spec, length).update(gradients, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), loss


def _optimizer(spec: Spec, num_steps: int) -> optax.GradientTransformation:
    """Muon on convolutions as matrices from all they see to their channels, Adam on the rest."""
    rates = (spec.learning_rate, ADAM_RATIO * spec.learning_rate)
    of_muon, of_adam = (optax.linear_schedule(rate, 0.0, num_steps) for rate in rates)
    return optax.contrib.muon(
        of_muon,
        adam_learning_rate=of_adam,
        muon_weight_dimension_numbers=_dimension_numbers,
    )


def _dimension_numbers(params: PyTree) -> PyTree:
    matrix = optax.contrib.MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=3)
    return jax.tree.map(lambda leaf: matrix if leaf.ndim == 4 else None, params)


@jax.jit
def _averaged(average: PyTree, params: PyTree, share: Float[Array, ""]) -> PyTree:
    return jax.tree.map(lambda old, new: old + share * (new - old), average, params)


def _rows(key, num_images: int, batch_size: int, num_steps: int) -> Iterator[np.ndarray]:
    """The numbers of the images of every step: each epoch in an order of its own."""
    left = np.zeros(0, int)
    for epoch in range(math.ceil(num_steps * batch_size / num_images)):
        order = np.asarray(jax.random.permutation(keys.step_key(key, epoch), num_images))
        left = np.concatenate([left, order])
        while len(left) >= batch_size and num_steps:
            yield left[:batch_size]
            left, num_steps = left[batch_size:], num_steps - 1
