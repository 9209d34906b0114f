"""The table of compiled programs goes on where it stopped; a stand-in for Python compiles."""

import sys

import launchers

COMPILES = [
    'case "$*" in',
    '*"--table="*) words="$*"; echo "table of ${words##*--table=}" ;;',
    '*"scale compile"*--topology=v5e-16*) echo "no such slice" >&2; exit 2 ;;',
    '*"scale compile"*) for word in "$@"; do case "$word" in',
    '  --output=*) echo "$*" >"${word#--output=}" ;; esac; done ;;',
    '*"pip install"*) ;;',
    f'*) exec {sys.executable} "$@" ;;',
    "esac",
]


def table(tmp_path, word):
    launchers.stand_in(tmp_path / "venv" / "bin" / "python", COMPILES)
    place = tmp_path / "rows"
    done = launchers.launch("compile_table.sh", place, word, RESGEN_VENV=tmp_path / "venv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"table of {place}"
    return done.stderr, {path.name for path in place.glob("*.json")}


def test_only_the_rows_asked_for_and_not_there_yet_are_compiled(tmp_path):
    said, found = table(tmp_path, "sampler")
    assert found == {f"sampler.{name}.json" for name in ("v5e-256", "v6e-256", "v5p-256")}
    # A row that fails is told, and keeps no other from being compiled.
    assert "sampler.v5e-16 failed:\nno such slice\n" in said
    kept = tmp_path / "rows" / "sampler.v5e-256.json"
    assert "--program=sample" in kept.read_text()
    assert "--config.data.batch_size=4096" in kept.read_text()
    kept.write_text("as it was")
    said, again = table(tmp_path, "sampler")
    assert again == found
    assert kept.read_text() == "as it was"
    assert "sampler.v5e-256" not in said
