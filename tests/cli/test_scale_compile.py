"""`resgen scale compile`: a program for a slice that is not there, and mistakes in one line."""

import json

import pytest
from jax.experimental import topologies

GENERATOR = "--config=generators/resgen_imagenet256.py"
SMALL = [
    f"--config.{field}"
    for field in (
        *("data.batch_size=8", "mesh.fsdp=2", "model.num_components=8", "model.rank=2"),
        *("model.trunk.num_layers=2", "model.trunk.width=32", "model.trunk.num_heads=2"),
        *("model.trunk.mlp_width=64", "model.trunk.modulation_width=16"),
        *("space.grid=(2,2)", "space.codebook_size=64", "space.code_dim=8", "sampler.num_steps=3"),
    )
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        (GENERATOR, *SMALL),
        (GENERATOR, *SMALL, "--program=sample"),
        ("--config=tokenizers/rq_vae_imagenet256.py:tiny",),
        ("--config=tokenizers/rq_vae_imagenet256.py:tiny", "--program=encode"),
        ("--config=tokenizers/rq_vae_imagenet256.py:tiny", "--program=decode"),
    ],
    ids=["generator", "sampler", "tokenizer", "encoder", "decoder"],
)
def test_figures_of_a_small_slice(place, tmp_path, flags):
    pytest.importorskip("libtpu")
    output = tmp_path / "compiled.json"
    out = place.succeed("scale", "compile", *flags, "--topology=v5e-4", f"--output={output}")
    found = json.loads(output.read_text())
    assert "fits: " in out
    assert found["fits"]
    *parts, together, available = found["memory"]
    assert sum(row["gib_per_chip"] for row in parts) == pytest.approx(together["gib_per_chip"])
    assert available["gib_per_chip"] == 15.75
    assert found["predicted_step_seconds"] == max(
        found[f"predicted_{name}_seconds"] for name in ("compute", "hbm", "link")
    )
    per_chip = found["model_flops_per_step"] / 4
    expected = per_chip / found["predicted_step_seconds"] / 197e12
    assert found["predicted_mfu"] == pytest.approx(expected)
    assert found["flops_per_step"] > 0.5 * found["model_flops_per_step"]
    assert "loops_of_unknown_length" not in found
    names = {row["part"] for row in parts}
    assert {"parameters", "statistics", "batch", "temporaries", "code"} <= names
    assert ("activations" in names) == (found["program"] == "train")
    # What it wrote makes a row of a table.
    out = place.succeed("scale", "compile", f"--table={tmp_path}")
    (row,) = (line for line in out.splitlines() if line.startswith("| compiled | v5e-4, 4 "))
    assert f"{found['predicted_mfu']:.2f}" in row


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--config is missing"),
        ((GENERATOR,), "--topology is missing: the TPU slice to compile for"),
        ((GENERATOR, "--topology=v5e-250"), "did you mean 'v5e-256'"),
        ((GENERATOR, "--topology=v5e-4", "--program=eval"), "unknown program 'eval'"),
        ((GENERATOR, "--topology=v9-4"), "known: v5e-1, v5e-4, v5e-8, v5e-16"),
        (("--table=nowhere",), "holds no .json file"),
    ],
)
def test_mistakes_are_told(place, arguments, message):
    code, _, err = place.resgen("scale", "compile", *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((GENERATOR, "--config.mesh.fsdp=3"), "asks for a multiple of 3 devices, but there are 4"),
        ((GENERATOR, "--config.data.batch_size=6"), "use 4 or 8"),
        (("--config=tokenizers/rq_vae_imagenet256.py:tiny", "--program=sample"), "does not sample"),
        ((GENERATOR, "--program=evaluate"), "name the config of a tokenizer"),
    ],
)
def test_what_does_not_fit_the_slice_is_told(place, arguments, message):
    pytest.importorskip("libtpu")
    code, _, err = place.resgen("scale", "compile", *arguments, "--topology=v5e-4")
    assert code == 2
    assert message in err


def test_without_libtpu_one_line_says_what_to_install(place, monkeypatch):
    def missing(**kwargs):
        raise RuntimeError("JAX TPU support not installed; cannot generate TPU topology.")

    monkeypatch.setattr(topologies, "get_topology_desc", missing)
    code, _, err = place.resgen("scale", "compile", GENERATOR, "--topology=v5e-256")
    assert code == 2
    assert "pip install 'resgen_jax[tpu]'" in err
    assert err.count("\n") == 1
