"""The documents and the help name only verbs, configs, functions and files that exist."""

import dataclasses
import pathlib
import pkgutil
import re

from resgen_jax import recipes
from resgen_jax.cli import __main__ as cli
from resgen_jax.runs import run_directory
from resgen_jax.runs.configs import config_files

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENTS = (
    *("README.md", "CONTRIBUTING.md", "launch/README.md"),
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
)


def texts():
    yield from ((name, (ROOT / name).read_text()) for name in DOCUMENTS)
    yield "resgen --help", cli.help_text()


def anchors(path):
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_configs_in_the_documents_exist():
    found = 0
    for where, text in texts():
        for name in re.findall(r"--config=([\w/]+\.py)", text):
            assert config_files.find(name).is_file(), f"{name} in {where}"
            found += 1
    assert found


def test_verbs_in_the_documents_exist():
    for where, text in texts():
        for verb in re.findall(r"(?:^|`|\$ )resgen ([a-z]+)", text, re.M):
            assert verb in cli.VERBS, f"{verb} in {where}"


def test_functions_in_the_documents_exist():
    found = 0
    for _, text in texts():
        for name in re.findall(r"`(resgen_jax(?:\.\w+)+)[(`]", text):
            pkgutil.resolve_name(name)  # raises for one that is not there
            found += 1
    assert found


def test_links_and_scripts_in_the_documents_exist():
    for where in DOCUMENTS:
        text, folder = (ROOT / where).read_text(), (ROOT / where).parent
        for link, _, anchor in re.findall(r"\]\(([^):#]*)(#([^)]+))?\)", text):
            target = folder / link if link else ROOT / where
            assert target.exists(), f"{link} in {where}"
            assert not anchor or anchor in anchors(target), f"{link}#{anchor} in {where}"
        for script in re.findall(r"\b(?:bash|python) ([\w./]+/[\w.]+)", text):
            assert (ROOT / script).exists(), f"{script} in {where}"


def test_readme_stays_short_and_names_every_page():
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) < 1200
    for where in DOCUMENTS[1:]:
        assert f"]({where}" in text, f"{where} is not named in README.md"


def test_the_table_of_what_may_change_is_the_one_that_runs_follow():
    text = (ROOT / "docs/training.md").read_text()
    table = text.partition("## What may change when a run goes on")[2].partition("\n\n|")[2]
    rows = [line.split("|") for line in table.partition("\n\n")[0].splitlines()]
    told = {name for row in rows for cell in row[:2] for name in re.findall(r"`([^`]+)`", cell)}
    sections_of = {f"{section}*" for section in run_directory.MAY_CHANGE_SECTIONS}
    fields = {*run_directory.MAY_CHANGE, *run_directory.PLACES, *run_directory.NEVER}
    assert told == sections_of | fields
    known = {
        f"{section}.{field.name}"
        for recipe in map(recipes.find, recipes.NAMES)
        for section, cls in recipe.sections.items()
        for field in dataclasses.fields(cls)
    }
    assert fields - {"source", "adversarial.optimizer.rewarm_at"} <= known
    assert not run_directory.may_change("train.init_from")
