"""Training ResGen on cached codes: masks, losses of its heads, and what is measured held out."""

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
    guidance_free,
    heads_task,
    optimizer,
    padding,
    resgen_loss,
)
from resgen_jax.training.resgen_loss import LossSpec
from resgen_jax.training.state import Batch, Metrics, PyTree, TrainState


class ResGenTask(heads_task.HeadsTask):
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
        guidance_free.check(model, loss.condition_drop_rate)
        if loss.masks == "level_by_level" and model.head not in ("codes", "levels"):
            raise errors.UserError(
                f"loss.masks is 'level_by_level', which teaches the codes of one level, but "
                f"model.head {model.head!r} predicts the sum of all hidden levels; set model.head "
                "to codes or levels"
            )
        super().__init__(resgen, model, loss, optimizer_spec, num_steps, space, codebooks)

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
        _, metrics = self._losses(params, codebooks, batch, use["loss"], is_training=False)
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
        return {**metrics, "num_examples": num_examples}

    def flops_per_example(self) -> float:
        """Forward, and twice as much for the backward pass; guidance-free forward once more."""
        return (3 + self.model.is_told_guidance) * self._forward_flops()

    def _draw(self, batch: Batch, key: PRNGKeyArray, is_training: bool = True) -> Batch:
        """Codes masked anew; labels are dropped in training alone."""
        return resgen_loss.draw(batch, key, self.loss, self.space, is_training)

    def _states(
        self, params: PyTree, codebooks: Float[Array, "q v c"], drawn: Batch
    ) -> proposals.Outputs:
        is_masked, row_keys = drawn["is_masked"], drawn.get("dropout")
        return self._outputs(params, codebooks, drawn, is_masked, row_keys)

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
