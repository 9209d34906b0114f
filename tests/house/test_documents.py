"""The documents and the help name only verbs, configs and files that exist."""

import pathlib
import re

from resgen_jax.cli import __main__ as cli
from resgen_jax.cli import configuration

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
            assert configuration.find(name).is_file(), f"{name} in {where}"
            found += 1
    assert found


def test_verbs_in_the_documents_exist():
    for where, text in texts():
        for verb in re.findall(r"(?:^|`|\$ )resgen ([a-z]+)", text, re.M):
            assert verb in cli.VERBS, f"{verb} in {where}"


def test_links_and_scripts_in_the_documents_exist():
    for where in DOCUMENTS:
        text, folder = (ROOT / where).read_text(), (ROOT / where).parent
        for link, _, anchor in re.findall(r"\]\(([^):#]*)(#([^)]+))?\)", text):
            target = folder / link if link else ROOT / where
            assert target.exists(), f"{link} in {where}"
            assert not anchor or anchor in anchors(target), f"{link}#{anchor} in {where}"
        for script in re.findall(r"\bbash ([\w./]+)", text):
            assert (ROOT / script).exists(), f"{script} in {where}"


def test_readme_stays_short_and_names_every_page():
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) < 1200
    for where in DOCUMENTS[1:]:
        assert f"]({where}" in text, f"{where} is not named in README.md"
