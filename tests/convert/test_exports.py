"""Exported directories: whole or not at all, and nothing else is overwritten or believed."""

import json

import jax
import numpy as np
import pytest

from resgen_jax.convert import exports, safetensors_files
from resgen_jax.core import build, errors
from resgen_jax.quantizers import interface as quantizers
from resgen_jax.tokenizers import rq_vae


def export(number=1.0):
    tree = {"params": {"a": {"b": np.full((2, 3), number, np.float32)}}}
    return exports.Export("rq_vae", {"model": {"width": 3}}, tree, {"task": "rq_vae"})


ABSTRACT = {"params": {"a": {"b": jax.ShapeDtypeStruct((2, 3), np.float32)}}}


def refused(path, match, abstract=ABSTRACT):
    with pytest.raises(errors.UserError, match=match) as caught:
        exports.read(path, abstract)
    assert "\n" not in str(caught.value)


def test_what_was_written_is_read(tmp_path):
    path = exports.write(tmp_path / "deep" / "out", export(), {"step": 7})
    found = exports.read(path, ABSTRACT)
    np.testing.assert_array_equal(found["params"]["a"]["b"], np.ones((2, 3)))
    description = exports.describe(path)
    assert (description["kind"], description["step"], description["model"]) == (
        "rq_vae",
        7,
        {"width": 3},
    )
    assert json.loads((path / "config.json").read_text())["task"] == "rq_vae"
    assert [entry.name for entry in path.parent.iterdir()] == ["out"]


def test_numbers_that_are_not_finite_are_neither_written_nor_read(tmp_path):
    with pytest.raises(errors.UserError, match=r"params/a/b is not finite \(6 of 6 numbers\)"):
        exports.write(tmp_path / "out", export(np.nan), {})
    assert not any(tmp_path.iterdir())
    exports.write(tmp_path / "out", export(), {})
    arrays = {"params/a/b": np.array([[1, np.inf, 2], [3, 4, 5]], np.float32)}
    safetensors_files.write(tmp_path / "out" / "model.safetensors", arrays, {})
    fields = json.loads((tmp_path / "out" / "config.json").read_text())
    del fields["export"]["sha256"]
    (tmp_path / "out" / "config.json").write_text(json.dumps(fields))
    refused(tmp_path / "out", r"not finite .*: params/a/b \(1 of 6 numbers\)")


@pytest.mark.parametrize("name", quantizers.LEARNERS)
def test_the_state_of_every_learner_is_read_as_it_was(name, tmp_path):
    quantizer = quantizers.Spec(code_dim=3, depth=2, codebook_size=8)
    learner = quantizers.make(name, quantizer)
    model = rq_vae.Spec(image_size=8, code_dim=3)
    state = learner.init(jax.random.key(0))
    made = exports.of_rq_vae(model, quantizer, name, {"a": np.ones(2, np.float32)}, state)
    description = exports.describe(exports.write(tmp_path / "out", made, {}))
    assert description["learner"] == name
    assert build.build(quantizers.Spec, description["quantizer"]) == quantizer
    abstract = {
        "params": {"a": jax.ShapeDtypeStruct((2,), np.float32)},
        "statistics": {"quantizer": jax.eval_shape(learner.init, jax.random.key(0))},
    }
    found = exports.read(tmp_path / "out", abstract)["statistics"]["quantizer"]
    assert jax.tree.structure(found) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, found, jax.device_get(state))


def test_arrays_are_placed_as_asked(tmp_path):
    path = exports.write(tmp_path / "out", export(), {})
    mesh = jax.make_mesh((2,), ("x",), devices=jax.devices()[:2])
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    leaf = jax.ShapeDtypeStruct((2, 3), np.float32, sharding=sharding)
    found = exports.read(path, {"params": {"a": {"b": leaf}}})["params"]["a"]["b"]
    assert found.sharding == sharding
    np.testing.assert_array_equal(found, np.ones((2, 3)))


def test_an_earlier_export_is_replaced_and_nothing_else_is(tmp_path):
    path = exports.write(tmp_path / "out", export(1), {})
    (path / "reconstruct.json").write_text("{}")
    exports.write(path, export(2), {})
    assert exports.read(path, ABSTRACT)["params"]["a"]["b"][0, 0] == 2
    assert (path / "reconstruct.json").is_file()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(errors.UserError, match="exists and is no export"):
        exports.write(tmp_path / "mine", export(), {})
    (tmp_path / "file").write_text("x")
    with pytest.raises(errors.UserError, match="exists and is no export|cannot write"):
        exports.write(tmp_path / "file", export(), {})


def test_models_of_other_libraries_are_not_overwritten(tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(b"theirs")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(errors.UserError, match="exists and is no export"):
        exports.write(tmp_path, export(), {})
    assert (tmp_path / "model.safetensors").read_bytes() == b"theirs"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert exports.is_export(exports.write(".", export(), {}))


def test_other_weights_beside_the_config_are_noticed(tmp_path):
    path = exports.write(tmp_path / "one", export(1), {})
    other = exports.write(tmp_path / "two", export(2), {})
    (path / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    refused(path, "is not the file that config.json beside it was written with")


def test_arrays_that_do_not_fit_are_all_named(tmp_path):
    path = exports.write(tmp_path / "out", export(), {})
    leaf = jax.ShapeDtypeStruct((3, 2), np.float32)
    refused(path, "of another shape: params/a/b is", {"params": {"a": {"b": leaf}}})
    wanted = {"params": {"a": {"c": leaf}}}
    refused(path, "missing: params/a/c; not used: params/a/b", wanted)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "is damaged.*convert it again"),
        ('{"task": "rq_vae"}', "describes no model"),
        (None, "lacks"),
    ],
)
def test_other_directories_are_refused(tmp_path, content, match):
    path = exports.write(tmp_path / "out", export(), {})
    if content is None:
        (path / "config.json").unlink()
    else:
        (path / "config.json").write_text(content)
    refused(path, match)


def test_what_a_config_claims_is_held_against_what_was_saved(tmp_path):
    path = exports.write(tmp_path / "out", export(), {})
    saved = exports.shapes(path)
    assert saved == {"params/a/b": (2, 3)}
    exports.check_sizes(path, saved, num_blocks=1)
    exports.check_sizes(path, {}, num_blocks=10**6)  # nothing is known
    with pytest.raises(errors.UserError, match="a network of 900 blocks, but 1 arrays"):
        exports.check_sizes(path, saved, num_blocks=900)
    saved = {exports.CODEBOOKS: (2, 8, 4)}
    exports.check_sizes(path, saved, codebooks=(2, 8, 4))
    with pytest.raises(errors.UserError, match=r"\(2, 8, 4\) were saved, .* \(10{6}, 8, 4\)"):
        exports.check_sizes(path, saved, codebooks=(10**6, 8, 4))
