"""The compile cache: on where nothing is said, where the user says, and off."""

import json
import os
import subprocess
import sys

import jax
import pytest

from resgen_jax.runtime import compile_cache


@pytest.fixture
def nothing_said(tmp_path, monkeypatch):
    """A home of its own, and no cache in the environment or in JAX's settings."""
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(compile_cache.VARIABLE)
    jax.config.update("jax_compilation_cache_dir", None)
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


def test_it_lies_in_the_home_folder_by_kind_of_machine(nothing_said):
    compile_cache.switch_on()
    folder = nothing_said / ".cache" / "resgen_jax" / "compile" / compile_cache.machine()
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert folder.is_dir()


@pytest.mark.parametrize("said", ["/elsewhere", "gs://bucket/cache", ""])
def test_what_the_user_says_holds(nothing_said, monkeypatch, said):
    monkeypatch.setenv(compile_cache.VARIABLE, said)
    compile_cache.switch_on()
    assert jax.config.jax_compilation_cache_dir is None  # JAX has read the variable by itself
    assert not (nothing_said / ".cache").exists()


def test_a_setting_of_the_program_holds(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    compile_cache.switch_on()
    assert jax.config.jax_compilation_cache_dir == before


def test_a_home_that_cannot_be_written_leaves_it_off(nothing_said):
    (nothing_said / ".cache").write_text("")
    compile_cache.switch_on()
    assert jax.config.jax_compilation_cache_dir is None


def test_another_cpu_has_another_folder(monkeypatch):
    here = compile_cache.machine()
    assert here == compile_cache.machine()
    monkeypatch.setattr(compile_cache, "CPU_FACTS", ())
    assert compile_cache.machine() != here


@pytest.mark.slow
def test_the_second_run_on_a_machine_finds_its_programs(place):
    """In processes of their own: this one has the programs in memory."""
    environment = os.environ | {
        "HOME": str(place.folder),
        "JAX_PLATFORMS": "cpu",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    del environment[compile_cache.VARIABLE]

    def train(name, **more):
        command = [
            "train",
            f"--config={place.tokenizer_config}",
            f"--workdir={place.folder / name}",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "resgen_jax", *command, "--config.train.num_steps=1"],
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        lines = (place.folder / name / "metrics.jsonl").read_text().splitlines()
        first = next(line for line in map(json.loads, lines) if "compile_seconds" in line)
        return first["compile_cache_requests"], first["compile_cache_hits"], done.stderr

    asked, had, _ = train("first")
    assert had < asked / 2  # some small programs are the same
    asked, had, said = train("second")
    assert asked == had > 0
    assert "programs from the compile cache" in said
    assert train("third", JAX_ENABLE_COMPILATION_CACHE="false")[:2] == (0, 0)
