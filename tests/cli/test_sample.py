"""Sample: the seed alone decides, kept regions stay, and every mistake is told before sampling."""

import json

import numpy as np
import pytest
from PIL import Image

from resgen_jax.core import errors
from resgen_jax.data import codes, spread
from resgen_jax.evaluation import samples
from resgen_jax.metrics import seams
from resgen_jax.runs import inpainting, sampling


def sample(runs, output, *arguments):
    runs.succeed("sample", f"--workdir={runs.generator}", f"--output={output}", *arguments)
    with np.load(output / "samples.npz") as arrays:
        return dict(arrays)


def test_same_seed_gives_the_same_samples_for_any_batch(runs, tmp_path):
    one = sample(runs, tmp_path / "one", "--num_samples=20", "--batch_size=20", "--seed=3")
    two = sample(runs, tmp_path / "two", "--num_samples=20", "--batch_size=8", "--seed=3")
    np.testing.assert_array_equal(one["codes"], two["codes"])
    np.testing.assert_array_equal(one["images"], two["images"])
    np.testing.assert_array_equal(one["labels"], np.arange(20) % 10)
    other = sample(runs, tmp_path / "other", "--num_samples=20", "--batch_size=8", "--seed=4")
    assert np.any(other["codes"] != one["codes"])
    assert one["codes"].shape == (20, 16, 3)
    assert one["images"].shape == (20, 8, 8, 1)
    with Image.open(tmp_path / "one" / "samples.png") as picture:
        assert min(picture.size) > 100


@pytest.mark.parametrize("form", ["ours", "adm"])
def test_other_samples_in_the_same_folder_are_kept_and_the_same_are_not(runs, tmp_path, form):
    stem = {"ours": "samples", "adm": "samples_adm"}[form]
    command = ("sample", f"--workdir={runs.generator}", f"--output={tmp_path}", f"--npz={form}")
    few = ("--num_steps=1", "--batch_size=4")

    def files():
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    runs.succeed(*command, *few, "--num_samples=4")
    first = files()
    assert first.keys() == {f"{stem}.npz", f"{stem}.png"}
    _, _, err = runs.resgen(*command, *few, "--num_samples=4")
    assert "earlier samples" not in err
    assert files().keys() == first.keys()
    earlier = first
    for number, other in ((1, "--seed=1"), (2, "--labels=random")):
        (tmp_path / f"{stem}.png").write_bytes(earlier[f"{stem}.png"])
        _, _, err = runs.resgen(*command, *few, "--num_samples=4", other)
        assert f"are now {stem}-{number}.npz, {stem}-{number}.png" in err
        there = files()
        for name, content in earlier.items():
            assert there[name.replace(stem, f"{stem}-{number}")] == content
        earlier = {name: there[name] for name in first}
    assert len(files()) == 6


def test_samples_that_do_not_say_what_they_are_and_figures_of_seams_are_kept(runs, tmp_path):
    old = {"samples.npz": b"not an archive", "seam.json": b"{}", "mine.txt": b"mine"}
    for name, content in old.items():
        (tmp_path / name).write_bytes(content)
    sample(runs, tmp_path, "--num_samples=2", "--num_steps=1")
    assert (tmp_path / "samples-1.npz").read_bytes() == old["samples.npz"]
    assert (tmp_path / "seam-1.json").read_bytes() == old["seam.json"]
    assert (tmp_path / "mine.txt").read_bytes() == old["mine.txt"]
    assert not (tmp_path / "seam.json").exists()


def test_chosen_classes_come_in_turn(runs, tmp_path):
    found = sample(runs, tmp_path, "--num_samples=5", "--classes=7,2", "--num_steps=1")
    np.testing.assert_array_equal(found["labels"], [7, 2, 7, 2, 7])


def test_adm_file_holds_the_same_samples_shuffled(runs, tmp_path):
    few = ("--num_samples=20", "--seed=3", "--labels=balanced")
    ours = sample(runs, tmp_path / "ours", *few, "--batch_size=20")
    runs.succeed(
        "sample", f"--workdir={runs.generator}", f"--output={tmp_path}", *few,
        "--npz=adm", "--batch_size=8",
    )  # fmt: skip
    with np.load(tmp_path / "samples_adm.npz") as found:
        order = found["order"]
        np.testing.assert_array_equal(order, np.random.default_rng(3).permutation(20))
        assert found["arr_0"].dtype == np.uint8
        expected = np.repeat(ours["images"][order], 3, axis=-1)
        np.testing.assert_array_equal(found["arr_0"], expected)
        np.testing.assert_array_equal(found["labels"], ours["labels"][order])
        assert np.any(np.diff(found["labels"]) != 1)
        assert int(found["seed"]) == 3
    settings = samples.sampler_of(str(tmp_path / "samples_adm.npz"))
    told = {name: settings[name] for name in ("seed", "labels", "step", "num_steps")}
    assert told == {"seed": 3, "labels": "balanced", "step": 0, "num_steps": 3}
    with Image.open(tmp_path / "samples_adm.png") as picture:
        assert min(picture.size) > 100


def test_proposals_and_lists_of_values_reach_the_sampler(runs, tmp_path):
    few = ("--num_samples=6", "--num_steps=2")
    plain = sample(runs, tmp_path / "plain", *few)
    for name, arguments in {
        "codes": ("--proposal=codes", "--confidence=code_head"),
        "guided": ("--proposal=guided",),
        "list": ("--guidance_scale=1.0,4",),
    }.items():
        found = sample(runs, tmp_path / name, *few, *arguments)
        assert np.any(found["codes"] != plain["codes"]), name
    same = sample(runs, tmp_path / "same", *few, "--guidance_scale=1.5,1.5", "--top_k=0,0")
    np.testing.assert_array_equal(same["codes"], plain["codes"])


def test_random_labels_are_drawn_from_the_chosen(runs, tmp_path):
    arguments = ("--num_samples=12", "--num_steps=1", "--labels=random", "--classes=2,7,5")
    found = sample(runs, tmp_path, *arguments)
    assert set(found["labels"].tolist()) <= {2, 5, 7}
    assert np.bincount(found["labels"]).max() > 4  # balanced would be four of each
    labels = sampling.labels_for("random", None, 10, 1000, seed=1)
    assert set(labels.tolist()) == set(range(10))
    assert np.any(labels != sampling.labels_for("random", None, 10, 1000, seed=2))


def test_kept_region_of_held_out_codes_stays_and_the_rest_is_drawn(runs, tmp_path):
    arguments = ("--keep=0:2,1:4", "--keep_from=held-out", "--num_samples=6", "--batch_size=4")
    found = sample(runs, tmp_path, *arguments)
    source = codes.read(runs.codes).held_out
    index = spread.places(360, 6)
    original = np.stack([source[int(number)]["codes"] for number in index])
    is_kept = np.zeros((4, 4), bool)
    is_kept[0:2, 1:4] = True
    is_kept = is_kept.reshape(-1)
    np.testing.assert_array_equal(found["codes"][:, is_kept], original[:, is_kept])
    assert np.any(found["codes"][:, ~is_kept] != original[:, ~is_kept])
    np.testing.assert_array_equal(found["labels"], source.labels[index])
    figures = json.loads((tmp_path / "seam.json").read_text())
    is_kept = np.array(figures["kept"], bool)
    assert is_kept.sum() == 6
    expected = seams.across(found["images"], is_kept).mean()
    assert figures["seam"]["filled_in"] == pytest.approx(expected)
    assert set(figures["seam"]) == set(figures["elsewhere"]) == {"filled_in", "real", "strangers"}


def test_seam_figures_are_those_of_real_images_for_a_perfect_completion():
    random, is_kept = np.random.default_rng(0), np.array([[True], [False]])
    real = np.repeat(random.integers(0, 256, (6, 1, 1, 3), np.uint8), 8, axis=1).repeat(8, axis=2)
    strangers = np.concatenate([real[:, :4], np.roll(real, 1, axis=0)[:, 4:]], axis=1)
    perfect = inpainting.seam_figures(real, real, strangers, is_kept)
    assert perfect["agreement"] == 1
    assert perfect["seam"]["real"] == 0 < perfect["seam"]["strangers"]
    blind = inpainting.seam_figures(strangers, real, strangers, is_kept)
    assert blind["agreement"] == 0
    assert inpainting.told(blind)[-1].startswith("agreement at the seam: 0.00 (1 as real")
    hidden = inpainting.seam_figures(real, real, real, is_kept)
    assert hidden["agreement"] is None
    assert inpainting.told(hidden)[-1].startswith("agreement at the seam: not told")
    alone = inpainting.seam_figures(real, real, None, is_kept)
    assert "agreement" not in alone
    assert len(inpainting.told(alone)) == 2


def test_part_of_an_image_file_is_kept(runs, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    arguments = ("--keep=:,0:2", f"--keep_from={tmp_path / 'x.png'}", "--classes=5")
    found = sample(runs, tmp_path, *arguments, "--num_samples=4")
    kept = found["codes"].reshape(4, 4, 4, 3)[:, :, :2]
    np.testing.assert_array_equal(kept, np.broadcast_to(kept[:1], kept.shape))
    assert np.any(found["codes"][0] != found["codes"][1])
    assert set(found["labels"].tolist()) == {5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--top_p=1.5",), "top_p is 1.5; expected above 0 and at most 1"),
        (("--guidance_interval=0.2",), "sampler.guidance_interval is 0.2 (float); expected tuple"),
        (("--proposal=mix",), "sampler.proposal is 'mix'; did you mean 'mixture'?"),
        (("--top_p=0.9,0.8",), "sampler.top_p has 2 entries for 3 steps"),
        (("--top_k=1.5",), "invalid integer, or comma-separated integers value: '1.5'"),
        (("--proposal=codes",), "'codes' has none; expected one of drawn, code_head, random"),
        (("--num_steps=100",), "100"),
        (("--num_samples=0",), "--num_samples is 0; expected 1 or more"),
        (("--classes=12",), "--classes names '12'"),
        (("--keep=0:1,0:1",), "--keep needs --keep_from too"),
        (("--keep_from=held-out",), "--keep_from needs --keep too"),
        (("--keep=0:9,0:1", "--keep_from=held-out"), "inside the latent grid of 4 x 4"),
        (("--keep=0:4,0:4", "--keep_from=held-out"), "nothing is left to fill in"),
        (("--keep=0:1,0:1", "--keep_from=no.png"), "expected an image file, or held-out"),
        (("--tokenizer=/nowhere",), "say where it is with --tokenizer=DIR"),
        (("--npz=adm", "--keep=0:1,0:1", "--keep_from=held-out"), "leave out --keep"),
        (("--labels=sorted",), "invalid choice: 'sorted'"),
        (("--seed=-1",), "--seed: it is -1; expected 0 to 4294967295"),
        (("--seed=4294967301",), "--seed: it is 4294967301; expected 0 to"),
        (("--seed=99999999999999999999",), "--seed: it is 99999999999999999999; expected"),
        (("--seed=1.5",), "invalid whole number value: '1.5'"),
        (("--config.seed=1",), "this verb reads the config of the run directory"),
    ],
)
def test_mistakes_are_told_in_one_line(runs, tmp_path, arguments, message):
    code, _, err = runs.resgen(
        "sample", f"--workdir={runs.generator}", f"--output={tmp_path}", *arguments
    )
    assert code == 2, err
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_region_text():
    expected = np.zeros((3, 5), bool)
    expected[1:3, 2:] = True
    np.testing.assert_array_equal(inpainting.parse_region("1:3,2:", (3, 5)), expected)
    for text in ("1:3", "1-3,2:4", "2:1,0:1", "a:b,c:d"):
        with pytest.raises(errors.UserError, match=r"e\.g\. --keep=0:1,0:5"):
            inpainting.parse_region(text, (3, 5))


def test_class_names_win_over_numbers():
    names = ("zero", "1", "cat")
    assert sampling.parse_classes("cat,0", names) == (2, 0)
    assert sampling.parse_classes("1", ("1", "0")) == (0,)
    assert sampling.parse_classes(None, names) is None
    with pytest.raises(errors.UserError, match="did you mean 'cat'"):
        sampling.parse_classes("cats", names)


def test_classes_may_stand_between_blanks_and_names_hold_commas():
    names = ("tench, Tinca tinca", "tench", "crane, bird", " x ")
    assert sampling.parse_classes("3, 0 ,2", names) == (3, 0, 2)
    assert sampling.parse_classes("tench, Tinca tinca,tench, crane, bird", names) == (0, 1, 2)
    assert sampling.parse_classes("x,1", names) == (3, 1)
    for text in ("", "3,", "\u00b2", "9" * 5000, "Tinca tinca"):
        with pytest.raises(errors.UserError, match="--classes names"):
            sampling.parse_classes(text, names)
