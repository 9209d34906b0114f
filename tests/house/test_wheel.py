"""A wheel from the tree holds everything, and works from any folder, configs included."""

import configparser
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")


# Without what may point at the tree.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(*command, cwd):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def python_files(folder):
    return {path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*.py")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    # From a copy: building leaves folders behind.
    tree = tmp_path_factory.mktemp("tree")
    for folder in ("resgen_jax", "configs"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, tree)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", tree, cwd=tree)
    (built,) = (tree / "dist").glob("*.whl")
    return built


def test_setup_cfg_names_every_package():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = set(setup["options"]["packages"].split())
    found = {".".join(("resgen_jax", *p.parent.parts)) for p in python_files("resgen_jax")}
    found |= {".".join(("resgen_jax.configs", *p.parent.parts)) for p in python_files("configs")}
    assert found <= named


def test_wheel_holds_every_module_and_config(wheel):
    held = {pathlib.PurePosixPath(name) for name in zipfile.ZipFile(wheel).namelist()}
    wanted = {pathlib.PurePosixPath("resgen_jax", *p.parts) for p in python_files("resgen_jax")}
    wanted |= {
        pathlib.PurePosixPath("resgen_jax/configs", *p.parts) for p in python_files("configs")
    }
    assert wanted <= held
    assert not [name for name in held if name.parts[0] in ("configs", "tests")]


@pytest.mark.slow
def test_installed_wheel_runs_from_another_folder(wheel, tmp_path):
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    run(*pip, "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # The dependencies are those of this environment; its editable resgen_jax is not among them,
    # because a path added this way does not have its own .pth files read.
    site = pathlib.Path(run(python, "-c", SITE, cwd=tmp_path).strip())
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert "resgen demo" in run(environment / "bin" / "resgen", "--help", cwd=elsewhere)
    loaded = run(python, "-c", LOAD_CONFIGS, cwd=elsewhere).split()
    assert loaded[0] == str(site / "resgen_jax" / "configs")
    configs = {str(path) for path in python_files("configs") if path.parent.parts}
    assert set(loaded[1:]) == configs


SITE = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
LOAD_CONFIGS = """
from resgen_jax.runs.configs import config_files, configuration
from resgen_jax.runs.configs import comparisons, studies
folder = config_files.shipped_folder()
print(folder)
for name in config_files.shipped():
    others = {"scaling": studies.load, "comparisons": comparisons.load}
    load = others.get(name.partition("/")[0], configuration.load)
    load(name + ":tiny")
    print(name)
"""
