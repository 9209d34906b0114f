"""Quantizers of many kinds against vector-quantize-pytorch with the same codebooks and weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("vector_quantize_pytorch")

import torch
import vector_quantize_pytorch as peer
from vector_quantize_pytorch import vector_quantize_pytorch as peer_parts

from resgen_jax.losses import quantization
from resgen_jax.quantizers import beam, cosine, gradients, scalar, sim_vq

NUM_ROWS, CODE_DIM, NUM_CODES = 400, 8, 32


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def tensor(array):
    return torch.tensor(np.array(array))


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    torch.manual_seed(0)


@pytest.fixture
def latents():
    return numbers(0, NUM_ROWS, CODE_DIM)


def pulled_back(estimator, latents, quantized, pull):
    """Value and gradient to the latents of one of torch's estimators."""
    start = tensor(latents).requires_grad_()
    value = estimator(start, tensor(quantized))
    value.backward(tensor(pull))
    return value.detach(), start.grad


@pytest.mark.parametrize(
    ("name", "peer_estimator"),
    [("rotation", peer_parts.rotate_to), ("straight_through", peer_parts.straight_through)],
)
def test_gradient_estimators(name, peer_estimator, latents):
    quantized, pull = numbers(1, NUM_ROWS, CODE_DIM), numbers(2, NUM_ROWS, CODE_DIM)
    value, pull_back = jax.vjp(gradients.GRADIENTS[name], *map(jnp.asarray, (latents, quantized)))
    peer_value, peer_gradient = pulled_back(peer_estimator, latents, quantized, pull)
    np.testing.assert_allclose(value, peer_value, atol=2e-6)
    np.testing.assert_allclose(pull_back(jnp.asarray(pull))[0], peer_gradient, atol=2e-5)


def test_directional_without_noise(latents):
    quantized, pull = numbers(1, NUM_ROWS, CODE_DIM), numbers(2, NUM_ROWS, CODE_DIM)

    def estimator(start, end):
        return peer_parts.directional_reparam(start, end, noise_variance=0.0)

    def ours(latents):
        return gradients.directional(jax.random.key(0), latents, jnp.asarray(quantized), 0.0)

    value, pull_back = jax.vjp(ours, jnp.asarray(latents))
    peer_value, peer_gradient = pulled_back(estimator, latents, quantized, pull)
    np.testing.assert_allclose(value, peer_value, atol=2e-6)
    np.testing.assert_allclose(pull_back(jnp.asarray(pull))[0], peer_gradient, atol=2e-5)


def test_cosine_codebooks_learn_alike(latents):
    module = peer.VectorQuantize(CODE_DIM, NUM_CODES, use_cosine_sim=True, decay=0.8)
    table = jnp.asarray(module.codebook.detach().numpy())
    state = cosine.CosineState(
        counts=jnp.ones((1, NUM_CODES)), sums=table[None], lengths=jnp.ones(1)
    )
    for seed in range(3):
        batch = numbers(10 + seed, 1, NUM_ROWS, CODE_DIM)
        codes, _ = cosine.encode(jnp.asarray(batch), state.sums[0])
        _, peer_codes, _ = module(tensor(batch))
        np.testing.assert_array_equal(codes, peer_codes)
        state = cosine.update(state, jnp.asarray(batch), codes[..., None], decay=0.8)
        np.testing.assert_allclose(
            cosine.normalise(state.sums[0]), module.codebook.detach(), atol=1e-5
        )
        np.testing.assert_allclose(state.counts, module._codebook.cluster_size, rtol=1e-5)


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (3, 4, 6, 7)])
def test_fsq(levels):
    values, pull = 2.0 * numbers(4, 1, NUM_ROWS, 4), numbers(5, 1, NUM_ROWS, 4)
    module = peer.FSQ(list(levels))
    start = tensor(values).requires_grad_()
    peer_values, peer_codes = module(start)
    peer_values.backward(tensor(pull))
    found, pull_back = jax.vjp(lambda x: scalar.fsq_quantize(x, levels), jnp.asarray(values))
    np.testing.assert_allclose(found, peer_values.detach(), atol=1e-6)
    np.testing.assert_allclose(pull_back(jnp.asarray(pull))[0], start.grad, atol=1e-5)
    np.testing.assert_array_equal(scalar.fsq_encode(jnp.asarray(values), levels), peer_codes)
    everything = np.arange(scalar.fsq_size(levels))
    np.testing.assert_allclose(
        scalar.fsq_decode(jnp.asarray(everything), levels), module.implicit_codebook, atol=1e-6
    )


def test_lfq_and_its_entropy_loss():
    values, inverse_temperature = 0.5 * numbers(6, 1, NUM_ROWS, 5), 0.5
    module = peer.LFQ(dim=5, entropy_loss_weight=1.0, diversity_gamma=0.7)
    start = tensor(values).requires_grad_()
    peer_values, peer_codes, peer_loss = module(start, inv_temperature=inverse_temperature)
    (peer_gradient,) = torch.autograd.grad(peer_loss, start, retain_graph=True)
    np.testing.assert_array_equal(scalar.lfq_encode(jnp.asarray(values)), peer_codes)
    np.testing.assert_allclose(
        scalar.lfq_quantize(jnp.asarray(values)), peer_values.detach(), atol=1e-6
    )
    np.testing.assert_array_equal(
        scalar.lfq_decode(jnp.asarray(peer_codes.numpy()), 5),
        module.indices_to_codes(peer_codes).detach(),
    )

    def loss(values):
        return scalar.lfq_entropy_loss(values, 1.0 / inverse_temperature, 0.7)

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(values))
    assert float(value) == pytest.approx(peer_loss.item(), abs=1e-5)
    np.testing.assert_allclose(gradient, peer_gradient, atol=1e-7)


def test_sim_vq_and_its_losses():
    values = numbers(7, 1, NUM_ROWS, CODE_DIM)
    module = peer.SimVQ(CODE_DIM, NUM_CODES, rotation_trick=True, frozen_codebook_dim=6)
    params = {
        "frozen": jnp.asarray(module.frozen_codebook.numpy()),
        "map": {"kernel": jnp.asarray(module.code_transform.weight.detach().numpy().T)},
    }
    start = tensor(values).requires_grad_()
    peer_values, peer_codes, peer_loss = module(start)
    peer_loss.backward()

    def loss(params, latents):
        codes, _ = sim_vq.encode(params, latents)
        quantized = sim_vq.decode(params, codes)
        total = quantization.codebook_loss(latents, quantized)
        total = total + 0.25 * quantization.commitment_loss(latents, quantized)
        return jnp.mean(total), (codes, gradients.rotation(latents, quantized))

    step = jax.value_and_grad(loss, (0, 1), has_aux=True)
    (value, (codes, passed)), (to_params, to_latents) = step(params, jnp.asarray(values))
    np.testing.assert_array_equal(codes, peer_codes)
    np.testing.assert_allclose(passed, peer_values.detach(), atol=2e-6)
    assert float(value) == pytest.approx(peer_loss.item(), rel=1e-5)
    np.testing.assert_allclose(to_latents, start.grad, atol=1e-8)
    np.testing.assert_allclose(
        to_params["map"]["kernel"].T, module.code_transform.weight.grad, atol=1e-7
    )


def test_beam_search(latents):
    # Their beams are ranked by a weighted sum of the levels' errors, ours by the last one's:
    # weights that fall steeply make the two rules one, but for near ties.
    module = peer.ResidualVQ(
        dim=CODE_DIM,
        num_quantizers=3,
        codebook_size=NUM_CODES,
        beam_size=4,
        beam_score_quantizer_weights=[1e-6, 1e-3, 1.0],
    ).eval()
    scales = np.array([1.0, 0.6, 0.4], np.float32)[:, None, None]
    books = numbers(8, 3, NUM_CODES, CODE_DIM) * scales
    for layer, book in zip(module.layers, books, strict=True):
        layer._codebook.embed.data = tensor(book)[None]
    with torch.no_grad():
        peer_values, peer_codes, _ = module(tensor(latents)[None])
    codes, remainder = beam.encode(jnp.asarray(latents), jnp.asarray(books), 4)
    error = np.sum(np.asarray(remainder) ** 2, -1)
    peer_error = np.sum((latents - peer_values[0].numpy()) ** 2, -1)
    # Ours also keeps greedy codes where those are better.
    assert (error <= peer_error + 1e-4).all()
    is_equal = (np.asarray(codes) == peer_codes[0].numpy()).all(-1)
    assert is_equal.mean() > 0.95
    np.testing.assert_allclose(error[is_equal], peer_error[is_equal], atol=1e-4)


def test_losses_that_keep_codes_apart_and_in_use():
    book = numbers(11, NUM_CODES, CODE_DIM)
    peer_loss = peer_parts.orthogonal_loss_fn(tensor(book)[None])
    assert float(quantization.orthogonal_loss(jnp.asarray(book))) == pytest.approx(
        peer_loss.item(), rel=1e-5
    )
    logits = numbers(12, NUM_ROWS, NUM_CODES)
    peer_entropy = peer_parts.entropy(tensor(logits).softmax(-1).mean(0))
    assert float(quantization.diversity_loss(jnp.asarray(logits))) == pytest.approx(
        -peer_entropy.item(), rel=1e-5
    )
