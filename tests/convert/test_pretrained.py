"""Models out of exported directories do what their networks do."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import resgen_jax
from resgen_jax.convert import exports
from resgen_jax.core import errors, spaces
from resgen_jax.generators import resgen, resgen_sampler, rq_transformer
from resgen_jax.nn import transformer
from resgen_jax.quantizers import interface as quantizers
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
SPACE = spaces.image_codes((1, 2), 2, 5, 3, 2)


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


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    quantizer = quantizers.Spec(code_dim=3, depth=2, codebook_size=5)
    params = random_params(rq_vae.make(SPEC).init)
    statistics = random_params(quantizers.make("ema", quantizer).init)
    place = tmp_path_factory.mktemp("tokenizer") / "x"
    exports.write(place, exports.of_rq_vae(SPEC, quantizer, "ema", params, statistics), {})
    return resgen_jax.from_pretrained(place)


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    trunk = transformer.Spec(1, 8, 2, mlp_width=8, modulation_width=8)
    model = resgen.Spec(trunk, num_components=2, rank=2, mask_dim=2)
    params = random_params(resgen.make(model, SPACE).init)
    tables = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    sampler = resgen_sampler.Spec(num_steps=2)
    place = tmp_path_factory.mktemp("generator") / "x"
    made = exports.of_generator(
        "resgen",
        model,
        SPACE,
        sampler,
        {"params": params, "statistics": {"codebooks": tables}},
        {"task": "resgen"},
        {},
    )
    exports.write(place, made, {"class_names": ["ant", "bee"]})
    return resgen_jax.from_pretrained(place)


def test_tokenizer_refuses_pixels_and_codes_out_of_range(tokenizer):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 1), np.uint8)
    codes = tokenizer.encode(pixels)
    assert codes.shape == (2, 16, 2)
    np.testing.assert_array_equal(tokenizer.encode(pixels / 127.5 - 1), codes)
    for wrong in (pixels.astype(np.float32), pixels.astype(np.int32), pixels * np.nan):
        with pytest.raises(errors.UserError, match="expected (uint8|floats)"):
            tokenizer.encode(wrong)
    for wrong in (codes.at[0, 0, 0].set(5), -codes - 1, codes.astype(np.float32), codes[:, :15]):
        with pytest.raises(errors.UserError, match="expected"):
            tokenizer.decode(wrong)
    assert tokenizer.decode(codes[..., :1]).shape == (2, 4, 4, 1)


def test_an_empty_batch_has_an_empty_answer(tokenizer, generator):
    codes = tokenizer.encode(np.zeros((0, 4, 4, 1), np.uint8))
    assert (codes.shape, codes.dtype) == ((0, 16, 2), np.int32)
    pixels = tokenizer.decode(codes)
    assert (pixels.shape, pixels.dtype) == ((0, 4, 4, 1), np.float32)
    drawn = generator.sample([], 0)
    assert (drawn.shape, drawn.dtype) == ((0, 2, 2), np.int32)


def test_doors_may_be_traced(tokenizer):
    pixels = np.random.default_rng(0).uniform(-1, 1, (2, 4, 4, 1)).astype(np.float32)
    rebuilt = jax.jit(lambda images: tokenizer.decode(tokenizer.encode(images)))(pixels)
    np.testing.assert_allclose(rebuilt, tokenizer.decode(tokenizer.encode(pixels)), atol=1e-5)
    by_one = jax.vmap(lambda image: tokenizer.encode(image[None])[0])(jnp.asarray(pixels))
    np.testing.assert_array_equal(by_one, tokenizer.encode(pixels))


def test_generator_takes_a_seed_for_a_key_and_refuses_labels_between_classes(generator):
    drawn = generator.sample([0, 1, 1], 3)
    np.testing.assert_array_equal(drawn, generator.sample([0.0, 1.0, 1.0], jax.random.key(3)))
    traced = jax.jit(lambda labels, key: generator.sample(labels, key))
    np.testing.assert_array_equal(drawn, traced(jnp.array([0, 1, 1]), jax.random.key(3)))
    for labels, key, match in (
        ([1.7], 0, "labels hold 1.7"),
        ([2], 0, "from 2 to 2; expected 0 to 1"),
        ([0], -1, "key is -1"),
        ([0], 2**32 + 3, "key is 4294967299"),
    ):
        with pytest.raises(errors.UserError, match=match):
            generator.sample(labels, key)
