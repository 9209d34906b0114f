"""Models out of exported directories do what their networks do."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import resgen_jax
from resgen_jax.convert import exports
from resgen_jax.core import errors
from resgen_jax.generators import interface, rq_transformer
from resgen_jax.quantizers import multi_scale
from resgen_jax.tokenizers import multi_scale_vae, rq_vae

SPEC = rq_vae.Spec(
    image_size=4,
    channels=1,
    width=4,
    multipliers=(1,),
    num_res_blocks=0,
    num_decoder_res_blocks=0,
    num_middle_blocks=0,
    code_dim=3,
)
SCALES = multi_scale.Spec((1, 4), 4, 1)
SPACE = interface.CodeSpace((1, 2), 2, 5, 3, 2)


def random_params(init):
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(init, jax.random.key(0))
    return jax.tree.map(lambda leaf: random.normal(0, 0.5, leaf.shape).astype("float32"), shapes)


def test_multi_scale_tokenizer(tmp_path):
    made = multi_scale_vae.make(SPEC, SCALES, 7)
    params = random_params(made.init)
    exports.write(tmp_path / "x", exports.of_multi_scale_vae(SPEC, SCALES, 7, params), {})
    tokenizer = resgen_jax.from_pretrained(tmp_path / "x")
    images = np.random.default_rng(1).uniform(-1, 1, (2, 4, 4, 1)).astype(np.float32)
    params = jax.tree.map(jnp.asarray, params)
    codes = jax.jit(made.encode)(params, images)
    np.testing.assert_array_equal(tokenizer.encode(images), codes)
    for known in (codes, codes[:, :1]):
        decoded = jax.jit(made.decode)(params, known)
        np.testing.assert_allclose(tokenizer.decode(known), np.clip(decoded, -1, 1), atol=1e-5)
    np.testing.assert_array_equal(tokenizer.codebooks[0], params["quantizer"]["codebook"])
    assert tokenizer.spec == SPEC
    sizes = "images 4x4x1, grids of sides 1, 4, codebook_size 7, code_dim 3"
    assert repr(tokenizer) == f"<Tokenizer multi_scale_vae: {sizes}>"


def test_rq_transformer(tmp_path):
    spec = rq_transformer.Spec(width=8, num_heads=2, num_body_layers=1, num_head_layers=1)
    network = rq_transformer.make(spec, SPACE)
    params = random_params(network.init)
    exports.write(tmp_path / "x", exports.of_rq_transformer(spec, SPACE, params), {})
    model = resgen_jax.from_pretrained(tmp_path / "x")
    assert (model.spec, model.space) == (spec, SPACE)
    assert repr(model) == (
        "<CodePredictor rq_transformer: grid 1x2, depth 2, codebook_size 5, 2 classes>"
    )
    codes, labels = np.ones((1, 2, 2), np.int32), np.array([1], np.int32)
    tables = np.ones((2, 5, 3), np.float32)
    expected = jax.jit(network.apply)(params, codes, labels, tables)
    np.testing.assert_allclose(model.logits(codes, labels, tables), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"kind": "rqvae"}, "did you mean 'rq_vae'"),
        ({"model": {**dataclasses.asdict(SPEC), "depht": 3}}, "has no field 'depht'"),
        ({"codebook_size": 8}, "of another shape: params/quantizer/codebook"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path, changes, match):
    params = random_params(multi_scale_vae.make(SPEC, SCALES, 7).init)
    exports.write(tmp_path / "x", exports.of_multi_scale_vae(SPEC, SCALES, 7, params), {})
    path = tmp_path / "x" / "config.json"
    fields = json.loads(path.read_text())
    fields["export"] |= changes
    path.write_text(json.dumps(fields))
    with pytest.raises(errors.UserError, match=match):
        resgen_jax.from_pretrained(tmp_path / "x")
