"""Gradients of the RQ-VAE's networks: those of the whole batch, in however many parts it comes."""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from resgen_jax.data import images as image_data
from resgen_jax.nn import functional
from resgen_jax.quantizers import codebook_averages, gradients, rvq
from resgen_jax.quantizers import interface as quantizers
from resgen_jax.training import adversary, microbatches, rq_vae_loss
from resgen_jax.training.state import Batch, Metrics, PyTree, TrainState

DISCRIMINATOR = rq_vae_loss.DISCRIMINATOR


class Found(NamedTuple):
    """Loss, metrics and gradients of a batch, with what its images became on the way."""

    loss: Float[Array, ""]
    metrics: Metrics
    gradients: PyTree  # of the autoencoder
    latents: Float[Array, "b l c"]
    codes: Int[Array, "b l q"]
    made: Float[Array, "b h w d"]


class _Passed(NamedTuple):
    latents: Float[Array, "b l c"]
    codes: Int[Array, "b l q"]
    sums: Float[Array, "b l q c"]  # of the vectors of the first 1, 2, ... codes
    features: Float[Array, "b h w d"]  # what the decoder's last layer makes images from
    made: Float[Array, "b h2 w2 d2"]


class Gradients:
    """Of a batch, from `start_step` on with codes, and with an `opponent` where there is one."""

    def __init__(
        self,
        spec: rq_vae_loss.LossSpec,
        network: functional.Network,
        learner: quantizers.Learner,
        image_loss: rq_vae_loss.ImageLoss,
        opponent: adversary.Adversary | None,
        *,
        depth: int,
        start_step: int,
        num_microbatches: int,
    ):
        self.spec, self.network, self.learner = spec, network, learner
        self.image_loss, self.opponent, self.start_step = image_loss, opponent, start_step
        self.depth, self.num_microbatches = depth, num_microbatches

    def __call__(self, state: TrainState, batch: Batch, key: PRNGKeyArray) -> Found:
        """Gradients, metrics and new statistics of a batch at this state."""
        params = {name: part for name, part in state.params.items() if name != DISCRIMINATOR}
        num_images, drawn = len(batch["images"]), self.draw(batch, key)
        more, metrics = jnp.zeros(()), {}
        if self.opponent and self.num_microbatches > 1:
            more, metrics, drawn["push"] = self._push_of_batch(params, state, drawn)

        def loss_fn(params, rows):
            return self.loss(params, state, rows, num_images)

        (loss, (found, by_row)), of_params = microbatches.value_and_grad(
            loss_fn, params, drawn, self.num_microbatches
        )
        return Found(loss + more, {**found, **metrics}, of_params, *by_row)

    def draw(self, batch: Batch, key: PRNGKeyArray) -> Batch:
        """The batch with how many levels of each image the decoder sees."""
        drawn = {"images": batch["images"]}
        if self.spec.depth_drop_rate:
            drawn["num_levels"] = codebook_averages.sample_num_levels(
                key, len(batch["images"]), self.depth, self.spec.depth_drop_rate
            )
        return drawn

    def loss(
        self, params: PyTree, state: TrainState, rows: Batch, num_images: int
    ) -> tuple[Float[Array, ""], tuple[Metrics, tuple]]:
        """What rows out of `draw` add to the loss of `num_images`, and to its metrics.

        The gradients are taken once, at the images: the adaptive weight compares them at the last
        layer, and their weighted sum goes back through the networks.
        """
        images = image_data.to_unit(rows["images"])
        passed = self._forward(params, state, rows)
        (loss, metrics), pull = self._fidelity(passed, images, state, num_images)
        if "push" in rows:
            pull = pull + rows["push"]
        elif self.opponent:
            more, found, push = self.opponent.pull(
                state.params[DISCRIMINATOR],
                jax.lax.stop_gradient(passed.made),
                lambda push: tuple(
                    optax.tree.norm(self._at_last_layer(params, passed, gradient))
                    for gradient in (pull, push)
                ),
                state.step,
            )
            loss, metrics, pull = loss + more, {**metrics, **found}, pull + push
        passed_back = jnp.sum(jax.lax.stop_gradient(pull) * passed.made)
        value = jax.lax.stop_gradient(loss)
        loss = value + (passed_back - jax.lax.stop_gradient(passed_back))
        commitment = rq_vae_loss.COMMITMENTS[self.spec.commitment](passed.latents, passed.sums)
        commitment = jnp.sum(jnp.mean(commitment, axis=-1)) / num_images
        weight = jnp.where(self._is_quantizing(state), self.spec.commitment_weight, 0.0)
        metrics["commitment_loss"] = commitment
        return loss + weight * commitment, (metrics, (passed.latents, passed.codes, passed.made))

    def _is_quantizing(self, state: TrainState) -> Array:
        return state.step >= self.start_step

    def _forward(self, params: PyTree, state: TrainState, rows: Batch) -> _Passed:
        learner_state, images = state.statistics["learner"], image_data.to_unit(rows["images"])
        latents = self.network.apply(params, images, method="encode")
        quantized = self.learner.quantize(learner_state, latents)
        codebooks = jax.lax.stop_gradient(self.learner.codebooks(learner_state))
        seen = quantized.quantized
        if "num_levels" in rows:
            seen = rvq.decode_first(quantized.codes, codebooks, rows["num_levels"])
        estimate = gradients.GRADIENTS[self.spec.gradient]
        seen = jnp.where(self._is_quantizing(state), estimate(latents, seen), latents)
        features = self.network.apply(params, seen, method="features")
        made = self.network.apply(params, features, method="finish")
        sums = rvq.partial_sums(quantized.codes, codebooks)
        return _Passed(latents, quantized.codes, sums, features, made)

    def _fidelity(self, passed: _Passed, images, state: TrainState, num_images: int):
        """`((loss, metrics), gradient)` at the images made."""
        fixed = jax.lax.stop_gradient(passed.made)
        return jax.value_and_grad(self.image_loss, has_aux=True)(
            fixed, images, state.statistics, num_images
        )

    def _push_of_batch(self, params: PyTree, state: TrainState, drawn: Batch):
        """The adversary's say of the whole batch, before its gradients are taken part by part.

        Rows meet in it, in the discriminator's normalisation and in the adaptive weight, so the
        discriminator, small beside the autoencoder, sees the whole batch. The price is two more
        passes forward through the autoencoder, or one with a fixed weight.
        """
        num_images = len(drawn["images"])

        def make(rows):
            return (), self._forward(params, state, rows).made

        def at_last_layer(rows):
            passed, images = self._forward(params, state, rows), image_data.to_unit(rows["images"])
            _, pull = self._fidelity(passed, images, state, num_images)
            of_both = (self._at_last_layer(params, passed, each) for each in (pull, rows["push"]))
            return tuple(of_both), ()

        def norms(push):
            rows = {**drawn, "push": push}
            of_both, _ = microbatches.run(at_last_layer, rows, self.num_microbatches)
            return tuple(optax.tree.norm(each) for each in of_both)

        _, made = microbatches.run(make, drawn, self.num_microbatches)
        opponent = cast(adversary.Adversary, self.opponent)  # asked for only where there is one
        return opponent.pull(state.params[DISCRIMINATOR], made, norms, state.step)

    def _at_last_layer(self, params: PyTree, passed: _Passed, gradient: Array) -> Array:
        """A gradient at the images, brought to the kernel of the decoder's last layer."""
        last, features = params["decoder"]["conv_out"], jax.lax.stop_gradient(passed.features)

        def finish(kernel):
            decoder = {**params["decoder"], "conv_out": {**last, "kernel": kernel}}
            return self.network.apply({**params, "decoder": decoder}, features, method="finish")

        _, back = jax.vjp(finish, last["kernel"])
        return back(gradient)[0]
