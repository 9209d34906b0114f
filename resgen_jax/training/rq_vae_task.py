"""Training the RQ-VAE: reconstruction and commitment by gradients, codebooks by statistics."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from resgen_jax.core import build, errors, keys
from resgen_jax.data import images as image_data
from resgen_jax.losses import quantization, reconstruction
from resgen_jax.metrics import pixels
from resgen_jax.quantizers import codebook, learning, rvq
from resgen_jax.quantizers import interface as quantizer_interface
from resgen_jax.tokenizers import interface, rq_vae
from resgen_jax.training import optimizer
from resgen_jax.training.state import Batch, Metrics, PyTree, TrainState

VALUE_RANGE = 2.0  # images lie in [-1, 1]
MAX_PSNR = 100.0  # stands for "no error at all", so that a mean stays finite

COMMITMENTS = {
    "total": lambda latents, sums: quantization.commitment_loss(latents, sums[..., -1, :]),
    "prefix": lambda latents, sums: (
        quantization.prefix_commitment_loss(latents, sums) / sums.shape[-2]
    ),
}


@dataclasses.dataclass(frozen=True)
class LossSpec:
    """What is minimised, and how the quantizer joins in."""

    reconstruction: str = "l2"
    commitment: str = "total"  # or "prefix": every depth pulls the latents
    commitment_weight: float = 0.25
    depth_drop_rate: float = 0.0  # share of images decoded from a random number of levels
    start_step: int = 100  # steps without quantization before k-means starts the codebooks
    average_decay: float = 0.999

    def __post_init__(self):
        for name, known in (
            ("reconstruction", reconstruction.KINDS),
            ("commitment", COMMITMENTS),
        ):
            value = getattr(self, name)
            if value not in known:
                raise errors.UserError(f"loss.{name} is {value!r}; {build.nearest(value, known)}")
        for name in ("depth_drop_rate", "average_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise errors.UserError(f"loss.{name} is {getattr(self, name)}; expected 0 to 1")
        for name in ("commitment_weight", "start_step"):
            if getattr(self, name) < 0:
                raise errors.UserError(f"loss.{name} is {getattr(self, name)}; expected 0 or more")


class RqVaeTask:
    """The RQ-VAE as a `Task`; batches hold "images" UInt8 "b h w c" and "index"."""

    name = "rq_vae"

    def __init__(
        self,
        model: rq_vae.Spec,
        quantizer: quantizer_interface.Spec,
        learner: quantizer_interface.Learner,
        loss: LossSpec,
        optimizer_spec: optimizer.Spec,
        num_steps: int,
    ):
        if quantizer.code_dim != model.code_dim:
            raise errors.UserError(
                f"quantizer.code_dim is {quantizer.code_dim} but model.code_dim is "
                f"{model.code_dim}; give both the same"
            )
        self.model, self.quantizer, self.learner, self.loss = model, quantizer, learner, loss
        self.network = rq_vae.make(model)
        self.optimizer: optax.GradientTransformation = optimizer.make(optimizer_spec, num_steps)
        self._optimizer_spec = optimizer_spec
        self._rate = optimizer.schedule(optimizer_spec, num_steps)
        self.tokenizer = interface.Tokenizer(
            encode=self._encode,
            decode=self._decode,
            codebooks=lambda statistics: learner.codebooks(statistics["quantizer"]),
            grid=model.grid,
            depth=quantizer.depth,
            codebook_size=quantizer.codebook_size,
            code_dim=model.code_dim,
            image_size=model.image_size,
            channels=model.channels,
        )

    def init(self, key: PRNGKeyArray) -> TrainState:
        """Fresh networks and random codebooks."""
        use = keys.named_keys(key, "params", "quantizer")
        params = self.network.init(use["params"])
        statistics = {"quantizer": self.learner.init(use["quantizer"])}
        return optimizer.initial_state(params, self.optimizer, statistics)

    def axes(self) -> PyTree:
        """Logical axes of the parameters."""
        return self.network.axes

    def statistics_axes(self) -> PyTree:
        """Logical axes of the codebook statistics."""
        return {"quantizer": self.learner.axes}

    def step(
        self, state: TrainState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        """One optimizer step, then one step of the codebooks on the same global batch."""
        learner_state = state.statistics["quantizer"]
        is_quantizing = state.step >= self.loss.start_step
        use = keys.named_keys(key, "loss", "start", "update")

        def loss_fn(params, batch, key):
            return self._loss(params, learner_state, batch, key, is_quantizing)

        microbatches = self._optimizer_spec.num_microbatches
        (loss, (metrics, (latents, codes))), gradients = optimizer.value_and_grad(
            loss_fn, state.params, batch, use["loss"], microbatches
        )
        quantized = quantizer_interface.Quantized(
            codes=codes, quantized=rvq.decode(codes, self.learner.codebooks(learner_state))
        )

        def start(learner_state):
            return self.learner.start(learner_state, latents, use["start"])

        def update(learner_state):
            return self.learner.update(learner_state, latents, quantized, use["update"])

        learner_state = jax.lax.switch(
            jnp.clip(state.step - self.loss.start_step + 2, 0, 2),
            [lambda same: same, start, update],
            learner_state,
        )
        state, more = optimizer.apply_gradients(
            state,
            gradients,
            self.optimizer,
            rate=self._rate,
            average_decay=self.loss.average_decay,
            statistics={"quantizer": learner_state},
        )
        return state, {"loss": loss, **metrics, **self._code_use(codes), **more}

    def evaluate(self, state: TrainState, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """Reconstruction loss and PSNR in dB with 1, 2, ... levels, of the averaged networks."""
        del key
        images, is_valid = image_data.to_unit(batch["images"]), batch["is_valid"]
        num_examples = jnp.sum(is_valid).astype(jnp.float32)
        codebooks = self.tokenizer.codebooks(state.statistics)
        codes = self._encode(state.average_params, state.statistics, images)
        sums = jnp.moveaxis(rvq.partial_sums(codes, codebooks), -2, 0)

        def by_depth(quantized):
            decoded = self.network.apply(state.average_params, quantized, method="decode")
            psnr = pixels.psnr(jnp.clip(decoded, -1, 1), images, value_range=VALUE_RANGE)
            loss = reconstruction.KINDS[self.loss.reconstruction](decoded, images)
            return tuple(
                jnp.sum(values, where=is_valid) / num_examples
                for values in (jnp.minimum(psnr, MAX_PSNR), loss)
            )

        psnr, loss = jax.lax.map(by_depth, sums)
        metrics = {f"psnr/depth_{i + 1}": psnr[i] for i in range(self.quantizer.depth)}
        return {"loss": loss[-1], **metrics, "num_examples": num_examples}

    def flops_per_example(self) -> float:
        """Forward, and twice as much for the backward pass."""
        return 3 * rq_vae.forward_flops(self.model)

    def _loss(self, params, learner_state, batch, key, is_quantizing):
        images = image_data.to_unit(batch["images"])
        latents = self.network.apply(params, images, method="encode")
        quantized = self.learner.quantize(learner_state, latents)
        codebooks = jax.lax.stop_gradient(self.learner.codebooks(learner_state))
        seen = quantized.quantized
        if self.loss.depth_drop_rate:
            seen, _ = learning.drop_depth(
                key, quantized.codes, codebooks, self.loss.depth_drop_rate
            )
        seen = jnp.where(is_quantizing, codebook.straight_through(latents, seen), latents)
        decoded = self.network.apply(params, seen, method="decode")
        losses = reconstruction.KINDS[self.loss.reconstruction](decoded, images)
        reconstruction_loss = jnp.mean(losses)
        sums = rvq.partial_sums(quantized.codes, codebooks)
        commitment_loss = jnp.mean(COMMITMENTS[self.loss.commitment](latents, sums))
        weight = jnp.where(is_quantizing, self.loss.commitment_weight, 0.0)
        metrics = {"reconstruction_loss": reconstruction_loss, "commitment_loss": commitment_loss}
        loss = reconstruction_loss + weight * commitment_loss
        return loss, (metrics, (latents, quantized.codes))

    def _code_use(self, codes: Int[Array, "b l q"]) -> Metrics:
        counts = codebook.count_codes(codes, self.quantizer.codebook_size)
        usage, perplexity = codebook.usage(counts), codebook.perplexity(counts)
        levels = range(self.quantizer.depth)
        return {f"usage/level_{i}": usage[i] for i in levels} | {
            f"perplexity/level_{i}": perplexity[i] for i in levels
        }

    def _encode(
        self, params: PyTree, statistics: PyTree, images: Float[Array, "b h w c"]
    ) -> Int[Array, "b l q"]:
        latents = self.network.apply(params, images, method="encode")
        return self.learner.quantize(statistics["quantizer"], latents).codes

    def _decode(
        self, params: PyTree, statistics: PyTree, codes: Int[Array, "b l p"]
    ) -> Float[Array, "b h w c"]:
        codebooks = self.learner.codebooks(statistics["quantizer"])
        return self.network.apply(params, rvq.decode(codes, codebooks), method="decode")
