"""The house's rules on files: a first line that says what for, bounded size, no asserts."""

import ast
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FOLDERS = ("resgen_jax", "configs", "tests", "launch")
MAX_LINES = 400
# Written in pieces, so that this file does not contain them.
NOTES = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")
PAPERWORK = re.compile(r"\b(this|the|a|next|previous|last) ses" r"sion\b|\biss" r"ue #?\d", re.I)


def files(*suffixes):
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    found += list(ROOT.glob("*"))
    return sorted(path for path in found if path.is_file() and path.suffix in suffixes)


def names(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


def test_every_python_file_begins_by_saying_what_it_is_for():
    wrong = [
        path
        for path in files(".py")
        if not re.match(r'"""\S.{10,}', path.read_text().partition("\n")[0])
    ]
    assert not names(wrong)


def test_files_stay_readable_in_one_sitting():
    wrong = [path for path in files(".py") if len(path.read_text().splitlines()) > MAX_LINES]
    assert not names(wrong)


@pytest.mark.parametrize("pattern", [NOTES, PAPERWORK])
def test_no_notes_to_oneself_stay_behind(pattern):
    wrong = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in files(".py", ".md", ".sh", ".cfg", ".toml", ".yaml")
        for match in pattern.finditer(path.read_text())
    ]
    assert not wrong


def test_the_package_raises_and_never_asserts():
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in files(".py")
        if not path.is_relative_to(ROOT / "tests")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert not wrong


def test_scripts_stop_at_the_first_error_and_parse():
    for path in [*files(".sh"), ROOT / ".ci" / "run"]:
        done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        if path.name != "environment.sh":  # sourced by the others
            assert "set -euo pipefail" in path.read_text(), path
