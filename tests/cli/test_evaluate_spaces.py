"""Evaluate in several feature spaces, over several seeds, and by a judge that is kept."""

import json

import jax
import numpy as np
import pytest
import tiny_features

from resgen_jax.convert import weights
from resgen_jax.data import images, sources
from resgen_jax.evaluation import judge_files, photo_judge, photo_spec, samples
from resgen_jax.metrics import frechet, mind

NETWORKS = {
    name: tiny_features.network(name=name, distance_name=f"FD-{name}")
    for name in ("efficientnet", "mobilenet")
}
PARAMS = {name: NETWORKS[name].init(jax.random.key(index)) for index, name in enumerate(NETWORKS)}
SPEC = photo_spec.Spec(
    widths=(8, 16), num_blocks=(1, 1), num_epochs=1.0, batch_size=50, crop_ratio=1.0
)


@pytest.fixture(autouse=True)
def two_networks(monkeypatch):
    """Two tiny networks are all whose weights are at hand."""
    monkeypatch.setattr(weights, "features_at_hand", lambda directory=None: tuple(NETWORKS))
    monkeypatch.setattr(
        weights, "load_features", lambda name, directory=None: (NETWORKS[name], PARAMS[name])
    )
    monkeypatch.setattr(weights, "fingerprints", lambda name, directory=None: {name: "0"})
    monkeypatch.setattr(photo_judge, "SPEC", SPEC)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (80, 12, 12, 3), dtype=np.uint8)


def features(name, pixels):
    outputs = NETWORKS[name].apply(PARAMS[name], pixels.astype(np.float32))
    return np.asarray(outputs.features)


def record(folder):
    return json.loads((folder / "evaluate.json").read_text())


def test_samples_are_measured_in_all_spaces_and_read_once(place, pixels, monkeypatch):
    folder, num_read = place.folder, 0
    np.savez(folder / "samples.npz", pixels[:40] // 2)
    np.savez(folder / "real.npz", pixels)
    read = samples.ArrayImages.__getitem__

    def counted(self, index):
        nonlocal num_read
        num_read += 1
        return read(self, index)

    monkeypatch.setattr(samples.ArrayImages, "__getitem__", counted)
    command = ("evaluate", f"--samples={folder / 'samples.npz'}")
    against = f"--reference={folder / 'real.npz'}"
    out = place.succeed(*command, against)
    found = record(folder)
    assert num_read == 40 + 80
    for name in NETWORKS:
        drawn, real = features(name, pixels[:40] // 2), features(name, pixels)
        moments = [frechet.accumulate(frechet.start(6), rows) for rows in (drawn, real)]
        expected = {
            f"FD-{name}": frechet.distance(*moments),
            f"MIND-{name}": mind.mind(drawn, real),
        }
        for metric, value in expected.items():
            np.testing.assert_allclose(found["metrics"][metric], value, rtol=1e-4)
            assert f"{metric:<20} {found['metrics'][metric]:.4f}" in out
    assert [one["network"] for one in found["features"]] == list(NETWORKS)
    assert [one["network"] for one in found["reference"]] == list(NETWORKS)
    assert found["metrics"].keys() == found["protocol"].keys()
    place.succeed(*command, against, "--features=mobilenet")
    assert "FD-efficientnet" not in record(folder)["metrics"]


def test_a_file_of_statistics_is_of_its_own_network(place, pixels):
    folder = place.folder
    np.savez(folder / "samples.npz", pixels[:40] // 2)
    images.Image.fromarray(pixels[0]).save(folder / "0.png")
    images.Image.fromarray(pixels[1]).save(folder / "1.png")
    file = folder / "statistics.npz"
    command = ("evaluate", f"--write_reference={file}", f"--images={folder}")
    place.succeed(*command, "--features=mobilenet")
    place.succeed("evaluate", f"--samples={folder / 'samples.npz'}", f"--reference={file}")
    assert record(folder)["features"]["network"] == "mobilenet"
    code, _, err = place.resgen(*command, "--features=all")
    assert code == 2
    assert "statistics of one network" in err


@pytest.mark.parametrize("case", ["the set itself", "another order", "nothing varies"])
def test_a_distance_of_0_is_refused(place, pixels, case):
    real = pixels if case != "nothing varies" else np.zeros_like(pixels)
    np.savez(place.folder / "real.npz", real)
    np.savez(place.folder / "samples.npz", real[::-1] if case == "another order" else real)
    code, _, err = place.resgen(
        "evaluate",
        f"--samples={place.folder / 'samples.npz'}",
        f"--reference={place.folder / 'real.npz'}",
    )
    assert code == 2
    last = err.splitlines()[-1]
    assert last.startswith(
        "resgen evaluate: FD-efficientnet is 0: the samples are the reference it"
    )


def test_a_judge_is_trained_once_and_several_seeds_have_a_spread(runs, tmp_path, monkeypatch):
    command = ("evaluate", f"--workdir={runs.generator}", f"--output={tmp_path / 'evaluate.json'}")
    command += ("--num_samples=20", "--batch_size=20", f"--judge={tmp_path / 'judge'}")
    out = runs.succeed(*command, "--num_seeds=2", "--seed=3")
    found = record(tmp_path)
    dataset = sources.open_images(sources.Spec("digits", 8, 1, 16))
    kept, facts = judge_files.load(
        tmp_path / "judge" / judge_files.name(dataset.train.fingerprint())
    )
    assert found["judge"] == facts
    held_out, labels = (
        np.stack([row[name] for row in dataset.held_out]) for name in ("images", "labels")
    )
    assert facts["accuracy"] == np.mean(kept.predict(held_out) == labels)
    assert found["metrics"]["judge_accuracy-judge"] == facts["accuracy"]
    assert found["seeds"] == [3, 4]
    for name, values in found["by_seed"].items():
        assert found["metrics"][name] == pytest.approx(np.mean(values))
        assert found["spread"][name] == pytest.approx(max(values) - min(values))
    assert found["spread"]["FD-judge"] > 0
    for name in ("FD-judge", "MIND-judge", "class_agreement-judge", "variety-judge"):
        assert f"{name:<20} {found['metrics'][name]:.4f}  spread {found['spread'][name]:.4f}" in out
    assert "class_agreement-mobilenet" not in found["metrics"]
    assert found["metrics"].keys() == found["protocol"].keys()

    monkeypatch.setattr(photo_judge, "train", None)  # it is kept
    runs.succeed(*command, "--features=mobilenet", "--seed=4")
    again = record(tmp_path)
    for name, value in again["metrics"].items():
        assert value == pytest.approx(found["by_seed"][name][1], rel=1e-3, abs=1e-5)
    # What was drawn, judged by the judge itself.
    runs.succeed(
        *("sample", f"--workdir={runs.generator}", f"--output={tmp_path}", "--num_samples=20"),
        *("--batch_size=20", "--seed=4"),
    )
    with np.load(tmp_path / "samples.npz") as arrays:
        agreement = np.mean(kept.predict(arrays["images"]) == arrays["labels"])
    assert abs(again["metrics"]["class_agreement-judge"] - agreement) < 0.11


def test_a_judge_is_written_for_a_folder(place, pixels):
    for index in range(80):
        path = place.folder / "images" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        images.Image.fromarray(pixels[index] // (1 + index % 2)).save(path)
    command = (f"--write_judge={place.folder / 'judge'}", f"--images={place.folder / 'images'}")
    out = place.succeed("evaluate", *command, "--image_size=12", "--judge_epochs=2")
    (file,) = (place.folder / "judge").iterdir()
    _, facts = judge_files.load(file)
    assert facts["spec"]["num_epochs"] == 2
    assert facts["classes"] == ["a", "b"]
    assert f"judge: {file} (right on {facts['accuracy']:.1%} of 8 held-out images" in out
    code, _, err = place.resgen("evaluate", *command)
    assert code == 2
    assert "--image_size is missing" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workdir={tokenizer}", "--judge=x"), "--judge is for a generator"),
        (("--workdir={tokenizer}", "--num_seeds=3"), "--num_seeds is for a generator"),
        (("--workdir={tokenizer}", "--features=all"), "--features=all is for samples"),
        (("--workdir={generator}", "--num_seeds=0"), "num_seeds"),
        (("--workdir={generator}", "--judge_epochs=2"), "--judge_epochs is for --write_judge"),
        (("--workdir={generator}", "--judge=x", "--reference=y"), "--judge"),
    ],
)
def test_mistakes_are_told_in_one_line(runs, arguments, message):
    places = {"tokenizer": runs.tokenizer, "generator": runs.generator}
    code, _, err = runs.resgen("evaluate", *(word.format(**places) for word in arguments))
    assert code == 2, err
    assert message in err
    assert err.count("\n") == 1
