"""RVQ with implicit neural codebooks: each level's vectors depend on the sum so far (QINCo)."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from resgen_jax.core import errors
from resgen_jax.quantizers import chunks, codebook

# {"codebooks": "q v c", "networks": {
#     "join": {"kernel": "q-1 2c c", "bias": "q-1 c"},
#     "in": {"kernel": "q-1 blocks c f", "bias": "q-1 blocks f"},
#     "out": {"kernel": "q-1 blocks f c", "bias": "q-1 blocks c"}}}
Params = dict


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes of the networks between the levels, one for each level after the first.

    `num_blocks` residual blocks of `hidden_dim` channels (the paper's L and h).
    """

    code_dim: int
    depth: int
    codebook_size: int
    num_blocks: int = 4
    hidden_dim: int = 256
    activation: Callable[[Array], Array] = jax.nn.relu

    def __post_init__(self):
        for name in ("code_dim", "depth", "codebook_size", "hidden_dim"):
            if getattr(self, name) < 1:
                raise errors.UserError(f"qinco {name} is {getattr(self, name)}; expected 1 or more")
        if self.num_blocks < 0:
            raise errors.UserError(f"qinco num_blocks is {self.num_blocks}; expected 0 or more")


def init(key: PRNGKeyArray, codebooks: Float[Array, "q v c"], spec: Spec) -> Params:
    """Networks that change nothing yet: at the start this is plain RVQ of `codebooks`."""
    expected = spec.depth, spec.codebook_size, spec.code_dim
    if codebooks.shape != expected:
        raise errors.UserError(
            f"codebooks are {codebooks.shape}; expected (depth, codebook_size, code_dim) {expected}"
        )
    levels, blocks = spec.depth - 1, spec.num_blocks
    width, hidden = spec.code_dim, spec.hidden_dim
    into = jax.random.normal(key, (levels, blocks, width, hidden)) * (2.0 / width) ** 0.5
    networks = {
        "join": _linear(jnp.zeros((levels, 2 * width, width))),
        "in": _linear(into),
        "out": _linear(jnp.zeros((levels, blocks, hidden, width))),
    }
    return {"codebooks": codebooks, "networks": networks}


def vectors(
    network: Params, base: Float[Array, "*n c"], total: Float[Array, "*n c"], spec: Spec
) -> Float[Array, "*n c"]:
    """One level's vectors for the base vectors, where the levels above add up to `total`.

    f(x, e) = blocks(e + W [e; x]) with blocks z + W'' a(W' z) (Huijben et al. 2024).
    """
    value = base + _apply(network["join"], jnp.concatenate([base, total], axis=-1))

    def block(value, layers):
        hidden = spec.activation(_apply(layers["in"], value))
        return value + _apply(layers["out"], hidden), None

    layers = {"in": network["in"], "out": network["out"]}
    return jax.lax.scan(block, value, layers)[0]


def encode(
    params: Params,
    latents: Float[Array, "*n c"],
    spec: Spec,
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> tuple[Int[Array, "*n q"], Float[Array, "*n c"]]:
    """Greedy codes, every level's vectors made anew for each row, and what is left.

    Neither carries a gradient: what learns is `partial_sums` of the codes.
    A device holds no more than `max_distances` numbers of all rows' vectors in one array at a time.
    """
    codebook.check_code_dim(latents, params["codebooks"])
    params = jax.lax.stop_gradient(params)
    rows = jax.lax.stop_gradient(latents.astype(jnp.float32)).reshape(-1, latents.shape[-1])
    width = spec.codebook_size * max(2 * spec.code_dim, spec.hidden_dim)
    count = chunks.num_chunks(len(rows), width, max_distances)
    codes, total = chunks.map_rows(lambda chunk: _encode_rows(params, chunk, spec), rows, count)
    remainder = (rows - total).reshape(latents.shape)
    return codes.reshape(*latents.shape[:-1], -1), remainder


def decode(params: Params, codes: Int[Array, "*n p"], spec: Spec) -> Float[Array, "*n c"]:
    """Sum of the levels' vectors; `codes` may be a prefix of the levels."""
    return partial_sums(params, codes, spec)[..., -1, :]


def partial_sums(params: Params, codes: Int[Array, "*n p"], spec: Spec) -> Float[Array, "*n p c"]:
    """What the first 1, 2, ... levels decode to.

    Their squared distances from the latents are the loss of the paper, by
    `losses.quantization.prefix_codebook_loss`. Raises UserError where there are no codes or more
    levels of them than codebooks.
    """
    given = codes.shape[-1]
    if not 1 <= given <= spec.depth:
        raise errors.UserError(f"codes have {given} levels; expected 1 to depth {spec.depth}")

    def level(total, inputs):
        table, network, level_codes = inputs
        total = total + vectors(network, codebook.lookup(level_codes, table), total, spec)
        return total, total

    by_level = jnp.moveaxis(codes, -1, 0)
    first = codebook.lookup(by_level[0], params["codebooks"][0])
    _, rest = jax.lax.scan(level, first, (*_later_levels(params, given), by_level[1:]))
    return jnp.moveaxis(jnp.concatenate([first[None], rest]), 0, -2)


def _encode_rows(params, rows: Float[Array, "n c"], spec: Spec):
    """Codes and their sum of one chunk."""

    def level(total, inputs):
        table, network = inputs
        shape = (len(rows), *table.shape)
        candidates = vectors(
            network,
            jnp.broadcast_to(table[None], shape),
            jnp.broadcast_to(total[:, None], shape),
            spec,
        )
        distance = jnp.sum((rows[:, None] - total[:, None] - candidates) ** 2, axis=-1)
        codes = codebook.largest(-distance.T)
        chosen = jnp.take_along_axis(candidates, codes[:, None, None], axis=1)[:, 0]
        return total + chosen, codes

    base = params["codebooks"][0]
    first = codebook.largest(codebook.scores(rows, base))
    total = codebook.lookup(first, base)
    total, rest = jax.lax.scan(level, total, _later_levels(params, spec.depth))
    return jnp.concatenate([first[None], rest]).T, total


def _later_levels(params: Params, depth: int):
    """Codebooks and networks of the levels after the first."""
    networks = jax.tree.map(lambda leaf: leaf[: depth - 1], params["networks"])
    return params["codebooks"][1:depth], networks


def _linear(kernel: Float[Array, "*layers i o"]) -> Params:
    return {"kernel": kernel, "bias": jnp.zeros((*kernel.shape[:-2], kernel.shape[-1]))}


def _apply(params: Params, values: Float[Array, "*n i"]) -> Float[Array, "*n o"]:
    bias = params["bias"].reshape(*(1,) * (values.ndim - 1), -1)
    product = jnp.einsum("...i,io->...o", values, params["kernel"], precision=codebook.PRECISION)
    return product + bias
