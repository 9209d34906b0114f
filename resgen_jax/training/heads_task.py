"""Training one of ResGen's heads on cached codes, whatever trunk its states come from."""

import abc
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from resgen_jax.core import errors, spaces
from resgen_jax.generators import proposals
from resgen_jax.training import codes_task, descent, head_losses, optimizer, resgen_loss
from resgen_jax.training.state import Batch, Metrics, PyTree, TrainState


class HeadsTask(codes_task.CodesTask, abc.ABC):
    """The part of a `Task` that ResGen and AR-ResGen share.

    `generator` is the module of the network: `make`, `forward_flops` and `forward_program`. Raises
    UserError for a model and a loss that contradict each other.
    """

    def __init__(
        self,
        generator: Any,
        model: Any,
        loss: Any,
        optimizer_spec: optimizer.Spec,
        num_steps: int,
        space: spaces.Space,
        codebooks: Float[np.ndarray, "q v c"],
    ):
        _check(model, loss)
        network = generator.make(model, space)
        super().__init__(network, optimizer_spec, num_steps, space, codebooks)
        self.model, self.loss = model, loss
        self._generator = generator
        self._head = head_losses.LOSSES[model.head]

    @abc.abstractmethod
    def _draw(self, batch: Batch, key: PRNGKeyArray, is_training: bool = True) -> Batch:
        """What a batch is to be scored on: rows with all that is random in them."""

    @abc.abstractmethod
    def _states(
        self, params: PyTree, codebooks: Float[Array, "q v c"], drawn: Batch
    ) -> proposals.Outputs:
        """What the heads read of such rows."""

    def step(
        self, state: TrainState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        """One optimizer step."""
        codebooks = state.statistics["codebooks"]
        drawn = self._draw(batch, key)
        counts = resgen_loss.counts(drawn)

        def loss_fn(params, rows):
            sums = self._sums(params, codebooks, rows)
            return resgen_loss.per_token(sums, counts, self.loss), sums

        state, sums, metrics = descent.step(
            state,
            loss_fn,
            drawn,
            self.optimizer,
            num_microbatches=self._optimizer_spec.num_microbatches,
            rate=self._rate,
            average_decay=self.loss.average_decay,
        )
        return state, {**metrics, **self._metrics(sums, counts)}

    def remarks(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """A warning where many components of the mixture are dead."""
        return resgen_loss.remarks(metrics, self.model.num_components)

    def flops_per_example(self) -> float:
        """Forward, and twice as much for the backward pass."""
        return 3 * self._forward_flops()

    def forward_program(self, batch_size: int) -> tuple[Callable, tuple]:
        """A forward pass and its abstract arguments, parameters first: to count by module."""
        return self._generator.forward_program(
            self.model, self.space, batch_size, with_code_head=self._teaches_codes
        )

    @property
    def _teaches_codes(self) -> bool:
        """Whether the code head is trained."""
        return self.loss.code_loss_weight > 0

    def _forward_flops(self) -> float:
        return self._generator.forward_flops(
            self.model, self.space, with_code_head=self._teaches_codes
        )

    def _losses(
        self,
        params: PyTree,
        codebooks: Float[Array, "q v c"],
        batch: Batch,
        key: PRNGKeyArray,
        is_training: bool = True,
    ) -> tuple[proposals.Outputs, Metrics]:
        """What heads read of one draw, and its losses."""
        drawn = self._draw(batch, key, is_training)
        outputs, counts = self._states(params, codebooks, drawn), resgen_loss.counts(drawn)
        sums = self._sums_of(outputs, drawn)
        loss = resgen_loss.per_token(sums, counts, self.loss)
        return outputs, {"loss": loss, **self._metrics(sums, counts)}

    def _sums(
        self, params: PyTree, codebooks: Float[Array, "q v c"], drawn: Batch
    ) -> resgen_loss.Sums:
        return self._sums_of(self._states(params, codebooks, drawn), drawn)

    def _sums_of(self, outputs: proposals.Outputs, drawn: Batch) -> resgen_loss.Sums:
        code_nll = jnp.zeros(())
        if self._teaches_codes:
            logits = self.network.apply(outputs.params, outputs.states, method="code_logits")
            code_nll = resgen_loss.code_nll(drawn, logits)
        return resgen_loss.Sums(self._head.sums(outputs, drawn, self.loss), code_nll)

    def _metrics(self, sums: resgen_loss.Sums, counts: resgen_loss.Counts) -> Metrics:
        """What a batch tells of its loss."""
        return head_losses.metrics(self._head, sums, counts, self.loss)


def _check(model: Any, loss: Any) -> None:
    if loss.code_loss_weight and not model.has_code_head:
        raise errors.UserError(
            f"loss.code_loss_weight is {loss.code_loss_weight} but model.has_code_head is "
            "False; set one of them to match the other"
        )
    if model.head == "codes" and not loss.code_loss_weight:
        raise errors.UserError(
            "model.head is 'codes' but loss.code_loss_weight is 0, so nothing would be "
            "trained; set it to 1"
        )
