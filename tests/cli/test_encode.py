"""Encode: the codes on disk are the tokenizer's, image by image, whatever the batch."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from resgen_jax.cli import trained
from resgen_jax.data import codes, images, sources


def test_codes_on_disk_are_those_of_each_image(runs):
    tokenizer = trained.open_tokenizer(runs.tokenizer, note=lambda text: None)
    written = codes.read(runs.codes)
    dataset = sources.open_images(sources.Spec("digits", 8, 1, 16))
    assert (len(written.train), len(written.held_out)) == (1437, 360)
    for source, encoded in ((dataset.train, written.train), (dataset.held_out, written.held_out)):
        elements = [source[index] for index in (0, 7, len(source) - 1)]
        pixels = images.to_unit(np.stack([element["images"] for element in elements]))
        door = tokenizer.task.tokenizer
        expected = door.encode(tokenizer.params, tokenizer.statistics, jnp.asarray(pixels))
        for row, element in enumerate(elements):
            found = encoded[int(element["index"])]
            np.testing.assert_array_equal(found["codes"], expected[row])
            assert found["labels"] == element["labels"]
    np.testing.assert_array_equal(written.codebooks, door.codebooks(tokenizer.statistics))
    assert written.meta.tokenizer == str(runs.tokenizer)


def test_batch_size_does_not_change_the_codes(runs, tmp_path):
    runs.succeed(
        "encode", f"--workdir={runs.tokenizer}", f"--output={tmp_path / 'c'}", "--batch_size=500"
    )
    assert codes.read(tmp_path / "c").sha256 == codes.read(runs.codes).sha256


def test_other_images_are_encoded_and_a_broken_held_out_one_is_an_error(runs, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 256, (12, 10, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    arguments = (
        "encode",
        f"--workdir={runs.tokenizer}",
        f"--images={tmp_path / 'photos'}",
        f"--output={tmp_path / 'codes'}",
    )
    runs.succeed(*arguments)
    written = codes.read(tmp_path / "codes")
    assert (len(written.train), len(written.held_out)) == (4, 2)
    assert written.meta.class_names == ("a", "b")
    (tmp_path / "photos" / "a" / "2.png").write_bytes(b"\x89PNG")
    code, _, err = runs.resgen(*arguments)
    assert code == 2
    assert "2.png cannot be read" in err
    assert len(codes.read(tmp_path / "codes").train) == 4  # what was there before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--batch_size=0",), "--batch_size is 0; expected 1 or more"),
        (("--images=/nowhere",), "'/nowhere' is not a directory"),
        (("--output=/usr",), "/usr exists and is not a codes directory"),
    ],
)
def test_mistakes_are_told_in_one_line(runs, arguments, message):
    code, _, err = runs.resgen("encode", f"--workdir={runs.tokenizer}", *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
