"""The network of the judge: a small convolutional classifier of small images."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from resgen_jax.core import errors


@dataclasses.dataclass(frozen=True)
class Spec:
    """Size and training of the judge; the defaults fit 8 x 8 digits."""

    width: int = 24  # channels of the first convolution; twice as many in the others
    feature_dim: int = 32
    num_steps: int = 300
    batch_size: int = 128
    learning_rate: float = 7e-3
    weight_decay: float = 0.01
    max_shift_ratio: float = 0.125  # shifts of the training images, as a share of their side

    def __post_init__(self):
        for name in ("width", "feature_dim", "num_steps", "batch_size"):
            if getattr(self, name) < 1:
                raise errors.UserError(f"judge.{name} is {getattr(self, name)}; expected >= 1")
        if not 0 <= self.max_shift_ratio < 1:
            raise errors.UserError(
                f"judge.max_shift_ratio is {self.max_shift_ratio}; expected a share in [0, 1)"
            )


class Convolution(nnx.Module):
    """A convolution of `side` x `side` as one matmul over shifted views, and its activation.

    XLA's own convolution runs many times slower than this inside a loop on a CPU.
    """

    def __init__(self, in_dim: int, out_dim: int, stride: int, rngs: nnx.Rngs, side: int = 3):
        self.stride, self.side = stride, side
        self.dense = nnx.Linear(
            side**2 * in_dim, out_dim, kernel_init=nnx.initializers.he_normal(), rngs=rngs
        )

    def __call__(self, values: Float[Array, "b h w c"]) -> Float[Array, "b i j d"]:
        height, width = values.shape[1:3]
        border = (self.side // 2, self.side // 2)
        padded = jnp.pad(values, ((0, 0), border, border, (0, 0)))
        views = [
            padded[:, row : row + height : self.stride, column : column + width : self.stride]
            for row in range(self.side)
            for column in range(self.side)
        ]
        return jax.nn.relu(self.dense(jnp.concatenate(views, axis=-1)))


class Classifier(nnx.Module):
    """Images in [-1, 1] -> features before their activation, and logits."""

    def __init__(self, spec: Spec, image_shape: tuple[int, int, int], num_classes: int, rngs):
        height, width, channels = image_shape
        # Large images are cut into patches first, so that the cost stays that of 16 x 16.
        self.patch = math.ceil(max(height, width) / 16)
        height, width = math.ceil(height / self.patch), math.ceil(width / self.patch)
        side = 3 if self.patch == 1 else 1  # of a patch, the whole is seen at once
        layers = [Convolution(channels * self.patch**2, spec.width, 1, rngs, side)]
        channels = spec.width
        while max(height, width) > 4:
            layers.append(Convolution(channels, 2 * spec.width, 2, rngs))
            height, width = math.ceil(height / 2), math.ceil(width / 2)
            channels = 2 * spec.width
        layers.append(Convolution(channels, 2 * spec.width, 1, rngs))
        self.layers = nnx.List(layers)
        self.features = nnx.Linear(height * width * 2 * spec.width, spec.feature_dim, rngs=rngs)
        self.logits = nnx.Linear(spec.feature_dim, num_classes, rngs=rngs)

    def __call__(
        self, images: Float[Array, "b h w c"]
    ) -> tuple[Float[Array, "b f"], Float[Array, "b classes"]]:
        values = patches(images, self.patch)
        for layer in self.layers:
            values = layer(values)
        features = self.features(values.reshape(values.shape[0], -1))
        return features, self.logits(jax.nn.relu(features))


def patches(images: Float[Array, "b h w c"], side: int) -> Float[Array, "b i j d"]:
    """Squares of `side` pixels as channels; the image is padded to a multiple by zeros."""
    batch, height, width, channels = images.shape
    padded = jnp.pad(images, ((0, 0), (0, -height % side), (0, -width % side), (0, 0)))
    rows, columns = padded.shape[1] // side, padded.shape[2] // side
    cut = padded.reshape(batch, rows, side, columns, side, channels)
    return cut.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows, columns, side**2 * channels)
