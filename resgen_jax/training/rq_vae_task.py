"""Training the RQ-VAE: the networks by gradients, their codebooks by statistics.

With an adversary the discriminator is part of the parameters, with an optimizer of its own, and
both sides take their step in one program.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from resgen_jax.core import errors, keys
from resgen_jax.data import images as image_data
from resgen_jax.losses import reconstruction
from resgen_jax.metrics import pixels
from resgen_jax.quantizers import codebook, rvq
from resgen_jax.quantizers import interface as quantizer_interface
from resgen_jax.tokenizers import quantized, rq_vae
from resgen_jax.training import adversary, average, optimizer, rq_vae_gradients, rq_vae_loss
from resgen_jax.training.state import Batch, Metrics, PyTree, TrainState

VALUE_RANGE = 2.0  # images lie in [-1, 1]
MAX_PSNR = 100.0  # stands for "no error at all", so that a mean stays finite
# Up to so many, images of all depths are decoded at once: 128 of 256x256.
MAX_DECODED_PIXELS = 2**23
HAVE_BEGUN = -1  # as a step: before the first one
DISCRIMINATOR = rq_vae_loss.DISCRIMINATOR


class RqVaeTask:
    """The RQ-VAE as a `Task`; batches hold "images" UInt8 "b h w c" and "index".

    Codebooks begin at the loss's `start_step`, unless another one is given: HAVE_BEGUN where they
    come from another run. `perceptual_params` are the frozen LPIPS weights, kept among the
    statistics so that a run goes on without their file; None stands for a state that is restored,
    not begun. Also among them are
    the "learner" of the codebooks, and the "quantizer", its average, whose codebooks fit
    `average_params`: what the tokenizer encodes and decodes with.
    """

    name = "rq_vae"

    def __init__(
        self,
        model: rq_vae.Spec,
        quantizer: quantizer_interface.Spec,
        learner: quantizer_interface.Learner,
        loss: rq_vae_loss.LossSpec,
        optimizer_spec: optimizer.Spec,
        num_steps: int,
        adversarial: adversary.Spec | None = None,
        perceptual_params: PyTree = None,
        start_step: int | None = None,
    ):
        self.model, self.quantizer, self.learner, self.loss = model, quantizer, learner, loss
        self.tokenizer = quantized.make(model, quantizer, learner)
        self.network = self.tokenizer.network
        self.adversary = (
            adversary.Adversary(adversarial, model.image_size, model.channels)
            if adversarial
            else None
        )
        self.image_loss = rq_vae_loss.ImageLoss(loss, model, perceptual_params)
        # The codebooks start from latents, which the first step is the first to see.
        self._start_step = max(loss.start_step, 1) if start_step is None else start_step
        self.gradients = rq_vae_gradients.Gradients(
            loss,
            self.network,
            learner,
            self.image_loss,
            self.adversary,
            depth=quantizer.depth,
            start_step=self._start_step,
            num_microbatches=optimizer_spec.num_microbatches,
        )
        self.optimizer = _optimizer(optimizer_spec, adversarial, num_steps)
        self._rate = optimizer.schedule(optimizer_spec, num_steps)

    def init(self, key: PRNGKeyArray) -> TrainState:
        """Fresh networks and random codebooks."""
        use = keys.named_keys(key, "params", "quantizer", DISCRIMINATOR)
        params = self.network.init(use["params"])
        learner_state = self.learner.init(use["quantizer"])
        statistics = {"learner": learner_state, "quantizer": learner_state}
        if self.adversary:
            params[DISCRIMINATOR] = self.adversary.network.init(use[DISCRIMINATOR])
            statistics["scores"] = self.adversary.init_scores()
        if self.image_loss.has_frozen:
            statistics["perceptual"] = self.image_loss.frozen()
        return optimizer.initial_state(params, self.optimizer, statistics)

    def axes(self) -> PyTree:
        """Logical axes of the parameters."""
        more = {DISCRIMINATOR: self.adversary.network.axes} if self.adversary else {}
        return {**self.network.axes, **more}

    def statistics_axes(self) -> PyTree:
        """Logical axes of the codebook statistics, and of what is frozen."""
        axes = {"learner": self.learner.axes, "quantizer": self.learner.axes}
        if self.adversary:
            axes["scores"] = {"real": (), "made": ()}
        if self.image_loss.has_frozen:
            frozen = self.image_loss.frozen()
            axes["perceptual"] = jax.tree.map(lambda leaf: (None,) * leaf.ndim, frozen)
        return axes

    def step(
        self, state: TrainState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        """One step of the networks (of both sides), then of the codebooks on the same batch."""
        use = keys.named_keys(key, "loss", "start", "update")
        found = self.gradients(state, batch, use["loss"])
        of_params, metrics, statistics = found.gradients, found.metrics, dict(state.statistics)
        if self.adversary:
            of_params[DISCRIMINATOR], more, statistics["scores"] = self.adversary.gradients(
                state.params[DISCRIMINATOR],
                statistics["scores"],
                image_data.to_unit(batch["images"]),
                jax.lax.stop_gradient(found.made),
                state.step,
            )
            metrics = {**metrics, **more}
        statistics["learner"] = self._learn(state, found.latents, found.codes, use)
        statistics["quantizer"] = self._average(state, statistics["learner"])
        state, more = optimizer.apply_gradients(
            state,
            of_params,
            self.optimizer,
            rate=self._rate,
            average_decay=self.loss.average_decay,
            statistics=statistics,
        )
        return state, {"loss": found.loss, **metrics, **self._code_use(found.codes), **more}

    def evaluate(self, state: TrainState, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """Fidelity, and PSNR in dB with 1, 2, ... levels, of averaged networks and codebooks."""
        del key
        images, is_valid = image_data.to_unit(batch["images"]), batch["is_valid"]
        num_examples = jnp.sum(is_valid).astype(jnp.float32)

        def mean(values):
            return jnp.sum(values, where=is_valid) / num_examples

        params, depth = state.average_params, self.quantizer.depth
        codes = self.tokenizer.encode(params, state.statistics, images)
        sums = rvq.partial_sums(codes, self.tokenizer.codebooks(state.statistics))
        decoded = self._decode_every_depth(params, sums)
        metrics = {
            "loss": mean(reconstruction.KINDS[self.loss.reconstruction](decoded[-1], images))
        }
        for level in range(depth):
            psnr = pixels.psnr(jnp.clip(decoded[level], -1, 1), images, value_range=VALUE_RANGE)
            metrics[f"psnr/depth_{level + 1}"] = mean(jnp.minimum(psnr, MAX_PSNR))
        if self.image_loss.has_frozen:
            shown = jnp.clip(decoded[-1], -1, 1)
            distance = self.image_loss.distance(shown, images, state.statistics)
            metrics[f"lpips_{self.loss.perceptual}"] = mean(distance)
        return {**metrics, "num_examples": num_examples}

    def remarks(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """None."""
        del metrics
        return {}

    def flops_per_example(self) -> float:
        """Forward, and twice as much for the backward pass; and what judges the images."""
        total = 3 * rq_vae.forward_flops(self.model) + self.image_loss.flops_per_example()
        return total + (self.adversary.flops_per_example() if self.adversary else 0)

    def forward_program(self, batch_size: int) -> tuple[Callable, tuple]:
        """Both networks' forward pass and its abstract arguments, parameters first."""
        return rq_vae.forward_program(self.model, batch_size)

    def _learn(self, state: TrainState, latents, codes, use):
        """The codebooks' statistics after this step: untouched, begun by k-means, or moved."""
        learner_state = state.statistics["learner"]
        quantized = quantizer_interface.Quantized(
            codes=codes, quantized=rvq.decode(codes, self.learner.codebooks(learner_state))
        )

        def start(learner_state):
            return self.learner.start(learner_state, latents, use["start"])

        def update(learner_state):
            return self.learner.update(learner_state, latents, quantized, use["update"])

        return jax.lax.switch(
            jnp.clip(state.step - self._start_step + 2, 0, 2),
            [lambda same: same, start, update],
            learner_state,
        )

    def _average(self, state: TrainState, learner_state: quantizer_interface.State):
        """What evaluates and encodes beside the averaged networks, and lags as far behind as they.

        Codebooks that follow the latents of this step's encoder are not those of the averaged one.
        """
        averaged = average.update(
            state.statistics["quantizer"], learner_state, self.loss.average_decay, state.step
        )
        has_started = state.step >= self._start_step  # random codebooks have no part in it
        return jax.tree.map(
            lambda average, new: jnp.where(has_started, average, new), averaged, learner_state
        )

    def _code_use(self, codes: Int[Array, "b l q"]) -> Metrics:
        counts = codebook.count_codes(codes, self.quantizer.codebook_size)
        usage, perplexity = codebook.usage(counts), codebook.perplexity(counts)
        levels = range(self.quantizer.depth)
        return {f"usage/level_{i}": usage[i] for i in levels} | {
            f"perplexity/level_{i}": perplexity[i] for i in levels
        }

    def _decode_every_depth(
        self, params: PyTree, sums: Float[Array, "b l q c"]
    ) -> Float[Array, "q b h w d"]:
        """Images out of the sums of the first 1, 2, ... levels."""
        batch_size, length, depth, code_dim = sums.shape

        def decode(quantized):
            return self.network.apply(params, quantized, method="decode")

        # A loop needs the memory of one depth, but its convolutions are slow on CPU.
        if batch_size * depth * self.model.image_size**2 > MAX_DECODED_PIXELS:
            return jax.lax.map(decode, jnp.moveaxis(sums, -2, 0))
        decoded = decode(jnp.moveaxis(sums, -2, 1).reshape(-1, length, code_dim))
        return jnp.moveaxis(decoded.reshape(batch_size, depth, *decoded.shape[1:]), 1, 0)


def _optimizer(
    spec: optimizer.Spec, adversarial: adversary.Spec | None, num_steps: int
) -> optax.GradientTransformation:
    """One optimizer, or with an adversary one for each side."""
    if adversarial is None:
        return optimizer.make(spec, num_steps)
    autoencoder = optimizer.make(spec, num_steps)
    try:
        discriminator = optimizer.make(adversarial.optimizer, num_steps)
    except errors.UserError as error:
        # The messages name the fields of a section `optimizer`; this one lies within another.
        raise errors.UserError(str(error).replace("optimizer.", "adversarial.optimizer.")) from None
    sides = {"autoencoder": autoencoder, DISCRIMINATOR: discriminator}

    def side(params: PyTree) -> PyTree:
        def label(name: str, part: PyTree) -> PyTree:
            return jax.tree.map(lambda _: name if name in sides else "autoencoder", part)

        return {name: label(name, part) for name, part in params.items()}

    return optax.partition(sides, side)
