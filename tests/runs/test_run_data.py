"""What a run's data are: moved ones go on, changed ones are refused with a way out."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from resgen_jax.core import errors
from resgen_jax.recipes import on_codes, on_images
from resgen_jax.runs import experiments, run_directory
from resgen_jax.runs.configs import configuration
from resgen_jax.training.telemetry import writer


@pytest.fixture
def photos(tmp_path):
    """Images of the size of digits, so that the programs are those of other tests."""
    random = np.random.default_rng(0)
    for part, count in (("train", 20), ("val", 10)):
        for label in "ab":
            (tmp_path / "photos" / part / label).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (8, 8), np.uint8)
                place = tmp_path / "photos" / part / label / f"{number}.png"
                Image.fromarray(pixels).save(place)
    return tmp_path / "photos"


def fields_of(path, **more):
    return {"data.source": "folder", "data.path": str(path), **more}


def losses(workdir):
    measured = [line for line in writer.read(workdir) if "loss" in line]
    return [(line["split"], line["step"], line["loss"]) for line in measured]


def open_run(place, path, has_begun=True, **more):
    """The run directory begun or gone on with, as if it had a checkpoint then."""
    workdir = place.folder / "run"
    fields = list(fields_of(path, **more).items())
    config = configuration.load(str(place.tokenizer_config), fields)
    experiments.open_experiment(config, workdir, lambda text: None)
    if has_begun:
        (workdir / "checkpoints" / "3").mkdir(parents=True, exist_ok=True)
    return workdir


def change(photos, part="train"):
    """One image is turned upside down; its file may keep its size."""
    file = photos / part / "a" / "7.png"
    with Image.open(file) as image:
        turned = image.transpose(Image.Transpose.ROTATE_180)
    turned.save(file)


def test_images_that_were_moved_go_on_with_the_same_losses(place, photos):
    def command(workdir, path):
        flags = [f"--config.{name}={value}" for name, value in fields_of(path).items()]
        return ("train", f"--config={place.tokenizer_config}", f"--workdir={workdir}", *flags)

    whole, parts = place.folder / "whole", place.folder / "parts"
    place.succeed(*command(whole, photos))

    place.stop_after(2, *command(parts, photos))
    moved = photos.rename(place.folder / "elsewhere")
    place.succeed(*command(parts, moved))
    assert losses(parts) == losses(whole)
    assert run_directory.read(parts).data.path == str(moved)
    # The same names, and other images behind them.
    change(moved)
    code, _, err = place.resgen(*command(parts, moved))
    assert code == 2
    assert "are not those that the run in" in err.splitlines()[-1]


@pytest.mark.parametrize("part", ["train", "val"])
def test_other_images_under_the_same_names_are_refused_with_two_ways_out(place, photos, part):
    workdir = open_run(place, photos)
    before = (workdir / on_images.ROLE.record_file).read_text()
    change(photos, part)
    with pytest.raises(errors.UserError, match="are not those that the run in") as info:
        open_run(place, photos)
    assert f"another --workdir with --config.train.init_from={workdir}" in str(info.value)
    assert (workdir / on_images.ROLE.record_file).read_text() == before
    flag, _, name = str(info.value).rpartition("--config.")[2].partition("=")
    with pytest.raises(errors.UserError, match=f"is 'another', but the images in .* are '{name}'"):
        open_run(place, photos, **{flag: "another"})
    open_run(place, photos, **{flag: name})
    open_run(place, photos)  # they are the run's now
    change(photos, part)
    with pytest.raises(errors.UserError, match="are not those"):
        open_run(place, photos, **{flag: ""})


def test_until_something_is_saved_data_may_be_mended_and_chosen_anew(place, photos):
    open_run(place, photos, has_begun=False)
    change(photos)
    other = shutil.copytree(photos, place.folder / "other")
    change(other)
    open_run(place, other)
    with pytest.raises(errors.UserError, match="are not those"):
        open_run(place, photos)


def test_a_run_of_before_fingerprints_takes_the_users_word(place, photos):
    workdir = open_run(place, photos)
    (workdir / on_images.ROLE.record_file).unlink()
    moved = photos.rename(place.folder / "elsewhere")
    with pytest.raises(errors.UserError, match=r"data.path is .* there and .* here") as info:
        open_run(place, moved)
    text = str(info.value)
    flag, _, name = text.rpartition("if the images were only moved, --config.")[2].partition("=")
    open_run(place, moved, **{flag: name.split()[0]})
    open_run(place, moved)


def test_codes_that_were_moved_are_the_same_and_others_are_not(runs, place):
    def open_codes(path):
        config = configuration.load(str(place.generator_config), [("data.codes", str(path))])
        experiments.open_experiment(config, workdir, lambda text: None)

    workdir = shutil.copytree(runs.generator, place.generator)
    moved = shutil.copytree(runs.codes, place.folder / "moved")
    open_codes(moved)
    assert run_directory.read(workdir).data.codes == str(moved)
    described = workdir / on_codes.RECORD_FILE
    fields = json.loads(described.read_text())
    fields["sha256"]["codebooks.npy"] = "another"
    described.write_text(json.dumps(fields))
    with pytest.raises(errors.UserError, match=r"are not those .*--config.train.init_from="):
        open_codes(moved)
