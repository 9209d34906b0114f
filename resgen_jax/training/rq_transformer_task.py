"""Training RQ-Transformer on cached codes, and the exact likelihood of those held out."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from resgen_jax.core import errors, keys, spaces
from resgen_jax.generators import rq_transformer
from resgen_jax.losses import masked
from resgen_jax.training import (
    codes_task,
    descent,
    optimizer,
    padding,
    rq_transformer_loss,
)
from resgen_jax.training.rq_transformer_loss import LossSpec
from resgen_jax.training.state import Batch, Metrics, PyTree, TrainState


class RqTransformerTask(codes_task.CodesTask):
    """RQ-Transformer as a `Task`; batches hold "codes" Int "b l q" and "labels" Int "b".

    Those of different lengths hold "lengths" Int "b", too; a position sees none of what follows it,
    so padding needs no more than not to be scored.
    """

    name = "rq_transformer"

    def __init__(
        self,
        model: rq_transformer.Spec,
        loss: LossSpec,
        optimizer_spec: optimizer.Spec,
        num_steps: int,
        space: spaces.Space,
        codebooks: Float[np.ndarray, "q v c"],
    ):
        if model.has_null_class != (loss.condition_drop_rate > 0):
            raise errors.UserError(
                f"loss.condition_drop_rate is {loss.condition_drop_rate} but model.has_null_class "
                f"is {model.has_null_class}; set one of them to match the other"
            )
        super().__init__(
            rq_transformer.make(model, space), optimizer_spec, num_steps, space, codebooks
        )
        self.model, self.loss = model, loss
        self._temperature = rq_transformer_loss.unit_temperature(
            loss.soft_target_temperature, codebooks, self._codebooks
        )

    def step(
        self, state: TrainState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        """One optimizer step on all codes at once, each given those before it."""
        codebooks = state.statistics["codebooks"]
        drawn = self._draw(batch, codebooks, key)
        num_codes = rq_transformer_loss.num_codes(drawn)

        def loss_fn(params, rows):
            sums = self._sums(params, codebooks, rows)
            return sums.loss / num_codes, sums

        state, sums, metrics = descent.step(
            state,
            loss_fn,
            drawn,
            self.optimizer,
            num_microbatches=self._optimizer_spec.num_microbatches,
            rate=self._rate,
            average_decay=self.loss.average_decay,
        )
        return state, {**metrics, "code_loss": sums.code_nll / num_codes}

    def evaluate(self, state: TrainState, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """The likelihood of the codes held out; their mean is the loss of a code that is not soft.

        "code_nll/level_j" are the exact nats of the true code of level j given the class, all
        levels of the positions before and the coarser levels of its own. They add up to the
        likelihood of an example. Those of ResGen under these names are given the coarser levels of
        all positions, and not the finer ones of any: they are not to be compared level by level.
        "code_exact", their mean, is what compares with ResGen's "code_bound".
        """
        del key  # nothing is drawn
        params, codebooks = state.average_params, state.statistics["codebooks"]
        codes, is_valid = batch["codes"], batch["is_valid"]
        logits = self.network.apply(params, codes, batch["labels"], codebooks)
        real = padding.is_real(batch)
        is_real = None if real is None else real[..., None]
        nll = jnp.mean(masked.code_nll(logits, codes), axis=1, where=is_real)
        num_examples = jnp.sum(is_valid).astype(jnp.float32)
        by_level = jnp.sum(nll, axis=0, where=is_valid[:, None]) / num_examples
        metrics = {f"code_nll/level_{i}": by_level[i] for i in range(self.space.codes.depth)}
        mean = jnp.mean(by_level)
        metrics |= {"code_nll/mean": mean, "code_exact": mean}
        return {"loss": mean, **metrics, "num_examples": num_examples}

    def remarks(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """None: all that its figures tell is told of every generator."""
        del metrics
        return {}

    def flops_per_example(self) -> float:
        """Forward, and twice as much for the backward pass."""
        return 3 * rq_transformer.forward_flops(self.model, self.space)

    def forward_program(self, batch_size: int) -> tuple[Callable, tuple]:
        """A forward pass and its abstract arguments, parameters first: to count by module."""
        return rq_transformer.forward_program(self.model, self.space, batch_size)

    def _draw(self, batch: Batch, codebooks: Float[Array, "q v c"], key: PRNGKeyArray) -> Batch:
        row_keys = keys.example_keys(key, jnp.arange(len(batch["codes"])))
        return rq_transformer_loss.draw(
            batch, row_keys, self.loss, self.space, codebooks, self._temperature
        )

    def _sums(
        self, params: PyTree, codebooks: Float[Array, "q v c"], rows: Batch
    ) -> rq_transformer_loss.Sums:
        logits = self.network.apply(
            params, rows["seen"], rows["labels"], codebooks, rows["dropout"]
        )
        return rq_transformer_loss.sums(logits, rows, codebooks, self._temperature)
