"""Laws of parameters that stay as they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.training import frozen, optimizer

SPEC = optimizer.Spec(learning_rate=0.1, decay="constant", weight_decay=0.3, clip_norm=0.7)
PARAMS = {
    "encoder": {"vit": {"kernel": jnp.ones((2, 3))}, "vital": {"kernel": jnp.ones(3)}},
    "decoder": {"kernel": jnp.ones((3, 2))},
}
GRADIENT = jax.tree.map(lambda leaf: 0.5 * jnp.ones_like(leaf), PARAMS)


def trained(params, gradient, transform):
    state = optimizer.initial_state(params, transform)
    rate = optimizer.schedule(SPEC, 3)
    for _ in range(3):
        state, metrics = optimizer.apply_gradients(
            state, gradient, transform, rate=rate, average_decay=0.9
        )
    return state, metrics


@pytest.mark.parametrize("name", ["encoder/vit", "encoder/vit/kernel"])
def test_the_rest_moves_as_if_the_frozen_were_not_there(name):
    transform = optimizer.make(SPEC, 3)
    state, metrics = trained(PARAMS, GRADIENT, frozen.freeze(transform, (name,)))
    np.testing.assert_array_equal(state.params["encoder"]["vit"]["kernel"], 1)

    def rest(tree):
        return {"decoder": tree["decoder"], "vital": tree["encoder"]["vital"]}

    alone, alone_metrics = trained(rest(PARAMS), rest(GRADIENT), transform)
    jax.tree.map(np.testing.assert_array_equal, rest(state.params), alone.params)
    # With weights that decay and gradients that are clipped.
    assert metrics == alone_metrics
    assert metrics["clipped_share"] == 1
    sizes = (sum(leaf.size for leaf in jax.tree.leaves(each.opt_state)) for each in (state, alone))
    assert len(set(sizes)) == 1  # no moments of what is frozen


def test_names_that_freeze_nothing_or_all_are_refused():
    transform = optimizer.make(SPEC, 3)
    with pytest.raises(errors.UserError, match="no parameter is named 'encoder/vi' or below it; "):
        frozen.freeze(transform, ("decoder", "encoder/vi")).init(PARAMS)
    with pytest.raises(errors.UserError, match="they begin with decoder, encoder"):
        frozen.freeze(transform, ("vit",)).init(PARAMS)
    with pytest.raises(errors.UserError, match="all parameters are frozen by .*; leave some"):
        frozen.freeze(transform, ("decoder", "encoder")).init(PARAMS)
    with pytest.raises(errors.UserError, match="is empty; give one such as encoder"):
        frozen.freeze(transform, ("",))
