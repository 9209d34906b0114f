"""Training ResGen on cached codes: masks, the mixture losses, and what is measured held out."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from resgen_jax.core import errors, keys
from resgen_jax.distributions import low_rank_mixture as mixture
from resgen_jax.generators import conditioning, interface, resgen
from resgen_jax.losses import masked
from resgen_jax.nn import functional
from resgen_jax.processes import mask_schedules, rvq_masking
from resgen_jax.quantizers import codebook
from resgen_jax.training import optimizer, resgen_loss
from resgen_jax.training.resgen_loss import LossSpec
from resgen_jax.training.state import Batch, Metrics, PyTree, TrainState


def unit_codebooks(codebooks: Float[np.ndarray, "q v c"]) -> Float[np.ndarray, "q v c"]:
    """Codebooks scaled together, so that a sum of random codes has unit variance a channel.

    The codes of a vector stay the same, and the mixture starts at the scale of its targets.
    """
    energy = np.sum(np.mean(np.square(codebooks, dtype=np.float64), axis=(1, 2)))
    return np.asarray(codebooks / np.sqrt(max(energy, 1e-12)), np.float32)


class ResGenTask:
    """ResGen as a `Task`; batches hold "codes" Int "b l q", "labels" Int "b" and "index"."""

    name = "resgen"

    def __init__(
        self,
        model: resgen.Spec,
        loss: LossSpec,
        optimizer_spec: optimizer.Spec,
        num_steps: int,
        space: interface.CodeSpace,
        codebooks: Float[np.ndarray, "q v c"],
    ):
        if loss.code_loss_weight and not model.has_code_head:
            raise errors.UserError(
                f"loss.code_loss_weight is {loss.code_loss_weight} but model.has_code_head is "
                "False; set one of them to match the other"
            )
        expected = (space.depth, space.codebook_size, space.code_dim)
        if codebooks.shape != expected:
            raise errors.UserError(f"codebooks are {codebooks.shape}; expected {expected}")
        self.model, self.loss, self.space = model, loss, space
        self.network: functional.Network = resgen.make(model, space)
        self.optimizer: optax.GradientTransformation = optimizer.make(optimizer_spec, num_steps)
        self._optimizer_spec = optimizer_spec
        self._rate = optimizer.schedule(optimizer_spec, num_steps)
        self._codebooks = unit_codebooks(codebooks)
        self._schedule = mask_schedules.by_name(loss.mask_schedule)

    def init(self, key: PRNGKeyArray) -> TrainState:
        """Fresh parameters; the codebooks are frozen statistics."""
        params = self.network.init(keys.named_keys(key, "params")["params"])
        statistics = {"codebooks": jnp.asarray(self._codebooks)}
        return optimizer.initial_state(params, self.optimizer, statistics)

    def axes(self) -> PyTree:
        """Logical axes of the parameters."""
        return self.network.axes

    def statistics_axes(self) -> PyTree:
        """The codebooks are whole on every device."""
        return {"codebooks": (None, None, None)}

    def step(
        self, state: TrainState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        """One optimizer step on codes masked anew."""
        codebooks = state.statistics["codebooks"]

        def loss_fn(params, batch, key):
            loss, metrics = self._loss(params, codebooks, batch, key)
            return loss, (metrics, {})

        microbatches = self._optimizer_spec.num_microbatches
        (loss, (metrics, _)), gradients = optimizer.value_and_grad(
            loss_fn, state.params, batch, key, microbatches
        )
        state, more = optimizer.apply_gradients(
            state,
            gradients,
            self.optimizer,
            rate=self._rate,
            average_decay=self.loss.average_decay,
        )
        return state, {"loss": loss, **metrics, **more}

    def evaluate(self, state: TrainState, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """Held-out losses, and the likelihood of the codes of every level given those above.

        "code_nll/level_j" draws from the mixture and counts how often the quantizer returns the
        true code of level j when all shallower levels are visible everywhere: the density alone
        ranks heads wrongly, since levels of small remainders dominate it.
        """
        params, codebooks = state.average_params, state.statistics["codebooks"]
        use = keys.named_keys(key, "loss", "nll")
        loss, metrics = self._loss(params, codebooks, batch, use["loss"], is_training=False)
        is_valid = batch["is_valid"]
        num_examples = jnp.sum(is_valid).astype(jnp.float32)

        def level_nll(level):
            nll = self._level_nll(params, codebooks, batch, level, use["nll"])
            return {
                name: jnp.sum(jnp.mean(values, axis=-1), where=is_valid) / num_examples
                for name, values in nll.items()
            }

        by_level = jax.lax.map(level_nll, jnp.arange(self.space.depth))
        for name, values in by_level.items():
            metrics |= {f"{name}/level_{i}": values[i] for i in range(self.space.depth)}
            metrics[f"{name}/mean"] = jnp.mean(values)
        return {"loss": loss, **metrics, "num_examples": num_examples}

    def flops_per_example(self) -> float:
        """Forward, and twice as much for the backward pass."""
        with_code_head = self.loss.code_loss_weight > 0
        return 3 * resgen.forward_flops(self.model, self.space, with_code_head=with_code_head)

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
        codes, labels = batch["codes"], batch["labels"]
        is_valid = batch.get("is_valid", jnp.ones(labels.shape, bool))
        use = keys.named_keys(key, "mask", "drop", "dropout")
        row = jnp.arange(len(labels))
        is_masked = rvq_masking.sample_mask(
            keys.example_keys(use["mask"], row),
            self._schedule,
            self.space.length,
            self.space.depth,
            self.loss.max_mask_rate,
        )
        if is_training:
            row_keys = keys.example_keys(use["drop"], row)
            rate = self.loss.condition_drop_rate
            labels = conditioning.drop_labels(row_keys, labels, rate, self.space.num_classes)
        hidden, density, basis = self._predict(
            params, codebooks, codes, is_masked, labels, use["dropout"] if is_training else None
        )
        target = rvq_masking.masked_embedding(codes, is_masked, codebooks)
        position_loss = resgen_loss.OBJECTIVES[self.loss.objective](
            density, basis, target, self.loss
        )
        is_scored = jnp.broadcast_to(is_valid[:, None], position_loss.shape)
        num_hidden = jnp.sum(is_masked, axis=-1)
        loss = masked.per_masked_token(position_loss, num_hidden, is_scored)
        metrics = {
            "mixture_loss": loss,
            "log_scale": jnp.mean(density.log_scale, where=is_scored),
            "component_perplexity": _perplexity(density.component_logits, is_scored),
        }
        if self.loss.code_loss_weight:
            logits = self.network.apply(params, hidden, method="code_logits")
            nll = masked.code_nll(logits, codes)
            is_counted = is_masked & is_valid[:, None, None]
            code_loss = jnp.sum(nll, where=is_counted) / jnp.sum(is_counted).astype(nll.dtype)
            loss = loss + self.loss.code_loss_weight * code_loss
            metrics["code_loss"] = code_loss
        return loss, metrics

    def _predict(
        self,
        params: PyTree,
        codebooks: Float[Array, "q v c"],
        codes: Int[Array, "b l q"],
        is_masked: Bool[Array, "b l q"],
        labels: Int[Array, "b"],
        key: PRNGKeyArray | None = None,
    ) -> tuple[Float[Array, "b l d"], mixture.Params, mixture.Basis]:
        revealed = rvq_masking.revealed_embedding(codes, is_masked, codebooks)
        hidden = self.network.apply(params, revealed, is_masked, labels, key, method="hidden")
        return hidden, *self.network.apply(params, hidden, method="mixture")

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
        is_masked = jnp.broadcast_to(jnp.arange(self.space.depth) >= level, codes.shape)
        hidden, density, basis = self._predict(params, codebooks, codes, is_masked, batch["labels"])
        true_codes = jnp.take(codes, level, axis=-1)

        def draw(hits, index):
            row_keys = keys.example_keys(jax.random.fold_in(key, index), jnp.arange(len(codes)))
            vectors = mixture.sample(row_keys, density, basis).vector
            drawn = codebook.nearest_code(vectors.reshape(-1, vectors.shape[-1]), codebooks[level])
            is_hit = drawn.reshape(true_codes.shape) == true_codes
            return hits + is_hit.astype(jnp.int32), None

        draws = jnp.arange(self.loss.num_nll_draws)
        hits, _ = jax.lax.scan(draw, jnp.zeros(true_codes.shape, jnp.int32), draws)
        # One more draw from the uniform keeps a code that was never drawn finite.
        share = (hits.astype(jnp.float32) + 1 / self.space.codebook_size) / (len(draws) + 1)
        nll = {"code_nll": -jnp.log(share)}
        if self.loss.code_loss_weight:
            logits = self.network.apply(params, hidden, method="code_logits")
            head_nll = masked.code_nll(logits, codes)
            nll["code_head_nll"] = jnp.take(head_nll, level, axis=-1)
        return nll


def _perplexity(logits: Float[Array, "b l m"], is_scored: Bool[Array, "b l"]) -> Float[Array, ""]:
    """How many components the prior uses over the batch."""
    prior = jax.nn.softmax(logits, axis=-1)
    share = jnp.mean(prior, axis=(0, 1), where=is_scored[..., None])
    return jnp.exp(jnp.sum(jax.scipy.special.entr(share)))
