"""LPIPS v0.1: how different two images look, by the features of a frozen classifier."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from resgen_jax.core import errors
from resgen_jax.features import layers

PyTree = Any

# From [-1, 1] to the range of the backbones: (images - SHIFT) / SCALE, for red, green and blue.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
EPSILON = 1e-10
POOL = "pool"
# Of `Lpips.loss`: pixels mirrored at every edge, and the least side of a map that is compared.
BORDER = 4
LEAST_SIDE = 3


class Lpips(NamedTuple):
    """A perceptual distance as pure functions; images are float32 "b h w 3" in [-1, 1]."""

    init: Callable[[jax.Array], PyTree]  # key -> params
    distance: Callable[..., jax.Array]  # params, images, images -> float32 "b"
    loss: Callable[..., jax.Array]  # the same, to be minimised


class Layer(NamedTuple):
    """A layer with its activation, and the shapes of its parameters."""

    shapes: PyTree
    out_dim: int
    apply: Callable[[PyTree, jax.Array], jax.Array]


class Backbone(NamedTuple):
    """A classifier without its end, in stages; LPIPS compares what leaves each stage."""

    layers: dict[str, Layer]  # by the number they have in torchvision
    stages: tuple[tuple[str, ...], ...]  # names of layers, and POOL
    pool: Callable[[jax.Array], jax.Array]
    smallest_side: int  # of an image that leaves something of every map

    @property
    def widths(self) -> list[int]:
        """Channels of the maps compared."""
        return [self.layers[stage[-1]].out_dim for stage in self.stages]


def make(backbone: str) -> Lpips:
    """LPIPS v0.1 on a backbone of `BACKBONES`, with a learned weight for each channel.

    Zhang et al., arXiv 1801.03924, and the `lpips` package, version 0.1. Raises UserError for an
    unknown name; `distance` and `loss` do for images too small for the backbone.
    """
    chosen = _look_up(backbone)

    def distance(
        params: PyTree, images_a: Float[Array, "b h w 3"], images_b: Float[Array, "b h w 3"]
    ) -> Float[Array, "b"]:
        """Sum over the maps of the mean squared difference, weighted by channel."""
        _check_size(backbone, images_a)
        # One pass for each image, not one for both: where no gradient is asked for, none is paid.
        maps = (_maps(chosen, params["backbone"], _scaled(part)) for part in (images_a, images_b))
        return _sum_distances(params["heads"], *maps)

    def loss(
        params: PyTree, images_a: Float[Array, "b h w 3"], images_b: Float[Array, "b h w 3"]
    ) -> Float[Array, "b"]:
        """`distance` over the maps that have places to compare, with mirrored edges.

        Maps of a place or two are left out: by maximum pooling one mark anywhere stands for the
        whole image there, and a decoder learns to paint it. SqueezeNet's last four maps of a 32x32
        image are such. Unpadded strides never see its last row and column; mirrored pixels give the
        edges the weight of the rest.
        """
        _check_size(backbone, images_a)
        maps = (
            itertools.takewhile(
                lambda values: min(values.shape[1:3]) >= LEAST_SIDE,
                _maps(chosen, params["backbone"], _scaled(_mirrored(part))),
            )
            for part in (images_a, images_b)
        )
        return _sum_distances(params["heads"], *maps)

    return Lpips(functools.partial(_init, chosen), distance, loss)


def maps(
    backbone: str, params: PyTree, images: Float[Array, "b h w 3"]
) -> list[Float[Array, "b i j d"]]:
    """What leaves each stage of the backbone; UserError for images too small for it."""
    _check_size(backbone, images)
    return list(_maps(_look_up(backbone), params["backbone"], _scaled(images)))


def shapes(backbone: str) -> PyTree:
    """Shapes of all parameters: a tree with tuples as leaves."""
    chosen = _look_up(backbone)
    heads = {str(index): {"weight": (width,)} for index, width in enumerate(chosen.widths)}
    return {
        "backbone": {name: layer.shapes for name, layer in chosen.layers.items()},
        "heads": heads,
    }


def _look_up(backbone: str) -> Backbone:
    if backbone not in BACKBONES:
        raise errors.UserError(
            f"LPIPS backbone {backbone!r}; expected one of {', '.join(sorted(BACKBONES))}"
        )
    return BACKBONES[backbone]


def _init(chosen: Backbone, key: jax.Array) -> PyTree:
    heads = {
        str(index): {"weight": jnp.full(width, 1 / width, jnp.float32)}
        for index, width in enumerate(chosen.widths)
    }
    backbone = {name: layer.shapes for name, layer in chosen.layers.items()}
    return {"backbone": layers.init(backbone, key), "heads": heads}


def _scaled(images: jax.Array) -> jax.Array:
    shift, scale = (jnp.array(value, images.dtype) for value in (SHIFT, SCALE))
    return (images - shift[None, None, None, :]) / scale[None, None, None, :]


def _check_size(backbone: str, images: jax.Array) -> None:
    smallest = BACKBONES[backbone].smallest_side
    if min(images.shape[1:3]) < smallest:
        raise errors.UserError(
            f"images are {images.shape[1]} x {images.shape[2]} pixels; LPIPS with "
            f"{backbone!r} needs at least {smallest} on each side"
        )


def _mirrored(images: jax.Array) -> jax.Array:
    border = (BORDER, BORDER)
    return jnp.pad(images, ((0, 0), border, border, (0, 0)), mode="reflect")


def _maps(chosen: Backbone, params: PyTree, values: jax.Array) -> Iterator[jax.Array]:
    for stage in chosen.stages:
        for name in stage:
            if name == POOL:
                values = chosen.pool(values)
            else:
                values = chosen.layers[name].apply(params[name], values)
        yield values


def _sum_distances(
    heads: PyTree, maps_a: Iterable[jax.Array], maps_b: Iterable[jax.Array]
) -> jax.Array:
    """Over as many of the maps as there are."""
    pairs = enumerate(zip(maps_a, maps_b, strict=True))
    distances = (_map_distance(heads[str(index)]["weight"], *pair) for index, pair in pairs)
    return cast(jax.Array, sum(distances))


def _map_distance(weight: jax.Array, maps_a: jax.Array, maps_b: jax.Array) -> jax.Array:
    difference = _normalised(maps_a) - _normalised(maps_b)
    return jnp.einsum("bhwc,c->b", difference**2, weight) / (maps_a.shape[1] * maps_a.shape[2])


def _normalised(maps: jax.Array) -> jax.Array:
    """Each place's channels at length 1; 0 where all of them are 0, with gradient 0."""
    squared = jnp.sum(maps**2, axis=-1, keepdims=True)
    is_zero = squared == 0
    length = jnp.sqrt(jnp.where(is_zero, 1, squared))
    return maps / (length + EPSILON)


def _convolution(
    size: int, in_dim: int, out_dim: int, *, stride: int = 1, border: int = 0
) -> Layer:
    padding = ((border, border), (border, border))
    return Layer(
        shapes=layers.kernel_shapes(size, size, in_dim, out_dim),
        out_dim=out_dim,
        apply=lambda params, values: jax.nn.relu(
            layers.convolve(params, values, stride=stride, padding=padding)
        ),
    )


def _fire(in_dim: int, squeeze_dim: int, expand_dim: int) -> Layer:
    """SqueezeNet's module: few channels by 1x1, then many by 1x1 and 3x3 side by side."""
    squeeze = _convolution(1, in_dim, squeeze_dim)
    narrow = _convolution(1, squeeze_dim, expand_dim)
    wide = _convolution(3, squeeze_dim, expand_dim, border=1)
    parts = {"squeeze": squeeze, "expand1x1": narrow, "expand3x3": wide}

    def apply(params: PyTree, values: jax.Array) -> jax.Array:
        squeezed = squeeze.apply(params["squeeze"], values)
        both = [part.apply(params[name], squeezed) for name, part in list(parts.items())[1:]]
        return jnp.concatenate(both, axis=-1)

    return Layer({name: part.shapes for name, part in parts.items()}, 2 * expand_dim, apply)


SQUEEZE = Backbone(
    layers={
        "0": _convolution(3, 3, 64, stride=2),
        "3": _fire(64, 16, 64),
        "4": _fire(128, 16, 64),
        "6": _fire(128, 32, 128),
        "7": _fire(256, 32, 128),
        "9": _fire(256, 48, 192),
        "10": _fire(384, 48, 192),
        "11": _fire(384, 64, 256),
        "12": _fire(512, 64, 256),
    },
    stages=(("0",), (POOL, "3", "4"), (POOL, "6", "7"), (POOL, "9"), ("10",), ("11",), ("12",)),
    pool=functools.partial(layers.max_pool_to_the_edge, size=3, stride=2),
    smallest_side=17,
)
ALEX = Backbone(
    layers={
        "0": _convolution(11, 3, 64, stride=4, border=2),
        "3": _convolution(5, 64, 192, border=2),
        "6": _convolution(3, 192, 384, border=1),
        "8": _convolution(3, 384, 256, border=1),
        "10": _convolution(3, 256, 256, border=1),
    },
    stages=(("0",), (POOL, "3"), (POOL, "6"), ("8",), ("10",)),
    pool=functools.partial(layers.max_pool, size=3, stride=2),
    smallest_side=31,
)
VGG_WIDTHS = {
    **{"0": (3, 64), "2": (64, 64), "5": (64, 128), "7": (128, 128)},
    **{"10": (128, 256), "12": (256, 256), "14": (256, 256)},
    **{"17": (256, 512), "19": (512, 512), "21": (512, 512)},
    **{"24": (512, 512), "26": (512, 512), "28": (512, 512)},
}
VGG = Backbone(
    layers={name: _convolution(3, *widths, border=1) for name, widths in VGG_WIDTHS.items()},
    stages=(
        ("0", "2"),
        (POOL, "5", "7"),
        (POOL, "10", "12", "14"),
        (POOL, "17", "19", "21"),
        (POOL, "24", "26", "28"),
    ),
    pool=functools.partial(layers.max_pool, size=2, stride=2),
    smallest_side=16,
)
BACKBONES = {"squeeze": SQUEEZE, "alex": ALEX, "vgg": VGG}
