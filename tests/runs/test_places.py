"""Places that a run names: moved together they are found again, and else the flag is named."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.recipes import configs
from resgen_jax.runs import experiments, open_run, places, reconstruct
from resgen_jax.runs.configs import configuration


def make(*files):
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")


@pytest.mark.parametrize(
    ("hint", "there", "expected"),
    [
        ("/old/demo/codes", "demo/codes", "demo/codes"),
        ("/old/runs/tokenizer/codes", "demo/tokenizer/codes", "demo/tokenizer/codes"),
        ("/old/demo/generator/codes", "demo/generator/codes", "demo/generator/codes"),
        ("/old/photos/train", "photos/train", "photos/train"),
        ("/old/a/b/c/d", "demo/c/d", "demo/c/d"),
        ("/old/demo/codes", "demo/other", None),
        ("gs://bucket/demo/codes", "demo/codes", None),
    ],
)
def test_what_ends_as_the_hint_is_found_near_the_run(tmp_path, hint, there, expected):
    make(tmp_path / "demo" / "generator" / "config.json", tmp_path / there / "file")
    found = places.find(hint, tmp_path / "demo" / "generator", lambda place: is_folder(place))
    assert found == (expected and str(tmp_path / expected))


def is_folder(place):
    return "://" not in place and pathlib.Path(place).is_dir()


def test_a_hint_that_is_right_is_kept_and_the_nearest_place_comes_first(tmp_path):
    make(tmp_path / "old" / "codes" / "x", tmp_path / "codes" / "x", tmp_path / "a" / "codes" / "x")
    run = tmp_path / "a" / "generator"
    assert places.find(str(tmp_path / "old" / "codes"), run, is_folder).endswith("old/codes")
    assert places.find("/gone/codes", run, is_folder) == str(tmp_path / "a" / "codes")
    # What is not what is looked for is passed over.
    found = places.find("/gone/codes", run, lambda p: is_folder(p) and "/a/" not in p)
    assert found == str(tmp_path / "codes")


@pytest.fixture
def moved(runs, tmp_path):
    """A copy of all runs that thinks it was made in a folder that is gone."""
    folder = shutil.copytree(runs.folder, tmp_path / "moved")
    for file in (path for path in folder.glob("*/*.json")):
        file.write_text(file.read_text().replace(str(runs.folder), "/gone"))
    return folder


def test_a_folder_of_runs_that_was_moved_samples_and_completes(runs, place, moved):
    arguments = ("--num_samples=3", "--keep=0:2,0:4", "--keep_from=held-out")
    output = place.folder / "out"
    code, _, err = place.resgen(
        "sample", f"--workdir={moved / 'generator'}", f"--output={output}", *arguments
    )
    assert code == 0, err
    assert f"taken from {moved / 'codes'}" in err
    assert f"taken from {moved / 'tokenizer'}" in err
    place.succeed("sample", f"--workdir={runs.generator}", f"--output={place.folder}", *arguments)
    with np.load(output / "samples.npz") as here, np.load(place.folder / "samples.npz") as there:
        np.testing.assert_array_equal(here["images"], there["images"])


def test_codes_that_are_not_the_runs_own_are_not_taken_and_the_flag_is_named(place, moved):
    described = moved / "codes" / "codes.json"
    fields = json.loads(described.read_text())
    fields["sha256"]["codebooks.npy"] = "another"
    described.write_text(json.dumps(fields))
    notes = []
    generator = open_run.open_generator(moved / "generator", notes.append)
    assert generator.config.data.codes == "/gone/codes"
    with pytest.raises(errors.UserError, match="'/gone/codes'.* with --codes=DIR"):
        open_run.codes_of(generator, None)
    with pytest.raises(errors.UserError, match="is damaged|are not those"):
        open_run.codes_of(generator, str(moved / "codes"))


def test_a_tokenizer_that_became_another_one_is_told(runs, place):
    generator = open_run.open_generator(runs.generator, lambda text: None)
    notes = []
    open_run.open_tokenizer_for(generator, None, notes.append)
    assert not notes
    config = configuration.load(str(place.tokenizer_config), [("seed", "5")])
    place.save_untrained(config, place.tokenizer, seed=5)
    open_run.open_tokenizer_for(generator, str(place.tokenizer), notes.append)
    assert f"the tokenizer in {place.tokenizer} (step 0) has other codebooks" in notes[0]


def test_a_run_that_was_moved_with_its_codes_goes_on_by_its_old_command(runs, place, moved):
    def config_of(path):
        return configuration.load(str(place.generator_config), [("data.codes", str(path))])

    workdir, notes = moved / "generator", []
    config = config_of("/gone/codes")
    config = places.settle_missing(config, workdir, notes.append)
    assert config.data.codes == str(moved / "codes")
    assert f"is not /gone/codes any more: taken from {moved / 'codes'}" in notes[0]
    experiments.open_experiment(config, workdir, notes.append)
    # What is there is what the user means, be it right or wrong, and a new run searches nothing.
    other = shutil.copytree(runs.codes, place.folder / "other")
    described = other / "codes.json"
    described.write_text(described.read_text().replace('"codebooks.npy": "', '"codebooks.npy": "0'))
    for path, run in ((other, workdir), (runs.codes, workdir), ("/gone/codes", place.folder)):
        config = config_of(path)
        config = places.settle_missing(config, run, notes.append)
        assert config.data.codes == str(path)


def test_an_export_is_drawn_by_the_tokenizer_in_it(runs, place):
    output = f"--output={place.generator}"
    place.succeed("convert", f"--workdir={runs.generator}", output, "--to=safetensors")
    generator = open_run.open_generator(place.generator, pytest.fail)
    assert generator.meta.tokenizer == str(place.generator / "tokenizer")
    open_run.open_tokenizer_for(generator, None, pytest.fail)


def test_images_that_are_gone_are_told_with_the_flag(runs):
    tokenizer = open_run.open_tokenizer(runs.tokenizer, lambda text: None)
    gone = configs.change(tokenizer.config, {"data.source": "folder", "data.path": "/gone/photos"})
    with pytest.raises(errors.UserError, match="lay in /gone/photos.* with --images=DIR"):
        reconstruct.images_of(tokenizer._replace(config=gone), None)


def test_images_beside_the_run_are_found(tmp_path):
    make(tmp_path / "photos" / "train-0.tar", tmp_path / "runs" / "tokenizer" / "config.json")
    hints = {"path": "/gone/photos/train-{0..9}.tar", "held_out_path": "", "class_names": "/no.txt"}
    fields = {f"data.{name}": value for name, value in hints.items()}
    config = configs.change(configuration.load("tokenizers/rq_vae_digits.py"), fields)
    notes = []
    config = places.settle(config, tmp_path / "runs" / "tokenizer", notes.append)
    assert config.data.path == str(tmp_path / "photos" / "train-{0..9}.tar")
    assert config.data.class_names == "/no.txt"
    assert len(notes) == 1
