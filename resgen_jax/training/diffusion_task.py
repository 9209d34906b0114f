"""Training a diffusion on cached latents, SiT's or DiT's, and its loss on those held out."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import optax
from jaxtyping import PRNGKeyArray

from resgen_jax.core import keys, spaces
from resgen_jax.generators import diffusion_transformer
from resgen_jax.training import descent, diffusion_loss, optimizer
from resgen_jax.training.diffusion_loss import LossSpec
from resgen_jax.training.state import Batch, Metrics, PyTree, TrainState


class DiffusionTask:
    """SiT or DiT as a `Task`; batches hold "latents" Float "b l c" and "labels" Int "b".

    Latents are as the tokenizer gives them: the space has their scale. Those of different lengths
    hold "lengths" Int "b", too. Raises UserError for a model and a loss that contradict each other.
    """

    name = "diffusion"

    def __init__(
        self,
        model: diffusion_transformer.Spec,
        loss: LossSpec,
        optimizer_spec: optimizer.Spec,
        num_steps: int,
        space: spaces.Space,
    ):
        diffusion_loss.check(model, loss)
        self.model, self.loss, self.space = model, loss, space
        self.network = diffusion_transformer.make(model, space)
        self.optimizer: optax.GradientTransformation = optimizer.make(optimizer_spec, num_steps)
        self._optimizer_spec = optimizer_spec
        self._rate = optimizer.schedule(optimizer_spec, num_steps)
        self._sums_of = diffusion_loss.sums
        if model.learns_variance:
            self._sums_of = diffusion_loss.sums_with_variance

    def init(self, key: PRNGKeyArray) -> TrainState:
        """Fresh parameters."""
        params = self.network.init(keys.named_keys(key, "params")["params"])
        return optimizer.initial_state(params, self.optimizer)

    def axes(self) -> PyTree:
        """Logical axes of the parameters."""
        return self.network.axes

    def statistics_axes(self) -> PyTree:
        """There are none."""
        return {}

    def step(
        self, state: TrainState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        """One optimizer step on one time of each example."""
        drawn = diffusion_loss.draw(batch, key, self.loss, self.space)
        count = diffusion_loss.num_positions(drawn)

        def loss_fn(params, rows):
            sums = self._sums(params, rows)
            return diffusion_loss.per_position(sums, count), sums

        state, sums, metrics = descent.step(
            state,
            loss_fn,
            drawn,
            self.optimizer,
            num_microbatches=self._optimizer_spec.num_microbatches,
            rate=self._rate,
            average_decay=self.loss.average_decay,
        )
        return state, {**metrics, **self._metrics(sums, drawn)}

    def evaluate(self, state: TrainState, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """The loss with all labels told, at one time of each example."""
        drawn = diffusion_loss.draw(batch, key, self.loss, self.space, is_training=False)
        sums = self._sums(state.average_params, drawn)
        loss = diffusion_loss.per_position(sums, diffusion_loss.num_positions(drawn))
        num_examples = jnp.sum(batch["is_valid"]).astype(jnp.float32)
        return {"loss": loss, **self._metrics(sums, drawn), "num_examples": num_examples}

    def remarks(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """None: its figures say no more than they are."""
        del metrics
        return {}

    def flops_per_example(self) -> float:
        """Forward, and twice as much for the backward pass."""
        return 3 * diffusion_transformer.forward_flops(self.model, self.space)

    def forward_program(self, batch_size: int) -> tuple[Callable, tuple]:
        """A forward pass and its abstract arguments, parameters first: to count by module."""
        return diffusion_transformer.forward_program(self.model, self.space, batch_size)

    def _sums(self, params: PyTree, rows: Batch) -> diffusion_loss.Sums:
        outputs = self.network.apply(
            params, rows["states"], rows["times"], rows["labels"], rows.get("is_real")
        )
        return self._sums_of(outputs, rows, self.loss)

    def _metrics(self, sums: diffusion_loss.Sums, drawn: Batch) -> Metrics:
        """The terms of the loss, each for itself."""
        count = diffusion_loss.num_positions(drawn)
        found = {"squared_error": sums.squared_error / count}
        return found | ({"bound": sums.bound / count} if self.model.learns_variance else {})
