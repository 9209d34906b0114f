"""Forms of published checkpoints beside the usual one: read, named, or refused with a way out."""

import jax
import numpy as np
import published_layouts as published
import pytest
import torch_format

from resgen_jax.convert import rq_transformer, rq_vae, safetensors_files, taming, var
from resgen_jax.core import errors
from resgen_jax.quantizers import codebook_averages

NUM_CODES, CODE_DIM = 7, 5
NETWORKS = published.random_arrays(published.autoencoder(128, (1,), 1, (0,), 6, CODE_DIM))
MULTI_SCALE = published.autoencoder(128, (1,), 1, (0,), 5, CODE_DIM, bridge=3, is_fused=True)
CONV_IN = "encoder.conv_in.weight"


def save(tmp_path, tree):
    path = tmp_path / "model.pt"
    torch_format.save(path, tree)
    return path


def codebooks(depth=2, code_dim=CODE_DIM, counts=None):
    """One codebook for all levels, its counts, and sums that nobody reads."""
    table = np.random.default_rng(1).normal(size=(NUM_CODES + 1, code_dim)).astype(np.float32)
    counts = np.arange(1, NUM_CODES + 1) if counts is None else counts
    arrays = {}
    for level in range(depth):
        name = f"quantizer.codebooks.{level}"
        arrays[f"{name}.weight"] = table
        arrays[f"{name}.cluster_size_ema"] = np.asarray(counts, np.float32)
        arrays[f"{name}.embed_ema"] = np.full((NUM_CODES, code_dim), np.nan, np.float32)
    return arrays


def table_of(export):
    """The first codebook as a tokenizer makes it from counts and sums."""
    statistics = jax.tree.map(jax.numpy.asarray, export.tree["statistics"]["quantizer"])
    return codebook_averages.codebooks_from(codebook_averages.CodebookStats(**statistics))[0]


@pytest.mark.parametrize(
    "counts",
    [
        [0] * NUM_CODES,
        [1, 1, 1, 1, 1, 1, np.inf],
        [1, np.nan, 1, 1, 1, 1, 1],
        [1, -1, 1, 1, 1, 1, 1],
        [3e38] * NUM_CODES,
    ],
)
def test_counts_that_give_no_codebook_back_become_one(tmp_path, counts):
    path = save(tmp_path, {"state_dict": NETWORKS | codebooks(counts=counts)})
    export = rq_vae.convert(path, image_size=8)
    expected = codebooks()["quantizer.codebooks.0.weight"][:-1]
    np.testing.assert_allclose(table_of(export), expected, rtol=1e-5)
    np.testing.assert_array_equal(export.tree["statistics"]["quantizer"]["counts"], 1)
    (remark,) = export.remarks
    assert remark.startswith("quantizer.codebooks.0.cluster_size_ema counts to")
    with pytest.raises(errors.UserError, match="give no codebook back"):
        rq_vae.sums_of(expected, np.asarray(counts, np.float32))


def test_only_the_level_whose_counts_are_of_no_use_loses_them(tmp_path):
    arrays = NETWORKS | codebooks()
    arrays["quantizer.codebooks.1.cluster_size_ema"] = np.zeros(NUM_CODES, np.float32)
    path = save(tmp_path, {"state_dict": arrays})
    export = rq_vae.convert(path, image_size=8, has_separate_codebooks=True)
    counts = export.tree["statistics"]["quantizer"]["counts"]
    np.testing.assert_array_equal(counts, [np.arange(1, NUM_CODES + 1), np.ones(NUM_CODES)])
    assert [remark.split()[0] for remark in export.remarks] == [
        "quantizer.codebooks.1.cluster_size_ema"
    ]
    sums = codebooks(counts=[0, 0, 0, 0, 0, 0, 2])  # codes that are dead are none of that
    assert not rq_vae.convert(save(tmp_path, NETWORKS | sums), image_size=8).remarks


def test_codes_of_patches_of_latents_are_refused(tmp_path):
    folded = NETWORKS | codebooks(code_dim=4 * CODE_DIM)
    message = r"codebooks.0.weight has 20 channels and quant_conv gives 5: .*code_shape"
    with pytest.raises(errors.UserError, match=message):
        rq_vae.convert(save(tmp_path, {"state_dict": folded}), image_size=8)
    table = {"quantize.embedding.weight": np.ones((NUM_CODES, 3), np.float32)}
    with pytest.raises(errors.UserError, match="has 3 channels and quant_conv gives 5"):
        taming.convert(save(tmp_path, NETWORKS | table), image_size=8)
    quantizer = published.random_arrays(published.var_quantizer(3, 2, NUM_CODES, 5)) | table
    path = save(tmp_path, published.random_arrays(MULTI_SCALE) | quantizer)
    with pytest.raises(errors.UserError, match="has 3 channels and quant_conv gives 5"):
        var.convert(path, image_size=8, scales=(1, 4, 8))


@pytest.mark.parametrize("kind", ["torch", "safetensors", "npz"])
def test_a_weight_that_is_not_finite_is_named_in_every_kind_of_file(tmp_path, kind):
    arrays = NETWORKS | codebooks()
    arrays[CONV_IN] = arrays[CONV_IN].copy()
    arrays[CONV_IN][3, 1, 2, 0] = np.nan
    table = arrays["quantizer.codebooks.0.weight"].copy()
    table[2, 1] = np.inf
    arrays |= {f"quantizer.codebooks.{level}.weight": table for level in range(2)}
    path = tmp_path / "model"
    if kind == "torch":
        torch_format.save(path, arrays)
    elif kind == "safetensors":
        safetensors_files.write(path, arrays, {})
    else:
        with path.open("wb") as file:
            np.savez(file, **arrays)
    with pytest.raises(errors.UserError) as caught:
        rq_vae.convert(path, image_size=8)
    assert str(caught.value) == (
        f"{path}: not finite (download the file again, or take an earlier checkpoint): "
        f"{CONV_IN} (1 of 3456 numbers), quantizer.codebooks.0.weight (1 of 40 numbers), "
        "quantizer.codebooks.1.weight (1 of 40 numbers)"
    )


@pytest.mark.parametrize(
    ("prefix", "section"),
    [("first_stage_model.", ""), ("_orig_mod.", "state_dict"), ("module.", "state_dict_ema")],
)
def test_a_prefix_of_all_names_comes_off_with_a_word(tmp_path, prefix, section):
    plain = NETWORKS | codebooks()
    wrapped = {prefix + name: array for name, array in plain.items()}
    other = {name: array + 1 for name, array in plain.items()}
    tree = {"state_dict": other, section: wrapped} if section else wrapped
    export = rq_vae.convert(save(tmp_path, tree), image_size=8)
    kernel = export.tree["params"]["encoder"]["conv_in"]["kernel"]
    np.testing.assert_array_equal(kernel, plain[CONV_IN].transpose(2, 3, 1, 0))
    assert export.remarks == (f"all names begin by {prefix!r}, which is taken off",)


def test_the_only_section_of_a_file_is_read_with_a_word(tmp_path):
    path = save(tmp_path, {"model": NETWORKS | codebooks(), "epoch": 3})
    export = rq_vae.convert(path, image_size=8)
    assert export.remarks == ("weights are read from the file's only section, 'model'",)
    path = save(tmp_path, {"model": NETWORKS | codebooks(), "other": NETWORKS})
    with pytest.raises(errors.UserError, match="sections with arrays: 'model', 'other'"):
        rq_vae.convert(path, image_size=8)


def test_positions_are_of_the_grid_that_is_named(tmp_path):
    sizes = dict(depth=3, codebook_size=7, code_dim=5, num_classes=2)
    path = save(
        tmp_path, published.random_arrays(published.rq_transformer(8, 1, 1, length=16, **sizes))
    )
    export = rq_transformer.convert(path, num_heads=2, grid=(2, 8))
    assert (export.fields["space"]["grid"], export.remarks) == ((2, 8), ())
    taken = rq_transformer.convert(path, num_heads=2)
    assert taken.fields["space"]["grid"] == (4, 4)
    assert "16 positions are taken for a grid of 4 x 4; say --grid=" in taken.remarks[0]
    with pytest.raises(errors.UserError, match="16 positions, which are no grid of 3 x 5; say"):
        rq_transformer.convert(path, num_heads=2, grid=(3, 5))
    path = save(
        tmp_path, published.random_arrays(published.rq_transformer(8, 1, 1, length=8, **sizes))
    )
    with pytest.raises(
        errors.UserError, match="no grid of 2 x 2; say its rows and columns by --grid"
    ):
        rq_transformer.convert(path, num_heads=2)
    assert rq_transformer.convert(path, num_heads=2, grid=(2, 4)).fields["space"]["grid"] == (2, 4)


@pytest.mark.parametrize(("sharing", "num_phi"), [("shared", 1), ("partly", 2), ("not_shared", 3)])
def test_phi_is_read_however_it_is_shared(tmp_path, sharing, num_phi):
    arrays = published.random_arrays(MULTI_SCALE)
    shapes = published.var_quantizer(3, num_phi, NUM_CODES, CODE_DIM, sharing)
    arrays |= published.random_arrays(shapes, seed=1)
    path = save(tmp_path, arrays)
    export = var.convert(path, image_size=8, scales=(1, 4, 8), choice="direction")
    assert export.fields["scales"] == {
        "scales": (1, 4, 8), "grid_side": 8, "num_phi": num_phi, "choice": "direction"
    }  # fmt: skip
    kernels = export.tree["params"]["quantizer"]["phi"]["kernel"]
    for index, kernel in enumerate(kernels):
        name = f"quantize.quant_resi.{published.PHI_NAMES[sharing].format(index)}.weight"
        np.testing.assert_array_equal(kernel, arrays[name].transpose(2, 3, 1, 0))
    (remark,) = export.remarks
    assert "chosen by direction and phi has a share of 0.5: the file does not say" in remark
    with pytest.raises(errors.UserError, match="did you mean 'distance'"):
        var.convert(path, image_size=8, scales=(1, 4, 8), choice="distances")


def test_forms_that_are_not_supported_are_named(tmp_path):
    arrays = published.random_arrays(MULTI_SCALE)
    shapes = published.var_quantizer(3, 0, NUM_CODES, CODE_DIM)
    path = save(tmp_path, arrays | published.random_arrays(shapes))
    with pytest.raises(errors.UserError, match="without any, quant_resi=0, is not supported"):
        var.convert(path, image_size=8, scales=(1, 4, 8))
    gumbel = {
        "quantize.embed.weight": np.ones((NUM_CODES, CODE_DIM), np.float32),
        "quantize.proj.weight": np.ones((NUM_CODES, 6, 1, 1), np.float32),
        "quantize.proj.bias": np.ones(NUM_CODES, np.float32),
    }
    # Its checkpoints may also hold the codebook that its base class made.
    for more in ({}, {"quantize.embedding.weight": np.ones((NUM_CODES, CODE_DIM), np.float32)}):
        with pytest.raises(errors.UserError, match="has Gumbel codes .*are not supported: take a"):
            taming.convert(save(tmp_path, NETWORKS | gumbel | more), image_size=8)
    with pytest.raises(errors.UserError, match="has no array quantize.embedding.weight"):
        taming.convert(save(tmp_path, NETWORKS), image_size=8)
