"""What evaluation measures with: LPIPS as a figure is computed in full float32."""

import jax
import jax.numpy as jnp

from resgen_jax.convert import weights
from resgen_jax.features import lpips
from resgen_jax.runs import measuring


def test_lpips_multiplies_in_full_precision_and_takes_gray_as_colour(monkeypatch, key):
    network = lpips.make("squeeze")
    params = network.init(key)
    monkeypatch.setattr(weights, "load_lpips", lambda backbone, directory: (network, params))
    measure = measuring.lpips_measure(None)
    gray = jnp.zeros((2, 32, 32, 1))
    traced = jax.make_jaxpr(measure.function)(measure.params, gray, gray + 0.5)
    products = [
        equation
        for equation in traced.jaxpr.eqns
        if equation.primitive.name in ("conv_general_dilated", "dot_general")
    ]
    assert len(products) > 2 * 8
    highest = (jax.lax.Precision.HIGHEST,) * 2
    assert all(equation.params["precision"] == highest for equation in products)
