"""Resizing against torch.nn.functional.interpolate, and multi-scale codes built from it."""

import jax
import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from resgen_jax.quantizers import multi_scale, resizing

MODES = {"area": resizing.area_matrix, "bicubic": resizing.bicubic_matrix}
PAIRS = [(16, side) for side in multi_scale.VAR_SCALES] + [
    (side, 16) for side in multi_scale.VAR_SCALES
]


@pytest.mark.parametrize("mode", sorted(MODES))
def test_matrices_are_torchs_interpolation(mode):
    for side, new_side in PAIRS:
        # The rows of the identity go through torch one by one: its own matrix.
        eye = torch.eye(side).reshape(side, 1, side, 1).expand(side, 1, side, side)
        found = torch.nn.functional.interpolate(eye, size=(new_side, side), mode=mode)[:, 0, :, 0]
        np.testing.assert_allclose(MODES[mode](side, new_side), found.T, atol=2e-6)


def in_torch(table, phis, latents, spec):
    """The published loop over scales, written on torch's own functions."""
    ticks = np.linspace(1 / 12, 11 / 12, 4)
    residual, total, codes = latents, 0.0, []
    last = len(spec.scales) - 1
    for scale, side in enumerate(spec.scales):
        small = residual
        if scale != last:
            small = torch.nn.functional.interpolate(residual, size=(side, side), mode="area")
        rows = small.permute(0, 2, 3, 1).reshape(-1, len(table[0]))
        found = torch.cdist(rows, table).argmin(1)
        large = table[found].reshape(-1, side, side, len(table[0])).permute(0, 3, 1, 2)
        if scale != last:
            large = torch.nn.functional.interpolate(large, size=residual.shape[2:], mode="bicubic")
        phi = phis[int(np.abs(ticks - scale / last).argmin())]
        added = 0.5 * large + 0.5 * phi(large)
        total, residual = total + added, residual - added
        codes.append(found.reshape(len(latents), -1))
    return torch.cat(codes, 1), total


def test_ten_scales_equal_the_same_steps_in_torch():
    spec = multi_scale.Spec()
    params = multi_scale.init(jax.random.key(0), spec, 64, 8)
    latents = jax.random.normal(jax.random.key(1), (2, 16, 16, 8))
    table = torch.tensor(np.asarray(params["codebook"]))
    phis = [torch.nn.Conv2d(8, 8, 3, padding=1) for _ in range(4)]
    for index, phi in enumerate(phis):
        kernel, bias = (np.array(params["phi"][name][index]) for name in ("kernel", "bias"))
        phi.weight.data = torch.tensor(kernel.transpose(3, 2, 0, 1).copy())
        phi.bias.data = torch.tensor(bias)
    theirs = torch.tensor(np.asarray(latents).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        peer_codes, peer_total = in_torch(table, phis, theirs, spec)
    codes = jax.jit(multi_scale.encode, static_argnums=2)(params, latents, spec)
    total = jax.jit(multi_scale.decode, static_argnums=2)(params, codes, spec)
    np.testing.assert_array_equal(codes, peer_codes)
    np.testing.assert_allclose(total, peer_total.permute(0, 2, 3, 1), atol=1e-5)
