"""What a network on continuous latents predicts: velocity, noise, score or data, one from another.

With x = alpha data + sigma noise, each of them and x give data and noise, and these give all.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Float

from resgen_jax.core import build, errors
from resgen_jax.processes import interpolants
from resgen_jax.processes.interpolants import Coefficients


class Parts(NamedTuple):
    """The data and the noise that a state is mixed of, or the means of both given the state."""

    data: Float[Array, "b *n"]
    noise: Float[Array, "b *n"]


class Prediction(NamedTuple):
    """One thing to predict, and how it becomes the others."""

    split: Callable[[Array, Array, Coefficients], Parts]  # states, predicted, the path there
    join: Callable[[Parts, Coefficients], Any]  # predicted


def _split_velocity(states, velocity, at):
    # Two linear equations, whose determinant is 1 (linear) or pi / 2 (cosine) at every time: the
    # common form alpha / alpha_rate fails where the rate is 0, on the cosine path at the data.
    determinant = at.alpha * at.sigma_rate - at.alpha_rate * at.sigma
    return Parts(
        (at.sigma_rate * states - at.sigma * velocity) / determinant,
        (at.alpha * velocity - at.alpha_rate * states) / determinant,
    )


def _split_noise(states, noise, at):
    return Parts((states - at.sigma * noise) / at.alpha, noise)


def _split_data(states, data, at):
    return Parts(data, (states - at.alpha * data) / at.sigma)


VELOCITY = Prediction(
    _split_velocity, lambda parts, at: at.alpha_rate * parts.data + at.sigma_rate * parts.noise
)
NOISE = Prediction(_split_noise, lambda parts, at: parts.noise)
SCORE = Prediction(
    lambda states, score, at: _split_noise(states, -at.sigma * score, at),
    lambda parts, at: -parts.noise / at.sigma,
)
DATA = Prediction(_split_data, lambda parts, at: parts.data)
PREDICTIONS = {"velocity": VELOCITY, "noise": NOISE, "score": SCORE, "data": DATA}


def by_name(name: str) -> Prediction:
    """`velocity`, `noise`, `score` or `data`; raises UserError for another name."""
    if name not in PREDICTIONS:
        raise errors.UserError(
            f"prediction {name!r} is unknown; {build.nearest(name, PREDICTIONS)}"
        )
    return PREDICTIONS[name]


def convert(
    predicted: Float[Array, "b *n"],
    states: Float[Array, "b *n"],
    times: Float[Array, "b"],
    path: interpolants.Path,
    source: Prediction,
    target: Prediction,
) -> Float[Array, "b *n"]:
    """The `target` that goes with a predicted `source`; at least float32.

    From a velocity it is finite everywhere, but for the score at time 0. A noise or a score says
    nothing of the data at time 1, data says nothing of the noise at time 0: not finite there.
    Raises UserError for times outside [0, 1], where they are known before tracing.
    """
    at = interpolants.coefficients(path, times, states)
    wide = at.alpha.dtype
    return target.join(source.split(states.astype(wide), predicted.astype(wide), at), at)


def target(
    data: Float[Array, "b *n"],
    noise: Float[Array, "b *n"],
    times: Float[Array, "b"],
    path: interpolants.Path,
    prediction: Prediction = VELOCITY,
) -> Float[Array, "b *n"]:
    """What a network is trained to predict of `interpolants.mix(data, noise, times, path)`.

    SiT's loss is the mean squared error against the velocity, the same weight at all times
    (`losses.regression`). Raises UserError as `convert` does.
    """
    at = interpolants.coefficients(path, times, data)
    return prediction.join(Parts(data.astype(at.alpha.dtype), noise.astype(at.alpha.dtype)), at)


def converted(
    predict: Callable[[Array, Array], Array],
    path: interpolants.Path,
    source: Prediction,
    target: Prediction,
) -> Callable[[Array, Array], Array]:
    """A function of states and times that predicts `target`, of one that predicts `source`."""

    def predict_target(
        states: Float[Array, "b *n"], times: Float[Array, "b"]
    ) -> Float[Array, "b *n"]:
        return convert(predict(states, times), states, times, path, source, target)

    return predict_target
