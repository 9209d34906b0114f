"""Run directories in buckets: the same runs as on a disk, resumed, checked and refused alike.

Against servers of S3 and GCS where `resgen_jax[gcs,s3,test_buckets]` is installed, and against a
fake in memory everywhere.
"""

import importlib.util
import io
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys

import buckets
import jax
import numpy as np
import pytest

from resgen_jax.core import errors, trees
from resgen_jax.data import codes
from resgen_jax.io import paths
from resgen_jax.runs import experiments, open_run
from resgen_jax.runs.configs import configuration
from resgen_jax.training.checkpoints import bucket_copy, restoring
from resgen_jax.training.telemetry import writer

HELPER = pathlib.Path(__file__).parents[1] / "helpers" / "run_toy.py"
# gcsfs and s3fs are not ours to warn about.
pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module", params=["fake", "s3", "gs"])
def bucket(request, tmp_path_factory):
    """The scheme and the file system of an empty bucket."""
    folder = tmp_path_factory.mktemp("servers")
    logging.getLogger("gcsfs").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(paths.VARIABLE, str(folder / "cache"))
        if request.param == "fake":
            yield "s3", buckets.fake(patch)
            return
        for name in buckets.MODULES[request.param]:
            pytest.importorskip(name)
        with buckets.server(request.param, patch, folder) as files:
            yield request.param, files


@pytest.fixture
def url(bucket, request):
    """A place of the test's own."""
    return f"{bucket[0]}://{buckets.BUCKET}/{request.node.originalname}"


def lines(workdir):
    """What the same run always writes."""
    return [line for line in writer.read(workdir) if line["split"] not in ("speed", "goodput")]


@pytest.mark.slow
def test_all_verbs_work_in_a_bucket_as_on_a_disk(bucket, url, place):
    train = ("train", f"--config={place.tokenizer_config}")
    place.succeed(*train, f"--workdir={place.tokenizer}")
    out = place.succeed(*train, f"--workdir={url}/tokenizer")
    assert f"resgen encode --workdir={url}/tokenizer" in out
    assert lines(f"{url}/tokenizer") == lines(place.tokenizer)
    names = paths.names_in(paths.of(f"{url}/tokenizer"))
    assert [name.partition(".")[0] for name in names] == [
        "checkpoints",
        "config",
        "data",
        "events",
        "heartbeat",
        "metrics",
    ]
    assert restoring.steps(f"{url}/tokenizer") == restoring.steps(place.tokenizer) == [3, 6]
    assert place.succeed("reconstruct", f"--workdir={url}/tokenizer").replace(url, "") == (
        place.succeed("reconstruct", f"--workdir={place.tokenizer}")
    ).replace(str(place.folder), "")
    assert f"record: {url}/tokenizer/evaluate.json" in (
        place.succeed("evaluate", f"--workdir={url}/tokenizer", "--num_images=32")
    )

    encode = ("encode", f"--workdir={url}/tokenizer", f"--output={url}/codes")
    place.succeed(*encode)
    place.succeed("encode", f"--workdir={place.tokenizer}", f"--output={place.codes}")
    assert codes.read(f"{url}/codes").sha256 == codes.read(place.codes).sha256
    assert codes.read(f"{url}/codes").meta.tokenizer == f"{url}/tokenizer"
    assert "these codes already" in place.resgen(*encode)[2]

    train = ("train", f"--config={place.generator_config}")
    place.succeed(*train, f"--config.data.codes={url}/codes", f"--workdir={url}/generator")
    place.succeed(*train, f"--config.data.codes={place.codes}", f"--workdir={place.generator}")
    assert lines(f"{url}/generator") == lines(place.generator)
    for workdir in (f"{url}/generator", place.generator):
        place.succeed("sample", f"--workdir={workdir}", "--num_samples=3")
        place.succeed(
            "sample",
            f"--workdir={workdir}",
            "--num_samples=3",
            "--npz=adm",
            f"--output={workdir}/a",
        )
        place.succeed("sample", f"--workdir={workdir}", "--num_samples=3", "--seed=1")
    for name in ("samples.npz", "samples-1.npz", "a/samples_adm.npz"):
        there = np.load(io.BytesIO((paths.of(f"{url}/generator") / name).read_bytes()))
        here = np.load(place.generator / name)
        assert there.files == here.files
        for array in there.files:
            np.testing.assert_array_equal(there[array], here[array])
    exported = place.folder / "exported"
    convert = ("convert", "--to=safetensors", f"--output={exported}")
    place.succeed(*convert, f"--workdir={url}/generator")
    assert (exported / "model.safetensors").is_file()


@pytest.mark.slow
def test_killed_run_goes_on_in_the_bucket_with_the_same_losses(bucket, url, tmp_path):
    if isinstance(bucket[1], buckets.Fake):
        pytest.skip("the fake lives in one process")

    def train(workdir, kill_at=0):
        command = [sys.executable, str(HELPER), str(workdir), str(kill_at)]
        return subprocess.run(command, timeout=120, check=False, stderr=subprocess.DEVNULL)

    assert train(tmp_path).returncode == 0
    assert train(url, kill_at=23).returncode == -signal.SIGKILL
    bucket[1].invalidate_cache()
    before = restoring.steps(url)
    assert before[-1] in (15, 20)
    assert len(lines(url)) < len(lines(tmp_path))
    assert train(url).returncode == 0
    bucket[1].invalidate_cache()
    assert restoring.steps(url) == restoring.steps(tmp_path)
    assert lines(url) == lines(tmp_path)


def test_damaged_checkpoint_is_set_aside_and_the_one_before_taken(bucket, url, place):
    files = bucket[1]
    train = ("train", f"--config={place.tokenizer_config}", f"--workdir={url}")
    place.succeed(*train)
    whole = lines(url)
    sizes = {path: files.size(path) for path in files.find(f"{url}/checkpoints/6/state")}
    path = max(sizes, key=lambda path: (sizes[path], "ocdbt.process" in path))
    content = bytearray(files.cat_file(path))
    content[len(content) // 2] ^= 1
    files.pipe_file(path, bytes(content))
    code, _, err = place.resgen(*train)
    assert code == 0, err
    assert f"checkpoint {url}/checkpoints/6 is damaged" in err
    assert lines(url) == whole
    assert restoring.steps(url) == [3, 6]


def test_damaged_and_missing_codes_are_refused(bucket, url, runs, place):
    folder = place.folder / "copy"
    _copy(runs.codes, folder)
    from resgen_jax.data import codes_writer

    codes_writer.publish(folder, paths.of(url))
    assert not folder.exists()
    assert len(codes.read(url).train) == len(codes.read(runs.codes).train)
    name = "codes_held_out-00000-of-00001.array_record"
    cached = paths.working_copy(paths.of(url), "read") / name
    cached.write_bytes(b"damaged here")
    assert codes.read(url).held_out[0]["codes"].shape  # fetched anew
    cached.unlink()
    paths.write(paths.of(url) / name, b"damaged there")
    with pytest.raises(errors.UserError, match=f"{url}/{name} is damaged"):
        codes.read(url)
    cached.unlink()
    (paths.of(url) / name).unlink()
    with pytest.raises(errors.UserError, match=f"{url}/{name} is missing"):
        codes.read(url)
    paths.write(paths.of(f"{url}/stranger/file"), b"")
    with pytest.raises(errors.UserError, match="is not a codes directory"):
        codes.check_writable(f"{url}/stranger")


def test_upload_that_fails_is_told_and_the_checkpoint_does_not_count(
    bucket, url, place, monkeypatch
):
    if bucket[0] == "gs":
        pytest.skip("orbax writes there by itself")
    upload = paths.upload

    def fail(file, where):
        if "/checkpoints/6/" in os.fspath(where) and "manifest" in os.fspath(where):
            raise PermissionError(13, os.strerror(13))
        upload(file, where)

    monkeypatch.setattr(paths, "upload", fail)
    train = ("train", f"--config={place.tokenizer_config}", f"--workdir={url}")
    code, _, err = place.resgen(*train)
    assert code == 2
    assert "could not save" in err
    assert restoring.steps(url) == [3]
    monkeypatch.undo()
    place.succeed(*train)
    assert restoring.steps(url) == [3, 6]


def test_another_config_is_refused_in_a_bucket_too(bucket, url, place):
    paths.write(paths.of(url) / "config.json", json.dumps({"task": "rq_vae"}).encode())
    code, _, err = place.resgen("train", f"--config={place.tokenizer_config}", f"--workdir={url}")
    assert code == 2
    assert f"{url} is the run directory of another config" in err


def test_several_processes_are_refused_where_they_cannot_write(bucket, url, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    if bucket[0] == "s3":
        with pytest.raises(errors.UserError, match="2 processes cannot save in s3://"):
            bucket_copy.Mirror(restoring.place_of(url), lambda there: set(there))
    from resgen_jax.runs import encode

    with pytest.raises(errors.UserError, match="2 processes cannot write codes into"):
        encode.check_output(url)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--workdir=hf://b/run"], "has the scheme hf://; expected a folder, gs://BUCKET"),
        (["train", "--workdir=s3://"], "names no place in a bucket; write s3://BUCKET/FOLDER"),
        (["train", "--workdir=s3://b/../c"], "names no place in a bucket"),
        (["train", "--workdir=s3://missing/run"], "there is no bucket 'missing'"),
        (["demo", "--workdir=s3://bucket/demo"], "with `resgen demo` no flag may name a place"),
        (["reconstruct", "--images=s3://bucket/photos"], "--images is 's3://bucket/photos', but"),
        (["encode", "--workdir=s3://bucket/nothing"], "is not a run directory (no config.json"),
    ],
)
def test_places_that_cannot_be_used_are_refused_in_one_line(place, arguments, message, monkeypatch):
    buckets.fake(monkeypatch)
    code, _, err = place.resgen(*arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_config_fields_that_are_read_from_disks_are_refused(place, monkeypatch):
    buckets.fake(monkeypatch)
    field = "--config.data.path=s3://bucket/photos"
    train = ("train", f"--config={place.tokenizer_config}", f"--workdir={place.tokenizer}")
    code, _, err = place.resgen(*train, field)
    assert code == 2
    assert "data.path is 's3://bucket/photos', but it has to lie on a disk" in err


@pytest.mark.parametrize(("scheme", "extra"), [("gs", "gcs"), ("s3", "s3")])
def test_missing_package_is_named(place, scheme, extra, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(errors.UserError, match=rf"pip install 'resgen_jax\[{extra}\]'"):
        paths.of(f"{scheme}://bucket/run")


def test_server_that_does_not_answer_is_refused(place, monkeypatch):
    files = buckets.fake(monkeypatch)

    def refuse(path):
        raise ConnectionError("connection refused")

    monkeypatch.setattr(files, "exists", refuse)
    code, _, err = place.resgen("train", "--workdir=s3://bucket/run")
    assert code == 2
    assert "cannot reach s3://bucket/run (ConnectionError: connection refused); check" in err


def _copy(folder, to):
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())


@pytest.mark.parametrize("form", ["run", "export"])
def test_a_run_begins_from_one_in_a_bucket(bucket, url, runs, place, form):
    def config_of(**more):
        fields = {"data.codes": str(runs.codes)} | more
        return configuration.load(str(place.generator_config), list(fields.items()))

    origin = f"{url}/{form}"
    place.save_untrained(config_of(), origin if form == "run" else place.generator, seed=4)
    if form == "export":
        output = place.folder / "exported"
        command = ("convert", f"--workdir={place.generator}", "--to=safetensors")
        place.succeed(*command, f"--output={output}")
        for file in output.iterdir():
            if file.is_file():
                paths.upload(file, paths.of(f"{origin}/{file.name}"))
    notes = []
    config = config_of(**{"train.init_from": origin, "seed": "9"})
    experiment = experiments.open_experiment(config, place.folder / "new", notes.append)
    state = experiment.begin(experiment.task, experiment.mesh, config.seed)
    there = open_run.open_generator(origin, notes.append)
    found, expected = trees.named_leaves(state.params), trees.named_leaves(there.params)
    assert found.keys() == expected.keys()
    assert all((found[name] == expected[name]).all() for name in expected)
    assert f"begins with the parameters of {origin} at step 0; the optimizer is new" in notes
    if form == "run":
        config = config_of(**{"train.init_from": f"{origin}@7"})
        with pytest.raises(errors.UserError, match="of step 7, but it holds those of steps 0"):
            experiments.open_experiment(config, place.folder / "another", notes.append)
