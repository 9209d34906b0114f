"""Multi-scale residual quantization (VAR section 3.2): one codebook, grids from small to large."""

import dataclasses
import math
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from resgen_jax.core import build, errors, keys
from resgen_jax.quantizers import chunks, codebook, cosine, resizing

VAR_SCALES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)

# Share of the 3x3 convolution in phi; the rest of the values passes unchanged.
PHI_SHARE = 0.5

# Scales 2 and 7 lie half-way between two ticks; the reference's rounding decided them so.
PHI_OF_TEN_SCALES = (0, 0, 1, 1, 1, 2, 2, 3, 3, 3)

# {"codebook": "v c", "phi": {"kernel": "k 3 3 c c", "bias": "k c"}}
Params = dict


def _by_direction(vectors, table, *, max_distances):
    return cosine.encode(vectors, table, max_distances=max_distances)[0]


# Which vector of the codebook is nearest: VAR's own, and that of its `using_znorm`. The vectors
# that codes stand for are the codebook's own either way.
CHOICES = {"distance": codebook.nearest_code, "direction": _by_direction}


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sides of the grids from small to large; the last is `grid_side`, the side of the latents.

    `num_phi` convolutions are shared by the scales. A code is the nearest vector by `CHOICES`.
    """

    scales: tuple[int, ...] = VAR_SCALES
    grid_side: int = 16
    num_phi: int = 4
    choice: str = "distance"

    def __post_init__(self):
        rising = all(low < high for low, high in zip(self.scales, self.scales[1:], strict=False))
        if not self.scales or self.scales[0] < 1 or not rising:
            raise errors.UserError(f"scales are {self.scales}; expected sides that grow from 1 up")
        if self.scales[-1] != self.grid_side:
            raise errors.UserError(
                f"the last scale is {self.scales[-1]} and grid_side {self.grid_side}; "
                "expected them to be equal"
            )
        if self.num_phi < 1:
            raise errors.UserError(f"num_phi is {self.num_phi}; expected 1 or more")
        if self.choice not in CHOICES:
            raise errors.UserError(
                f"choice is {self.choice!r}; {build.nearest(self.choice, CHOICES)}"
            )

    @property
    def length(self) -> int:
        """Codes of one example, all scales together."""
        return sum(side * side for side in self.scales)


def init(key: PRNGKeyArray, spec: Spec, codebook_size: int, code_dim: int) -> Params:
    """A codebook of random vectors about 1 long, and random convolutions without bias."""
    named = keys.named_keys(key, "codebook", "phi")
    table = jax.random.normal(named["codebook"], (codebook_size, code_dim)) / math.sqrt(code_dim)
    shape = (spec.num_phi, 3, 3, code_dim, code_dim)
    kernel = jax.random.normal(named["phi"], shape) / math.sqrt(9 * code_dim)
    bias = jnp.zeros((spec.num_phi, code_dim))
    return {"codebook": table, "phi": {"kernel": kernel, "bias": bias}}


def phi_of_scales(num_scales: int, num_phi: int) -> tuple[int, ...]:
    """Which convolution each scale uses: that of the tick nearest to its place in [0, 1]."""
    if (num_scales, num_phi) == (10, 4):
        return PHI_OF_TEN_SCALES
    edge = 1 / (3 * num_phi) if num_phi == 4 else 1 / (2 * num_phi)
    ticks = np.linspace(edge, 1 - edge, num_phi)
    places = np.arange(num_scales) / max(num_scales - 1, 1)
    return tuple(int(np.argmin(np.abs(ticks - place))) for place in places)


def encode(
    params: Params,
    latents: Float[Array, "b h w c"],
    spec: Spec,
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> Int[Array, "b length"]:
    """Codes of all scales one after the other, each row by row; each scale sees what is left.

    `length` is `spec.length`. Raises UserError where the latents' sides or channels do not fit.
    """
    codebook.check_code_dim(latents, params["codebook"])
    if latents.shape[1:3] != (spec.grid_side, spec.grid_side):
        raise errors.UserError(
            f"latents are {latents.shape[1]} x {latents.shape[2]}; expected grid_side "
            f"{spec.grid_side} on both sides"
        )
    residual, choose = jax.lax.stop_gradient(latents.astype(jnp.float32)), CHOICES[spec.choice]
    found = []
    for index, side in enumerate(spec.scales):
        rows = _shrink(residual, side).reshape(-1, latents.shape[-1])
        codes = choose(rows, params["codebook"], max_distances=max_distances)
        found.append(codes.reshape(len(latents), side * side))
        residual = residual - _picture(params, found[-1], spec, index)
    return jnp.concatenate(found, axis=1)


def decode(params: Params, codes: Int[Array, "b length"], spec: Spec) -> Float[Array, "b h w c"]:
    """What all scales add up to; `codes` may hold a prefix of the scales, the coarse picture.

    Raises UserError where the codes do not end with a scale.
    """
    parts = split(codes, spec)
    pictures = (_picture(params, part, spec, index) for index, part in enumerate(parts))
    return cast(Array, sum(pictures))


def split(codes: Int[Array, "b length"], spec: Spec) -> tuple[Int[Array, "b _"], ...]:
    """The codes of each scale; raises UserError where they do not end with a scale."""
    ends = np.cumsum([side * side for side in spec.scales])
    if codes.shape[1] not in ends:
        raise errors.UserError(
            f"there are {codes.shape[1]} codes; expected one of {tuple(ends.tolist())}, "
            f"the ends of the scales {spec.scales}"
        )
    num_scales = int(np.searchsorted(ends, codes.shape[1])) + 1
    return tuple(jnp.split(codes, ends[: num_scales - 1], axis=1))


def _picture(params, codes, spec, index) -> Float[Array, "b h w c"]:
    """What one scale adds: its vectors, enlarged, after its convolution."""
    side = spec.scales[index]
    vectors = codebook.lookup(codes.reshape(-1, side, side), params["codebook"])
    if side != spec.grid_side:
        vectors = resizing.resize(vectors, resizing.bicubic_matrix(side, spec.grid_side))
    phi = phi_of_scales(len(spec.scales), spec.num_phi)[index]
    convolved = jax.lax.conv_general_dilated(
        vectors,
        params["phi"]["kernel"][phi],
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=codebook.PRECISION,
    )
    convolved = convolved + params["phi"]["bias"][phi][None, None, None, :]
    return (1.0 - PHI_SHARE) * vectors + PHI_SHARE * convolved


def _shrink(grids: Float[Array, "b h w c"], side: int) -> Float[Array, "b side side c"]:
    if side == grids.shape[1]:
        return grids
    return resizing.resize(grids, resizing.area_matrix(grids.shape[1], side))
