"""Published checkpoints by their layouts: what lands where, what is refused, and how it is said."""

import jax
import numpy as np
import published_layouts as published
import pytest
import torch_format

from resgen_jax.convert import rq_transformer, rq_vae, taming, var
from resgen_jax.core import errors
from resgen_jax.quantizers import codebook_averages

NETWORKS = published.random_arrays(published.autoencoder(128, (1,), 1, (0,), 6, 5))
MULTI_SCALE = published.autoencoder(128, (1,), 1, (0,), 5, 5, bridge=3, is_fused=True)
NUM_CODES = 7


def save(tmp_path, tree):
    path = tmp_path / "model.pt"
    torch_format.save(path, tree)
    return path


def codebooks(num_levels, num_different=1):
    """Arrays of the levels' codebooks, the last of them equal, with counts and sums that agree."""
    arrays = published.random_arrays(published.rq_codebooks(num_levels, NUM_CODES, 5), seed=1)
    for level in range(num_levels):
        kept = f"quantizer.codebooks.{min(level, num_different - 1)}"
        for name in ("weight", "cluster_size_ema", "embed_ema"):
            arrays[f"quantizer.codebooks.{level}.{name}"] = arrays[f"{kept}.{name}"]
        arrays[f"quantizer.codebooks.{level}.cluster_size_ema"] = np.arange(7, dtype=np.float32)
    return arrays


def test_rq_vae_takes_averaged_weights_and_leaves_the_rest(tmp_path):
    arrays = NETWORKS | codebooks(3)
    other = {name: array + 1 for name, array in arrays.items()}
    tree = {
        "epoch": 10,
        "state_dict": other,
        "state_dict_ema": arrays,
        "discriminator": {"main.0.weight": np.ones((2, 3), np.float32)},
    }
    export = rq_vae.convert(save(tmp_path, tree), image_size=8)
    kernel = export.tree["params"]["encoder"]["conv_in"]["kernel"]
    np.testing.assert_array_equal(kernel, arrays["encoder.conv_in.weight"].transpose(2, 3, 1, 0))
    assert export.fields["learner"] == "shared_ema"
    assert export.fields["quantizer"]["depth"] == 3
    assert export.fields["model"]["attention_sizes"] == (8,)
    statistics = codebook_averages.CodebookStats(**export.tree["statistics"]["quantizer"])
    assert statistics.counts.shape == (1, NUM_CODES)
    table = codebook_averages.codebooks_from(jax.tree.map(jax.numpy.asarray, statistics))[0]
    expected = arrays["quantizer.codebooks.0.weight"][:-1]
    np.testing.assert_allclose(table, expected, rtol=1e-5, atol=1e-7)
    del tree["state_dict_ema"]
    plain = rq_vae.convert(save(tmp_path, tree), image_size=8)
    np.testing.assert_array_equal(plain.tree["params"]["encoder"]["conv_in"]["kernel"], kernel + 1)


def test_rq_vae_with_codebooks_that_differ_needs_to_be_told(tmp_path):
    path = save(tmp_path, {"state_dict": NETWORKS | codebooks(3, num_different=3)})
    with pytest.raises(errors.UserError, match="copies 0 and 1 .* differ.*--separate_codebooks"):
        rq_vae.convert(path, image_size=8)
    export = rq_vae.convert(path, image_size=8, has_separate_codebooks=True)
    assert export.fields["learner"] == "ema"
    statistics = codebook_averages.CodebookStats(**export.tree["statistics"]["quantizer"])
    tables = codebook_averages.codebooks_from(jax.tree.map(jax.numpy.asarray, statistics))
    expected = codebooks(3, 3)["quantizer.codebooks.2.weight"][:-1]
    np.testing.assert_allclose(tables[2], expected, rtol=1e-5, atol=1e-7)


def test_all_that_is_wrong_with_a_file_is_named_at_once(tmp_path):
    arrays = NETWORKS | codebooks(2)
    del arrays["decoder.conv_out.bias"]
    arrays["encoder.extra"] = np.ones(2, np.float32)
    arrays["encoder.norm_out.weight"] = np.ones(64, np.float32)
    with pytest.raises(errors.UserError) as caught:
        rq_vae.convert(save(tmp_path, {"state_dict": arrays}), image_size=8)
    for part in (
        "missing: decoder.conv_out.bias",
        "not used: encoder.extra",
        "networks/encoder/norm/scale is (64,), expected (128,)",
    ):
        assert part in str(caught.value)


SIZE_TELLERS = (
    "encoder.conv_in.weight",
    "encoder.conv_out.weight",
    "encoder.down.0.block.0.conv2.weight",
    "encoder.down.0.attn.0.norm.weight",
    "encoder.mid.attn_1.norm.weight",
    "quant_conv.weight",
    "quantizer.codebooks.0.weight",
    "quantizer.codebooks.1.weight",
)


def test_arrays_that_tell_sizes_are_missed_like_all_others(tmp_path):
    arrays = NETWORKS | codebooks(2) | {"encoder.extra": np.ones(2, np.float32)}
    for name in SIZE_TELLERS:
        lacking = {key: array for key, array in arrays.items() if key != name}
        with pytest.raises(errors.UserError) as caught:
            rq_vae.convert(save(tmp_path, {"state_dict": lacking}), image_size=8)
        for part in (f"missing: {name}", "not used: encoder.extra"):
            assert part in str(caught.value)


def test_codebooks_that_are_no_tables_are_refused(tmp_path):
    flat = {"quantizer.codebooks.0.weight": np.ones(8, np.float32)}
    with pytest.raises(errors.UserError, match=r"codebooks.0.weight is of the shape \(8,\)"):
        rq_vae.convert(save(tmp_path, NETWORKS | codebooks(2) | flat), image_size=8)
    wrong = {"quantize.embedding.weight": np.ones((7, 5, 1), np.float32)}
    with pytest.raises(errors.UserError, match=r"embedding.weight is of the shape \(7, 5, 1\)"):
        taming.convert(save(tmp_path, NETWORKS | wrong), image_size=8)
    others = published.random_arrays(published.var_quantizer(3, 2, NUM_CODES, 5))
    arrays = published.random_arrays(MULTI_SCALE) | others | wrong
    with pytest.raises(errors.UserError, match=r"embedding.weight is of the shape \(7, 5, 1\)"):
        var.convert(save(tmp_path, arrays), image_size=8, scales=(1, 4, 8))


def test_a_convolution_of_phi_that_lacks_its_kernel_is_missed(tmp_path):
    arrays = published.random_arrays(MULTI_SCALE)
    arrays |= published.random_arrays(published.var_quantizer(3, 2, NUM_CODES, 5), seed=1)
    del arrays["quantize.quant_resi.qresi_ls.1.weight"]
    with pytest.raises(errors.UserError, match="missing: quantize.quant_resi.qresi_ls.1.weight"):
        var.convert(save(tmp_path, arrays), image_size=8, scales=(1, 4, 8))


def test_all_that_is_wrong_with_rq_transformer_is_named_at_once(tmp_path):
    shapes = published.rq_transformer(
        8, 2, 1, length=4, depth=3, codebook_size=7, code_dim=5, num_classes=2
    )
    arrays = published.random_arrays(shapes) | {"extra": np.ones(2, np.float32)}
    del arrays["cond_emb.weight"], arrays["input_mlp.weight"]
    arrays["pos_emb_hw"] = np.ones((2, 4, 8), np.float32)
    arrays["body_transformer.blocks.1.ln1.bias"] = np.ones(9, np.float32)
    with pytest.raises(errors.UserError) as caught:
        rq_transformer.convert(save(tmp_path, arrays), num_heads=2)
    for part in (
        "missing: cond_emb.weight, input_mlp.weight",
        "not used: extra",
        "pos_emb_hw (has the shape (2, 4, 8), expected 1 in front)",
        "body_transformer.blocks.1.ln1.bias (9,) beside body_transformer.blocks.0.ln1.bias (8,)",
    ):
        assert part in str(caught.value)


def test_vqgan_has_depth_one_and_its_loss_is_left(tmp_path):
    table = np.random.default_rng(0).normal(size=(NUM_CODES, 5)).astype(np.float32)
    arrays = NETWORKS | {
        "quantize.embedding.weight": table,
        "loss.discriminator.main.0.weight": np.ones((2, 3), np.float32),
        "loss.perceptual_loss.lin0.model.1.weight": np.ones((1, 2), np.float32),
    }
    export = taming.convert(save(tmp_path, {"state_dict": arrays}), image_size=8)
    assert export.fields["quantizer"]["depth"] == 1
    statistics = codebook_averages.CodebookStats(**export.tree["statistics"]["quantizer"])
    found = codebook_averages.codebooks_from(jax.tree.map(jax.numpy.asarray, statistics))[0]
    np.testing.assert_allclose(found, table, rtol=1e-6)


def test_multi_scale_tokenizer_stacks_its_convolutions(tmp_path):
    arrays = published.random_arrays(MULTI_SCALE)
    arrays |= published.random_arrays(published.var_quantizer(3, 2, NUM_CODES, 5), seed=1)
    path = save(tmp_path, arrays)
    export = var.convert(path, image_size=8, scales=(1, 4, 8))
    quantizer = export.tree["params"]["quantizer"]
    second = arrays["quantize.quant_resi.qresi_ls.1.weight"]
    np.testing.assert_array_equal(quantizer["phi"]["kernel"][1], second.transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(quantizer["codebook"], arrays["quantize.embedding.weight"])
    scales = {"scales": (1, 4, 8), "grid_side": 8, "num_phi": 2, "choice": "distance"}
    assert export.fields["scales"] == scales
    with pytest.raises(errors.UserError, match="last scale is 16 and grid_side 8"):
        var.convert(path, image_size=8)


def test_rq_transformer_stacks_its_layers_in_order(tmp_path):
    shapes = published.rq_transformer(
        8, 2, 1, length=4, depth=3, codebook_size=7, code_dim=5, num_classes=2
    )
    arrays = published.random_arrays(shapes)
    path = save(tmp_path, {"state_dict": arrays})
    export = rq_transformer.convert(path, num_heads=2)
    query = export.tree["params"]["body"]["blocks"]["query"]["kernel"]
    for layer in range(2):
        source = arrays[f"body_transformer.blocks.{layer}.attn.query.weight"]
        np.testing.assert_array_equal(query[layer], source.T)
    assert export.fields["space"]["grid"] == (2, 2)
    assert export.fields["model"]["num_heads"] == 2
    arrays["pos_emb_cond"] = np.zeros((1, 32, 8), np.float32)
    with pytest.raises(errors.UserError, match=r"a condition of shape \(1, 32, 8\)"):
        rq_transformer.convert(save(tmp_path, {"state_dict": arrays}))
    with pytest.raises(errors.UserError, match="is no RQ-Transformer"):
        rq_transformer.convert(save(tmp_path, {"state_dict": NETWORKS}))


@pytest.mark.parametrize(("width", "body", "head"), [(1536, 12, 4), (2560, 42, 6)])
def test_every_published_tensor_of_rq_transformer_has_its_place(width, body, head):
    shapes = published.rq_transformer(width, body, head, length=64, depth=4)
    hollow = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    spec, space = rq_transformer.specs_of(hollow, 0, "x")
    assert (spec.width, spec.num_heads) == (width, width // 64)
    assert (spec.num_body_layers, spec.num_head_layers) == (body, head)
    assert space.codes.codebook_size == 16384
    sources = [name for rule in rq_transformer.rules_of(spec) for name in rule.sources]
    assert sorted(sources) == sorted(shapes)
