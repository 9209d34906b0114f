"""Encode: the codes on disk are the tokenizer's, image by image, whatever batch and shards."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from resgen_jax.core import errors
from resgen_jax.data import array_records, codes, folders, images, sources, views
from resgen_jax.recipes import configs
from resgen_jax.runs import encode, open_run


@pytest.fixture(scope="module")
def one_tokenizer():
    return {}


@pytest.fixture
def tokenizer(runs, one_tokenizer):
    """The tokenizer, opened once."""
    if not one_tokenizer:
        one_tokenizer["it"] = open_run.open_tokenizer(runs.tokenizer, note=lambda text: None)
    return one_tokenizer["it"]


@pytest.fixture
def run(runs, tokenizer):
    """`encode` with that tokenizer."""
    return lambda output, **fields: encode.encode(tokenizer, runs.tokenizer, output, **fields)


def test_codes_on_disk_are_those_of_each_image(runs, tokenizer):
    written = codes.read(runs.codes)
    dataset = sources.open_images(sources.Spec("digits", 8, 1, 16))
    assert (len(written.train), len(written.held_out)) == (1437, 360)
    for source, encoded in ((dataset.train, written.train), (dataset.held_out, written.held_out)):
        elements = [source[index] for index in (0, 7, len(source) - 1)]
        pixels = images.to_unit(np.stack([element["images"] for element in elements]))
        model = tokenizer.model
        expected = model.encode(tokenizer.params, tokenizer.statistics, jnp.asarray(pixels))
        for row, element in enumerate(elements):
            found = encoded[int(element["index"])]
            np.testing.assert_array_equal(found["codes"], expected[row])
            assert found["labels"] == element["labels"]
    np.testing.assert_array_equal(written.codebooks, model.codebooks(tokenizer.statistics))
    assert written.meta.tokenizer == str(runs.tokenizer)
    assert written.meta.tokenizer_step == 0


def test_neither_batches_nor_shards_change_the_codes(runs, run, tmp_path):
    run(tmp_path / "codes", batch_size=500, records_per_shard=300)
    many, one = codes.read(tmp_path / "codes"), codes.read(runs.codes)
    assert len(many.sha256) == 5 + 2 + 1
    for part in ("train", "held_out"):
        found, expected = getattr(many, part), getattr(one, part)
        np.testing.assert_array_equal(found.labels, expected.labels)
        for index in (0, 299, 300, len(expected) - 1):
            if index < len(expected):
                np.testing.assert_array_equal(found[index]["codes"], expected[index]["codes"])


def test_views_follow_each_other_and_held_out_images_have_one(runs, run, tokenizer, tmp_path):
    run(tmp_path / "codes", flip=True, num_crops=1, records_per_shard=1000)
    written, plain = codes.read(tmp_path / "codes"), codes.read(runs.codes)
    meta = written.meta
    assert (meta.flip, meta.num_crops, meta.random_crop, meta.num_views) == (True, 1, (0.8, 1.0), 4)
    assert len(written.train) == 4 * 1437
    np.testing.assert_array_equal(written.train.labels, np.repeat(plain.train.labels, 4))
    np.testing.assert_array_equal(written.held_out[5]["codes"], plain.held_out[5]["codes"])
    np.testing.assert_array_equal(written.train[4 * 9]["codes"], plain.train[9]["codes"])
    source = sources.open_images(sources.Spec("digits", 8, 1, 16)).train
    (crop,) = views.fixed(1, False, (0.8, 1.0), 9)[1:]
    plain_pixels, cropped = source.views(9, [views.PLAIN, crop])[0]
    assert (plain_pixels != cropped).any()
    seen = np.stack([plain_pixels, plain_pixels[:, ::-1], cropped, cropped[:, ::-1]])
    model = tokenizer.model
    expected = model.encode(
        tokenizer.params, tokenizer.statistics, jnp.asarray(images.to_unit(seen))
    )
    found = np.stack([written.train[4 * 9 + view]["codes"] for view in range(4)])
    np.testing.assert_array_equal(found, expected)


def make_photos(folder, num=3):
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(num):
            pixels = np.random.default_rng(number).integers(0, 256, (12, 10, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def test_other_images_are_encoded_and_a_broken_held_out_one_is_an_error(run, tmp_path):
    photos, output = make_photos(tmp_path / "photos"), tmp_path / "codes"
    run(output, images=str(photos))
    written = codes.read(output)
    assert (len(written.train), len(written.held_out)) == (4, 2)
    assert written.meta.class_names == ("a", "b")
    whole = (photos / "a" / "2.png").read_bytes()
    (photos / "a" / "2.png").write_bytes(b"\x89PNG")
    with pytest.raises(errors.UserError, match="2.png cannot be read.*every held-out image"):
        run(output, images=str(photos), again=True)
    assert len(codes.read(output).train) == 4  # what was there before
    (photos / "a" / "2.png").write_bytes(whole)
    run(output, images=str(photos), again=True)
    assert codes.read(output).sha256 == written.sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codes", "photos"]


def test_unreadable_images_are_named_and_counted_over_all_shards(runs, tokenizer, tmp_path, capsys):
    photos, output = make_photos(tmp_path / "photos", num=12), tmp_path / "codes"
    config = configs.change(tokenizer.config, {"data.max_unreadable": 2})
    run = functools.partial(encode.encode, tokenizer._replace(config=config), runs.tokenizer)
    fields = {"images": str(photos), "records_per_shard": 4, "batch_size": 3}
    (photos / "a" / "3.png").write_bytes(b"")
    (photos / "b" / "5.png").write_text("<html>not found</html>")
    run(output, **fields)
    told = capsys.readouterr().err
    assert "3.png cannot be read as an image (the file is empty)" in told
    assert "5.png cannot be read as an image (no image format known here)" in told
    assert "2 images cannot be read and were skipped" in told
    written = codes.read(output)
    assert written.train.labels.tolist() == [0] * 10 + [1] * 10
    (photos / "b" / "8.png").write_bytes(b"")
    with pytest.raises(errors.UserError, match="8.png cannot be read.*data.max_unreadable is 2"):
        run(output, **fields, again=True)


def test_images_in_other_files_are_named_by_fields_of_the_config(runs, tmp_path):
    split = folders.open_folder(str(make_photos(tmp_path / "photos")), "")
    array_records.write(str(tmp_path / "shards"), *split)
    fields = {"source": "array_record", "path": tmp_path / "shards", "crop": "adm"}
    code, out, err = runs.resgen(
        "encode",
        f"--workdir={runs.tokenizer}",
        f"--output={tmp_path / 'codes'}",
        *(f"--config.data.{name}={value}" for name, value in fields.items()),
    )
    assert code == 0, err
    assert "(4 to train on, 2 held out)" in out
    assert codes.read(tmp_path / "codes").meta.crop == "adm"


def test_codes_that_are_there_are_kept_unless_damaged_or_asked_for(run, tmp_path, capsys):
    photos, output = make_photos(tmp_path / "photos"), tmp_path / "codes"
    run(output, images=str(photos))
    written = codes.read(output)
    (shard,) = output.glob("codes_train*")
    before = shard.stat().st_mtime_ns
    run(output, images=str(photos))
    assert "holds these codes already; --again" in capsys.readouterr().err
    assert shard.stat().st_mtime_ns == before
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    run(output, images=str(photos))
    said = capsys.readouterr().err
    assert "is damaged" in said
    assert "holds other codes" not in said
    assert codes.read(output).sha256 == written.sha256
    run(output, images=str(photos), flip=True)
    assert "holds other codes, which these replace" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--batch_size=0",), "--batch_size is 0; expected 1 or more"),
        (("--num_crops=-1",), "--num_crops is -1; expected 0 or more"),
        (("--records_per_shard=0",), "--records_per_shard is 0; expected 1 or more"),
        (("--images=/nowhere",), "'/nowhere' is not a directory"),
        (("--config.data.image_size=9",), "--config.data.image_size is the trained tokenizer's"),
        (("--config.seed=1",), "only fields of data can be set here"),
        (("--config.data.pat=x",), "did you mean 'path'"),
        (("--output=/usr",), "/usr exists and is not a codes directory"),
    ],
)
def test_mistakes_are_told_in_one_line(runs, arguments, message):
    code, _, err = runs.resgen("encode", f"--workdir={runs.tokenizer}", *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
