"""An AR-ResGen that was exported samples as it did before."""

import jax
import jax.numpy as jnp
import numpy as np
import tiny_ar_resgen as tiny

from resgen_jax.convert import exports, pretrained
from resgen_jax.core import keys
from resgen_jax.generators import ar_resgen_model, ar_resgen_sampler_spec


def test_an_export_samples_as_the_model_did(tmp_path):
    spec = tiny.spec("levels", has_code_head=False)
    model = ar_resgen_model.make(spec, tiny.SPACE)
    sampler = ar_resgen_sampler_spec.Spec(temperature=0.7, guidance_scale=1.5)
    params, codebooks = tiny.random_params(model.network), jnp.asarray(tiny.codebooks())
    tree = {"params": params, "statistics": {"codebooks": codebooks}}
    config, codes = {"task": "ar_resgen"}, {"class_names": ["a", "b", "c"]}
    export = exports.of_generator("ar_resgen", spec, tiny.SPACE, sampler, tree, config, codes)
    opened = pretrained.from_pretrained(exports.write(tmp_path / "export", export, {}))
    key, labels = jax.random.key(3), np.array([0, 1, 2, 1], np.int32)
    expected = model.sampler(sampler).sample(
        params,
        codebooks,
        keys.example_keys(key, jnp.arange(4)),
        jnp.asarray(labels),
        model.plan(sampler, tiny.SPACE.num_tokens),
    )
    found = opened.sample(labels, key)
    assert len(np.unique(found)) > 1
    np.testing.assert_array_equal(found, expected)
