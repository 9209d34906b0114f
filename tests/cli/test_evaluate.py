"""Evaluate: every form writes what can be checked by hand, and each mistake is told in one line."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_features

from resgen_jax.convert import weights
from resgen_jax.data import images, sources
from resgen_jax.evaluation import probe
from resgen_jax.metrics import frechet
from resgen_jax.runs import open_run

NETWORK = tiny_features.network(name="mobilenet", distance_name="FD-mobilenet")
PARAMS = NETWORK.init(jax.random.key(0))


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch):
    """The tiny network in place of every one whose weights are not here."""
    monkeypatch.setattr(weights, "load_features", lambda name, directory: (NETWORK, PARAMS))
    monkeypatch.setattr(weights, "fingerprints", lambda name, directory: {"tiny": "0"})
    monkeypatch.setattr(weights, "features_at_hand", lambda directory=None: ())


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (80, 12, 12, 3), dtype=np.uint8)


def features(pixels):
    pixels = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
    return np.asarray(NETWORK.apply(PARAMS, pixels.astype(np.float32)).features)


def moments(pixels):
    return frechet.accumulate(frechet.start(6), features(pixels))


def record(folder):
    return json.loads((pathlib.Path(folder) / "evaluate.json").read_text())


def test_samples_against_images_and_against_their_statistics(place, pixels):
    folder = place.folder
    np.savez(folder / "samples.npz", pixels[:40] // 2)
    np.savez(folder / "real.npz", pixels)
    command = ("evaluate", f"--samples={folder / 'samples.npz'}", "--features=mobilenet")
    out = place.succeed(*command, f"--reference={folder / 'real.npz'}", "--batch_size=7")
    found = record(folder)
    expected = frechet.distance(moments(pixels[:40] // 2), moments(pixels))
    np.testing.assert_allclose(found["metrics"]["FD-mobilenet"], expected, rtol=1e-4)
    assert f"FD-mobilenet         {found['metrics']['FD-mobilenet']:.4f}" in out
    assert {"IS-mobilenet", "precision-mobilenet", "recall-mobilenet"} < set(found["metrics"])
    assert found["metrics"].keys() == found["protocol"].keys()
    assert found["samples"]["num_images"] == 40
    assert found["features"]["weights"] == {"tiny": "0"}
    assert len(found["reference"]["sha256"]) == len(found["samples"]["sha256"]) == 64
    assert found["command"].startswith("resgen evaluate --samples=")

    written = folder / "statistics.npz"
    for index in range(80):
        (folder / "images").mkdir(exist_ok=True)
        images.Image.fromarray(pixels[index]).save(folder / "images" / f"{index}.png")
    out = place.succeed("evaluate", f"--write_reference={written}", f"--images={folder / 'images'}")
    assert "80 images of [12, 12], mobilenet, 6 features" in out
    place.succeed(*command, f"--reference={written}", "--batch_size=256")
    for name, value in record(folder)["metrics"].items():
        np.testing.assert_allclose(value, found["metrics"][name], rtol=1e-4)


def test_statistics_of_few_images_are_written_with_a_warning(place, pixels):
    for index in range(5):
        images.Image.fromarray(pixels[index]).save(place.folder / f"{index}.png")
    written = place.folder / "statistics.npz"
    code, out, err = place.resgen(
        "evaluate", f"--write_reference={written}", f"--images={place.folder}"
    )
    assert code == 0
    assert "5 images of [12, 12], mobilenet" in out
    assert "5 images are too few for a covariance of 6 features" in err


def test_reconstructions_by_depth(runs, tmp_path):
    output = tmp_path / "evaluate.json"
    command = ("evaluate", f"--workdir={runs.tokenizer}", f"--output={output}")
    out = runs.succeed(*command, "--features=mobilenet", "--depths=1,3", "--batch_size=100")
    found = record(tmp_path)
    tokenizer = open_run.open_tokenizer(runs.tokenizer, note=lambda text: None)
    held_out = sources.open_images(sources.Spec("digits", 8, 1, 16)).held_out
    pixels = np.stack([held_out[index]["images"] for index in range(360)])
    model, variables = tokenizer.model, (tokenizer.params, tokenizer.statistics)
    codes = model.encode(*variables, images.to_unit(jnp.asarray(pixels)))
    for place, depth in enumerate((1, 3)):
        made = images.to_bytes(np.asarray(model.decode(*variables, codes[..., :depth])))
        expected = frechet.distance(moments(made), moments(pixels))
        got = found["by_depth"]["rFD-mobilenet"][place]
        np.testing.assert_allclose(got, expected, rtol=1e-3)
    assert found["depths"] == [1, 3]
    assert found["metrics"]["PSNR"] == found["by_depth"]["PSNR"][-1]
    assert "SSIM" not in found["metrics"]  # the digits are smaller than its window
    assert len(found["usage_by_level"]) == 3
    assert found["images"]["num_images"] == found["reference"]["num_images"] == 360
    assert "rFD-mobilenet" in out
    assert "level 0: usage" in out
    assert (runs.tokenizer / "reference_mobilenet_held_out.npz").is_file()


def test_a_tokenizer_needs_no_network(runs, tmp_path):
    command = ("evaluate", f"--workdir={runs.tokenizer}", f"--output={tmp_path / 'evaluate.json'}")
    runs.succeed(*command, "--num_images=20", "--batch_size=100")
    found = record(tmp_path)
    assert list(found["metrics"]) == ["PSNR"]
    assert found["features"] is None
    assert found["images"]["num_images"] == 20


def test_all_of_another_folder_is_measured_by_the_crop_asked_for(runs, tmp_path, pixels):
    for index in range(6):
        (tmp_path / "images" / "ab"[index % 2]).mkdir(parents=True, exist_ok=True)
        path = tmp_path / "images" / "ab"[index % 2] / f"{index}.png"
        images.Image.fromarray(pixels[index]).save(path)
    folder = tmp_path / "images"
    command = ("evaluate", f"--workdir={runs.tokenizer}", f"--output={tmp_path / 'evaluate.json'}")
    network = ("--features=mobilenet", f"--reference={folder}")
    for crop, expected in ((), "center"), (("--crop=adm",), "adm"):
        runs.succeed(*command, f"--images={folder}", *network, *crop)
        found = record(tmp_path)
        assert found["images"]["num_images"] == found["reference"]["num_images"] == 6
        assert found["images"]["crop"] == found["reference"]["crop"] == expected
        assert len(found["reference"]["sha256"]) == 64


def test_images_of_folders_are_those_that_training_would_find(place, pixels):
    """Links to folders are followed, hidden folders and other kinds of files are left out."""
    for folder, count in (("store/b", 9), ("val/a", 5), ("drawn/a", 5), ("drawn/.hidden", 3)):
        (place.folder / folder).mkdir(parents=True)
        for index in range(count):
            path = place.folder / folder / f"{index}.png"
            images.Image.fromarray(pixels[index]).save(path)
    real, drawn = place.folder / "val", place.folder / "drawn"
    (real / "b").symlink_to(place.folder / "store" / "b")
    (real / "notes.txt").touch()
    found = sources.open_images(sources.Spec("folder", 12, 3, 4, path=str(real)))
    assert len(found.train) + len(found.held_out) == 14
    file = place.folder / "reference.npz"
    command = ("evaluate", f"--write_reference={file}", f"--images={real}", "--features=mobilenet")
    code, out, err = place.resgen(*command)
    assert code == 0, err
    assert "(14 images of" in out
    assert f"{real}: 14 images; 1 file of another kind left out" in err
    command = ("evaluate", f"--samples={drawn}", f"--reference={real}", "--features=mobilenet")
    code, _, err = place.resgen(*command)
    assert code == 0, err
    assert f"{drawn}: 5 images; folders left out: .hidden" in err
    assert record(drawn)["samples"]["num_images"] == 5
    assert record(drawn)["reference"]["num_images"] == 14


def test_a_generators_samples_against_the_training_images(runs, tmp_path):
    output = f"--output={tmp_path / 'evaluate.json'}"
    command = ("evaluate", f"--workdir={runs.generator}", "--features=mobilenet", output)
    few = ("--num_samples=20", "--batch_size=20", "--seed=3")
    out = runs.succeed(*command, *few)
    found = record(tmp_path)
    runs.succeed("sample", f"--workdir={runs.generator}", f"--output={tmp_path}", *few)
    with np.load(tmp_path / "samples.npz") as arrays:
        drawn, asked = arrays["images"], arrays["labels"]
    train, held_out, _ = sources.open_images(sources.Spec("digits", 8, 1, 16))
    real, labels = (np.stack([row[name] for row in train]) for name in ("images", "labels"))
    judge = probe.fit(features(real), labels)
    for name, images_of, labels_of in (
        ("class_agreement", drawn, asked),
        ("judge_accuracy", *(np.stack([row[n] for row in held_out]) for n in ("images", "labels"))),
    ):
        expected = probe.agreement(judge, features(images_of), labels_of)
        assert abs(found["metrics"][f"{name}-mobilenet"] - expected) < 0.1, name
    expected = frechet.distance(moments(drawn), moments(real))
    np.testing.assert_allclose(found["metrics"]["FD-mobilenet"], expected, rtol=1e-3)
    assert found["reference"]["num_images"] == 1437
    assert found["sampler"]["guidance_scale"] == 1.5
    assert found["seed"] == 3
    assert "recall-mobilenet" in out
    assert (runs.generator / "reference_mobilenet_train.npz").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to measure: give one of --samples=FILE"),
        (("--samples=x.npz", "--workdir=y"), "--samples and --workdir exclude each other"),
        (("--samples={folder}/x.npz",), "--reference is missing: what to compare with"),
        (("--samples={folder}/no.npz", "--reference=x"), "there is no file"),
        (("--samples={folder}/float.npz", "--reference=x"), "is float32 with values from 0 to 255"),
        (("--samples={folder}/x.npz", "--reference={folder}/small.npz"), "of images of 8 x 8"),
        (("--samples={folder}/x.npz", "--reference={folder}/other.npz"), "of 5 features of other"),
        (("--samples={folder}/x.npz", "--reference={folder}/adm.npz"), "of 6 features of the Ince"),
        (("--workdir={tokenizer}", "--depths=4"), "--depths names 4, but the codes have depths"),
        (("--workdir={tokenizer}", "--top_p=0.5"), "--top_p is for a generator"),
        (("--samples=x.npz", "--num-samples", "9"), "--num_samples is for a generator"),
        (("--workdir={generator}", "--depths=1"), "--depths is for a tokenizer"),
        (("--write_reference=x.npz", "--images={folder}", "--crop=adm"), "--crop needs --image_si"),
        (("--samples={folder}/one.npz", "--reference={folder}/x.npz"), "1 image (samples) has no"),
        (("--workdir={generator}", "--features=none"), "--features=none is for tokenizers"),
        (("--write_reference=x",), "--images is missing: the folder to take statistics of"),
        (("--features=dino",), "invalid choice: 'dino'"),
    ],
)
def test_mistakes_are_told_in_one_line(runs, tmp_path, pixels, arguments, message):
    np.savez(tmp_path / "x.npz", pixels)
    np.savez(tmp_path / "float.npz", pixels.astype(np.float32))
    np.savez(tmp_path / "one.npz", pixels[:1])
    np.savez(tmp_path / "small.npz", pixels[:, :8, :8])
    np.savez(tmp_path / "adm.npz", mu=np.zeros(6), sigma=np.eye(6))
    facts = json.dumps({"network": "other", "weights_sha256": "1"})
    np.savez(tmp_path / "other.npz", mu=np.zeros(5), sigma=np.eye(5), meta=facts)
    places = {"folder": tmp_path, "tokenizer": runs.tokenizer, "generator": runs.generator}
    code, _, err = runs.resgen("evaluate", *(word.format(**places) for word in arguments))
    assert code == 2, err
    assert message in err
    assert err.count("\n") == 1


def test_missing_weights_are_told(runs, tmp_path, pixels, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(weights, "features_at_hand", lambda directory=None: ())
    np.savez(tmp_path / "x.npz", pixels)
    code, _, err = runs.resgen(
        "evaluate", f"--samples={tmp_path / 'x.npz'}", "--reference=x", f"--weights={tmp_path}"
    )
    assert code == 2
    assert "the weights of the FID's Inception of 2015-12-05 are not in" in err
    assert err.count("\n") == 1
