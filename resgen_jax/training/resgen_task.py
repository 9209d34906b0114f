"""Training ResGen on cached codes: masks, losses of its heads, and what is measured held out."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray

from resgen_jax.core import errors, keys, spaces
from resgen_jax.generators import proposals, resgen
from resgen_jax.losses import masked
from resgen_jax.processes import rvq_masking
from resgen_jax.training import (
    code_bound,
    codes_task,
    guidance_free,
    head_losses,
    microbatches,
    optimizer,
    padding,
    resgen_loss,
)
from resgen_jax.training.resgen_loss import LossSpec
from resgen_jax.training.state import Batch, Metrics, PyTree, TrainState


class ResGenTask(codes_task.CodesTask):
    """ResGen as a `Task`; batches hold "codes" Int "b l q", "labels" Int "b" and "index".

    Those of different lengths hold "lengths" Int "b", too; see `padding`.
    """

    name = "resgen"

    def __init__(
        self,
        model: resgen.Spec,
        loss: LossSpec,
        optimizer_spec: optimizer.Spec,
        num_steps: int,
        space: spaces.Space,
        codebooks: Float[np.ndarray, "q v c"],
    ):
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
        guidance_free.check(model, loss.condition_drop_rate)
        if loss.masks == "level_by_level" and model.head not in ("codes", "levels"):
            raise errors.UserError(
                f"loss.masks is 'level_by_level', which teaches the codes of one level, but "
                f"model.head {model.head!r} predicts the sum of all hidden levels; set model.head "
                "to codes or levels"
            )
        super().__init__(resgen.make(model, space), optimizer_spec, num_steps, space, codebooks)
        self.model, self.loss = model, loss
        self._head = head_losses.LOSSES[model.head]

    def step(
        self, state: TrainState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        """One optimizer step on codes masked anew."""
        codebooks = state.statistics["codebooks"]
        drawn = resgen_loss.draw(batch, key, self.loss, self.space)
        counts = resgen_loss.counts(drawn)

        def loss_fn(params, rows):
            sums = self._sums(params, codebooks, rows)
            return resgen_loss.per_token(sums, counts, self.loss), (sums, ())

        (loss, (sums, _)), gradients = microbatches.value_and_grad(
            loss_fn, state.params, drawn, self._optimizer_spec.num_microbatches
        )
        state, more = optimizer.apply_gradients(
            state,
            gradients,
            self.optimizer,
            rate=self._rate,
            average_decay=self.loss.average_decay,
        )
        return state, {"loss": loss, **self._metrics(sums, counts), **more}

    def evaluate(self, state: TrainState, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """Held-out losses, and the likelihood of the codes of every level given those above.

        "code_nll/level_j" are the nats of the true code of level j under the head, all shallower
        levels visible everywhere; ln V is a guess, more is worse than one. They are exact for
        "codes" and "levels"; the mixture's are of draws that go through the quantizer, since its
        density alone ranks heads wrongly: levels of small remainders dominate it. The flow has
        none. "code_head_nll/level_j" are those of the auxiliary head, exact.

        "code_bound" are the nats of a code in `code_bound`'s upper bound, the whole example's
        divided by its codes: what compares with the exact nats of an autoregressive model.
        Times codes, over ln 2, it is in bits. Only the masks "coarse_first" have it.
        """
        params, codebooks = state.average_params, state.statistics["codebooks"]
        use = keys.named_keys(key, "loss", "nll", "bound")
        loss, metrics = self._loss(params, codebooks, batch, use["loss"], is_training=False)
        is_valid, is_real = batch["is_valid"], padding.is_real(batch)
        num_examples = jnp.sum(is_valid).astype(jnp.float32)

        def level_nll(level):
            nll = self._level_nll(params, codebooks, batch, level, use["nll"])
            return {
                name: jnp.sum(jnp.mean(values, axis=-1, where=is_real), where=is_valid)
                / num_examples
                for name, values in nll.items()
            }

        by_level = jax.lax.map(level_nll, jnp.arange(self.space.codes.depth))
        for name, values in by_level.items():
            metrics |= {f"{name}/level_{i}": values[i] for i in range(self.space.codes.depth)}
            metrics[f"{name}/mean"] = jnp.mean(values)
        if self.loss.masks == "coarse_first":
            bounds = self._bound(params, codebooks, batch, use["bound"])
            for name, values in bounds.items():
                word = name.replace("_nll", "_bound")
                metrics[word] = jnp.sum(values, where=is_valid) / num_examples
        return {"loss": loss, **metrics, "num_examples": num_examples}

    def remarks(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """A warning where many components of the mixture are dead."""
        return resgen_loss.remarks(metrics, self.model.num_components)

    def flops_per_example(self) -> float:
        """Forward, and twice as much for the backward pass; guidance-free forward once more."""
        with_code_head = self.loss.code_loss_weight > 0
        return (3 + self.model.is_told_guidance) * resgen.forward_flops(
            self.model, self.space, with_code_head=with_code_head
        )

    def forward_program(self, batch_size: int) -> tuple[Callable, tuple]:
        """A forward pass and its abstract arguments, parameters first: to count by module."""
        with_code_head = self.loss.code_loss_weight > 0
        return resgen.forward_program(
            self.model, self.space, batch_size, with_code_head=with_code_head
        )

    def _loss(
        self,
        params: PyTree,
        codebooks: Float[Array, "q v c"],
        batch: Batch,
        key: PRNGKeyArray,
        is_training: bool = True,
    ) -> tuple[Float[Array, ""], Metrics]:
        """Loss per masked token of one draw of masks; without labels dropped when held out."""
        drawn = resgen_loss.draw(batch, key, self.loss, self.space, is_training)
        counts, sums = resgen_loss.counts(drawn), self._sums(params, codebooks, drawn)
        loss = resgen_loss.per_token(sums, counts, self.loss)
        return loss, self._metrics(sums, counts)

    def _metrics(self, sums: resgen_loss.Sums, counts: resgen_loss.Counts) -> Metrics:
        """What a batch tells of its loss."""
        return head_losses.metrics(self._head, sums, counts, self.loss)

    def _sums(
        self, params: PyTree, codebooks: Float[Array, "q v c"], drawn: Batch
    ) -> resgen_loss.Sums:
        outputs = self._outputs(params, codebooks, drawn, drawn["is_masked"], drawn.get("dropout"))
        code_nll = jnp.zeros(())
        if self.loss.code_loss_weight:
            logits = self.network.apply(params, outputs.states, method="code_logits")
            code_nll = resgen_loss.code_nll(drawn, logits)
        return resgen_loss.Sums(self._head.sums(outputs, drawn, self.loss), code_nll)

    def _outputs(
        self,
        params: PyTree,
        codebooks: Float[Array, "q v c"],
        batch: Batch,
        is_masked: Bool[Array, "b l q"],
        row_keys: Key[Array, "b"] | None = None,
    ) -> proposals.Outputs:
        revealed = rvq_masking.revealed_embedding(batch["codes"], is_masked, codebooks)
        told = revealed, is_masked, batch["labels"], row_keys, padding.is_real(batch)
        if self.model.is_told_guidance and "share" in batch:
            hidden = self._guided(params, batch["share"], told)
        else:
            hidden = self.network.apply(params, *told, method="hidden")
        return proposals.Outputs(self.network, params, hidden, codebooks)

    def _guided(
        self, params: PyTree, share: Float[Array, "b"], told: tuple[Any, ...]
    ) -> Float[Array, "b l d"]:
        """States that the data are fitted by in guidance-free training: a second call, forward."""
        revealed, is_masked, labels, *more = told
        nobody = jnp.full_like(labels, self.space.num_classes)
        own = self.network.apply(params, *told, share, method="hidden")
        other = self.network.apply(params, revealed, is_masked, nobody, *more, method="hidden")
        return guidance_free.mix(own, other, share)

    def _level_nll(
        self,
        params: PyTree,
        codebooks: Float[Array, "q v c"],
        batch: Batch,
        level: Int[Array, ""],
        key: PRNGKeyArray,
    ) -> dict[str, Float[Array, "b l"]]:
        """Nats of the true code of one level, all shallower levels visible everywhere."""
        codes = batch["codes"]
        is_masked = jnp.broadcast_to(jnp.arange(self.space.codes.depth) >= level, codes.shape)
        outputs = self._outputs(params, codebooks, batch, is_masked)
        return self._nll_of(outputs, codes, level, key)

    def _bound(
        self, params: PyTree, codebooks: Float[Array, "q v c"], batch: Batch, key: PRNGKeyArray
    ) -> dict[str, Float[Array, "b"]]:
        """Nats of a code in the bound of `code_bound`, for one mask of each example."""
        codes = batch["codes"]
        use = keys.named_keys(key, "mask", "draws")
        row_keys = keys.example_keys(use["mask"], jnp.arange(len(codes)))
        is_masked = code_bound.sample_mask(
            row_keys, codes.shape[1], codes.shape[2], padding.is_real(batch)
        )
        outputs = self._outputs(params, codebooks, batch, is_masked)
        return code_bound.nats_a_code(
            is_masked, lambda level: self._nll_of(outputs, codes, level, use["draws"])
        )

    def _nll_of(
        self,
        outputs: proposals.Outputs,
        codes: Int[Array, "b l q"],
        level: Int[Array, ""],
        key: PRNGKeyArray,
    ) -> dict[str, Float[Array, "b l"]]:
        """Nats of the true code of one level by each head that gives codes a probability."""
        row_keys = keys.example_keys(key, jnp.arange(len(codes)))
        nll = {}
        if self._head.level_nll is not None:
            nll["code_nll"] = self._head.level_nll(outputs, codes, level, row_keys, self.loss)
        if self.loss.code_loss_weight and self.model.head != "codes":
            logits = self.network.apply(outputs.params, outputs.states, method="code_logits")
            nll["code_head_nll"] = jnp.take(masked.code_nll(logits, codes), level, axis=-1)
        return nll
