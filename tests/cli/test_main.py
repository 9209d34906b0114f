"""The command line: help, exit codes, and one line for a user's mistake."""

import importlib
import types

import pytest

from resgen_jax.cli import __main__ as cli
from resgen_jax.core import errors


@pytest.fixture
def verb(monkeypatch):
    """A verb `probe` whose run is given by the test."""

    def install(run):
        module = types.SimpleNamespace(add_flags=lambda parser: None, run=run)
        monkeypatch.setitem(cli.VERBS, "probe", cli.Verb("probe", "try", "resgen probe"))
        monkeypatch.setattr(importlib, "import_module", lambda name: module)

    return install


def test_help_names_every_verb_with_an_example(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, entry in cli.VERBS.items():
        assert f"  {name} " in text
        assert entry.example in text
    assert max(map(len, text.splitlines())) <= 100
    assert cli.main([]) == cli.USER_ERROR


@pytest.mark.parametrize("name", cli.VERBS)
def test_every_verb_has_its_own_help(name, capsys):
    assert cli.main([name, "--help"]) == 0
    assert f"usage: resgen {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["train", "reconstruct", "encode", "sample", "scale"])
def test_every_verb_refuses_an_unknown_flag_and_a_missing_one(name, capsys):
    for arguments in ([name, "--nonsense=1"], [name]):
        assert cli.main(arguments) == cli.USER_ERROR
        text = capsys.readouterr().err
        assert text.startswith(f"resgen {name}: ")
        assert text.count("\n") == 1


def test_unknown_verb_names_the_nearest(capsys):
    assert cli.main(["trian"]) == cli.USER_ERROR
    assert "unknown verb 'trian'; did you mean 'train'" in capsys.readouterr().err


def test_users_error_is_one_line_and_exit_2(verb, capsys):
    def run(values, overrides):
        raise errors.UserError("a thing is 3;\n  expected 4")

    verb(run)
    assert cli.main(["probe"]) == 2
    assert capsys.readouterr().err == "resgen probe: a thing is 3;\\n expected 4\n"


def test_faults_of_the_library_keep_their_traceback(verb):
    def run(values, overrides):
        raise ZeroDivisionError

    verb(run)
    with pytest.raises(ZeroDivisionError):
        cli.main(["probe"])


def test_interrupt_is_one_line_and_exit_130(verb, capsys):
    def run(values, overrides):
        raise KeyboardInterrupt

    verb(run)
    assert cli.main(["probe"]) == 130
    assert capsys.readouterr().err.count("\n") == 1
