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
