"""Training AR-ResGen on cached codes, and the likelihood of those held out."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from resgen_jax.core import keys, spaces
from resgen_jax.generators import ar_resgen, proposals
from resgen_jax.losses import masked
from resgen_jax.quantizers import rvq
from resgen_jax.training import (
    ar_resgen_loss,
    heads_task,
    optimizer,
    padding,
)
from resgen_jax.training.ar_resgen_loss import LossSpec
from resgen_jax.training.state import Batch, Metrics, PyTree, TrainState


def _of_codes(outputs: proposals.Outputs, codes: Int[Array, "b l q"]) -> Float[Array, "b l q"]:
    return masked.code_nll(outputs.code_logits(), codes)


# Exact nats of every code of a stack by the heads that have them, from states that see none of it.
EXACT: Mapping[str, Callable[[proposals.Outputs, Int[Array, "b l q"]], Float[Array, "b l q"]]] = {
    "codes": _of_codes,
    "levels": proposals.Outputs.level_nll,
}


class ArResGenTask(heads_task.HeadsTask):
    """AR-ResGen as a `Task`; batches hold "codes" Int "b l q" and "labels" Int "b".

    Those of different lengths hold "lengths" Int "b", too; a position sees none of what follows it,
    so padding needs no more than not to be scored.
    """

    name = "ar_resgen"

    def __init__(
        self,
        model: ar_resgen.Spec,
        loss: LossSpec,
        optimizer_spec: optimizer.Spec,
        num_steps: int,
        space: spaces.Space,
        codebooks: Float[np.ndarray, "q v c"],
    ):
        super().__init__(ar_resgen, model, loss, optimizer_spec, num_steps, space, codebooks)

    def evaluate(self, state: TrainState, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """Held-out losses of a code, and the likelihood of the codes of every level.

        "code_nll/level_j" are nats of the true code of level j given the class and all levels of
        the positions before; the head "levels" is told the coarser levels of its own position, too.
        They are exact for "codes" and "levels" and add up to the likelihood of an example, so they
        compare with RQ-Transformer's; "code_exact" is their mean. The mixture has those of level 0,
        of draws that go through the quantizer; the flow none. "code_head_nll/level_j" are those of
        the auxiliary head.
        """
        params, codebooks = state.average_params, state.statistics["codebooks"]
        use = keys.named_keys(key, "loss", "nll")
        outputs, metrics = self._losses(params, codebooks, batch, use["loss"], is_training=False)
        codes, nll = batch["codes"], {}
        if self.model.head in EXACT:
            nll["code_nll"] = EXACT[self.model.head](outputs, codes)
        elif self._head.level_nll is not None:
            row_keys = keys.example_keys(use["nll"], jnp.arange(len(codes)))
            first = self._head.level_nll(outputs, codes, jnp.int32(0), row_keys, self.loss)
            nll["code_nll"] = first[..., None]
        if self.loss.code_loss_weight and self.model.head != "codes":
            nll["code_head_nll"] = _of_codes(outputs, codes)
        num_examples = jnp.sum(batch["is_valid"]).astype(jnp.float32)
        for name, values in nll.items():
            by_level = self._mean(values, batch, num_examples)
            metrics |= {f"{name}/level_{i}": by_level[i] for i in range(len(by_level))}
            if len(by_level) == self.space.codes.depth:
                metrics[f"{name}/mean"] = jnp.mean(by_level)
        if self.model.head in EXACT:
            metrics["code_exact"] = metrics["code_nll/mean"]
        return {**metrics, "num_examples": num_examples}

    def _draw(self, batch: Batch, key: PRNGKeyArray, is_training: bool = True) -> Batch:
        """All positions at once, each to be predicted from those before it."""
        return ar_resgen_loss.draw(batch, key, self.loss, self.space, is_training)

    def _states(
        self, params: PyTree, codebooks: Float[Array, "q v c"], drawn: Batch
    ) -> proposals.Outputs:
        quantized = rvq.decode(drawn["codes"], codebooks)
        told = quantized, drawn["labels"], drawn.get("dropout")
        states = self.network.apply(params, *told, method="hidden")
        return proposals.Outputs(self.network, params, states, codebooks)

    def _mean(
        self, nll: Float[Array, "b l p"], batch: Batch, num_examples: Float[Array, ""]
    ) -> Float[Array, "p"]:
        """Over the real positions of an example, then over the examples."""
        real = padding.is_real(batch)
        by_example = jnp.mean(nll, axis=1, where=None if real is None else real[..., None])
        return jnp.sum(by_example, axis=0, where=batch["is_valid"][:, None]) / num_examples
