"""What tasks on cached codes have in common: a network, and codebooks that stay as they are."""

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, PRNGKeyArray

from resgen_jax.core import errors, keys, spaces
from resgen_jax.nn import functional
from resgen_jax.quantizers import unit
from resgen_jax.training import optimizer
from resgen_jax.training.state import PyTree, TrainState


class CodesTask:
    """The part of a `Task` that does not depend on what is learnt of the codes.

    Raises UserError for codebooks that are not of the space's sizes; they are kept at unit scale.
    """

    def __init__(
        self,
        network: functional.Network,
        optimizer_spec: optimizer.Spec,
        num_steps: int,
        space: spaces.Space,
        codebooks: Float[np.ndarray, "q v c"],
    ):
        expected = space.codes.codebooks_shape
        if codebooks.shape != expected:
            raise errors.UserError(f"codebooks are {codebooks.shape}; expected {expected}")
        self.network, self.space = network, space
        self.optimizer: optax.GradientTransformation = optimizer.make(optimizer_spec, num_steps)
        self._optimizer_spec = optimizer_spec
        self._rate = optimizer.schedule(optimizer_spec, num_steps)
        self._codebooks = unit.unit_codebooks(codebooks)

    def init(self, key: PRNGKeyArray) -> TrainState:
        """Fresh parameters; the codebooks are frozen statistics."""
        params = self.network.init(keys.named_keys(key, "params")["params"])
        statistics = {"codebooks": jnp.asarray(self._codebooks)}
        return optimizer.initial_state(params, self.optimizer, statistics)

    def axes(self) -> PyTree:
        """Logical axes of the parameters."""
        return self.network.axes

    def statistics_axes(self) -> PyTree:
        """The codebooks are whole on every device."""
        return {"codebooks": (None, None, None)}
