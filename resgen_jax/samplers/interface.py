"""What a sampler asks of a model: one function from what is known to a guess at the rest."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Bool, Float, Int, Key

PyTree = Any


@runtime_checkable
class Predict(Protocol):
    """Proposes a code for every masked cell and says how sure it is of each.

    `keys` holds one key per example; row i may depend on row i alone. Proposals and confidences of
    cells that are not masked are never read. `knobs` is the current step's slice of the per-step
    values that were given to the sampler, for example the guidance scale.
    """

    def __call__(
        self,
        keys: Key[Array, "b"],
        codes: Int[Array, "b l q"],
        is_masked: Bool[Array, "b l q"],
        knobs: PyTree,
    ) -> tuple[Int[Array, "b l q"], Float[Array, "b l q"]]:
        """Proposed codes, and a confidence that need not be normalised."""
        ...


@runtime_checkable
class Order(Protocol):
    """Scores the cells; among the masked ones the highest scores are revealed first."""

    def __call__(
        self,
        keys: Key[Array, "b"],
        confidence: Float[Array, "b l q"],
        order_noise: Float[Array, ""],
    ) -> Float[Array, "b l q"]:
        """Scores from one key per example and the predicted confidence."""
        ...


@runtime_checkable
class Pick(Protocol):
    """Cells to reveal, as many at each position as were chosen there."""

    def __call__(
        self, is_chosen: Bool[Array, "b l q"], is_masked: Bool[Array, "b l q"]
    ) -> Bool[Array, "b l q"]:
        """From the masked cells of the highest scores to the masked cells that are revealed."""
        ...


@runtime_checkable
class Velocity(Protocol):
    """The velocity of noisy latents, d states / d time, at each example's time: 0 data, 1 noise."""

    def __call__(
        self, states: Float[Array, "b *n"], times: Float[Array, "b"]
    ) -> Float[Array, "b *n"]:
        """The velocity, of any float type."""
        ...


@runtime_checkable
class Denoise(Protocol):
    """The mean of the data, given noisy latents at each example's time or step of a schedule."""

    def __call__(
        self, states: Float[Array, "b *n"], times: Float[Array, "b"]
    ) -> Float[Array, "b *n"]:
        """The data, of any float type."""
        ...


@runtime_checkable
class DenoiseWithShare(Protocol):
    """The same, and where the log variance of a step lies between its least (0) and most (1)."""

    def __call__(
        self, states: Float[Array, "b *n"], times: Float[Array, "b"]
    ) -> tuple[Float[Array, "b *n"], Float[Array, "b *n"]]:
        """The data and the share, of any float type."""
        ...
