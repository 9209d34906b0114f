"""Multi-scale codes against a NumPy loop, and the laws of their prefixes."""

import dataclasses

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import scipy.ndimage

from resgen_jax.core import errors
from resgen_jax.quantizers import multi_scale, resizing, vq

NUM_CODES, CODE_DIM = 12, 3
SPEC = multi_scale.Spec(scales=(1, 2, 4), grid_side=4, num_phi=2)

encode = jax.jit(multi_scale.encode, static_argnames=("spec", "max_distances"))
decode = jax.jit(multi_scale.decode, static_argnames="spec")


@pytest.fixture
def params(key):
    return multi_scale.init(key, SPEC, NUM_CODES, CODE_DIM)


@pytest.fixture
def latents(key):
    return jax.random.normal(jax.random.fold_in(key, 1), (5, 4, 4, CODE_DIM))


def phi_by_numpy(values, kernel, bias):
    """0.5 x + 0.5 conv(x), one pair of channels at a time."""
    convolved = np.zeros_like(values)
    for out in range(CODE_DIM):
        for come in range(CODE_DIM):
            convolved[..., out] += scipy.ndimage.correlate(
                values[..., come], kernel[..., come, out], mode="constant"
            )
    return 0.5 * values + 0.5 * (convolved + bias)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


# How far each vector is from each of the table.
AWAY = {
    "distance": lambda vectors, table: ((vectors[:, :, None] - table) ** 2).sum(-1),
    "direction": lambda vectors, table: -unit(vectors) @ unit(table).T,
}


def by_numpy(params, latent, choice):
    """Codes of one example and what they add up to after each scale, in float64."""
    table = np.asarray(params["codebook"], np.float64)
    kernels, biases = (np.asarray(params["phi"][name], np.float64) for name in ("kernel", "bias"))
    residual = np.asarray(latent, np.float64)
    codes, total, sums = [], 0.0, []
    for side, phi in zip((1, 2, 4), (0, 0, 1), strict=True):
        block = 4 // side
        small = residual.reshape(side, block, side, block, CODE_DIM).mean((1, 3))
        found = AWAY[choice](small, table).argmin(-1)
        matrix = resizing.bicubic_matrix(side, 4).astype(np.float64)
        large = np.einsum("ih,jw,hwc->ijc", matrix, matrix, table[found])
        added = phi_by_numpy(large, kernels[phi], biases[phi])
        residual, total = residual - added, total + added
        codes.append(found.reshape(-1))
        sums.append(total)
    return np.concatenate(codes), np.stack(sums, -2)


@pytest.mark.parametrize("choice", multi_scale.CHOICES)
def test_codes_and_what_their_prefixes_decode_to_are_those_of_a_plain_loop(
    params, latents, key, choice
):
    spec = dataclasses.replace(SPEC, choice=choice)
    bias = jax.random.normal(key, (2, CODE_DIM))
    params = {**params, "phi": {**params["phi"], "bias": bias}}
    codes = encode(params, latents, spec=spec)
    assert codes.shape == (5, SPEC.length)
    prefixes = [decode(params, codes[:, :end], spec=spec) for end in (1, 5, 21)]
    sums = np.stack(prefixes, -2)
    for row, latent in enumerate(latents):
        expected_codes, expected_sums = by_numpy(params, latent, choice)
        np.testing.assert_array_equal(codes[row], expected_codes)
        np.testing.assert_allclose(sums[row], expected_sums, atol=1e-5)


def test_chunks_change_no_code(params, latents):
    np.testing.assert_array_equal(
        encode(params, latents, spec=SPEC, max_distances=7 * NUM_CODES),
        encode(params, latents, spec=SPEC),
    )


def test_devices_keep_their_own_examples(params, latents):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    latents = jnp.concatenate([latents, latents[:3]])
    sharded = jax.device_put(latents, rows)
    compiled = encode.lower(params, sharded, spec=SPEC).compile()
    assert "all-gather" not in compiled.as_text()
    codes = compiled(params, sharded)
    np.testing.assert_array_equal(codes[:5], encode(params, latents[:5], spec=SPEC))


def test_one_scale_whose_phi_does_nothing_is_plain_quantization(params, latents):
    spec = multi_scale.Spec(scales=(4,), grid_side=4, num_phi=1)
    kernel = jnp.zeros((1, 3, 3, CODE_DIM, CODE_DIM)).at[:, 1, 1].set(jnp.eye(CODE_DIM))
    plain = {**params, "phi": {"kernel": kernel, "bias": jnp.zeros((1, CODE_DIM))}}
    codes, remainder = vq.encode(latents, params["codebook"])
    found = multi_scale.encode(plain, latents, spec)
    np.testing.assert_array_equal(found, codes.reshape(5, 16))
    np.testing.assert_allclose(
        multi_scale.decode(plain, found, spec), latents - remainder, atol=1e-6
    )


def test_convolutions_are_shared_by_the_nearest_tick():
    assert multi_scale.phi_of_scales(10, 4) == (0, 0, 1, 1, 1, 2, 2, 3, 3, 3)
    assert multi_scale.phi_of_scales(1, 4) == (0,)
    assert multi_scale.phi_of_scales(3, 2) == (0, 0, 1)
    assert multi_scale.phi_of_scales(7, 1) == (0,) * 7
    for count in range(1, 17):  # none is shared
        assert multi_scale.phi_of_scales(count, count) == tuple(range(count))
    for num_scales in (4, 9, 13):
        ticks = [1 / 12, 13 / 36, 23 / 36, 11 / 12]
        for scale, phi in enumerate(multi_scale.phi_of_scales(num_scales, 4)):
            away = [abs(tick - scale / (num_scales - 1)) for tick in ticks]
            assert away[phi] == pytest.approx(min(away))


def test_the_ten_scales_of_the_paper_have_680_codes():
    spec = multi_scale.Spec()
    assert spec.length == 680
    # The rule itself, away from the two scales that lie half-way between ticks.
    ticks = np.array([1 / 12, 13 / 36, 23 / 36, 11 / 12])
    away = np.abs(ticks[None] - np.arange(10)[:, None] / 9)
    for scale in set(range(10)) - {2, 7}:
        assert multi_scale.PHI_OF_TEN_SCALES[scale] == away[scale].argmin()
    for scale in (2, 7):
        assert np.sort(away[scale])[1] - away[scale].min() < 1e-9
        assert away[scale][multi_scale.PHI_OF_TEN_SCALES[scale]] - away[scale].min() < 1e-9


def test_bad_arguments_are_told(params, latents, monkeypatch):
    for scales in ((), (0, 4), (1, 4, 4), (2, 1, 4)):
        with pytest.raises(errors.UserError, match="expected sides that grow from 1 up"):
            multi_scale.Spec(scales=scales, grid_side=4)
    with pytest.raises(errors.UserError, match="the last scale is 4 and grid_side 8"):
        multi_scale.Spec(scales=(1, 4), grid_side=8)
    with pytest.raises(errors.UserError, match="num_phi is 0"):
        multi_scale.Spec(scales=(1, 4), grid_side=4, num_phi=0)
    with pytest.raises(errors.UserError, match="choice is 'nearest'; known: direction, distance"):
        multi_scale.Spec(scales=(1, 4), grid_side=4, choice="nearest")
    with pytest.raises(errors.UserError, match="latents are 4 x 3; expected grid_side 4"):
        multi_scale.encode(params, latents[:, :, :3], SPEC)
    with pytest.raises(errors.UserError, match=r"there are 6 codes; expected one of \(1, 5, 21\)"):
        multi_scale.decode(params, jnp.zeros((1, 6), jnp.int32), SPEC)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(errors.UserError, match="2 channels and the codebook 3"):
        multi_scale.encode(params, latents[..., :2], SPEC)
