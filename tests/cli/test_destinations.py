"""What cannot be written is told before the work, and commands that are shown can be pasted."""

import importlib
import shlex

import pytest

from resgen_jax import recipes
from resgen_jax.cli import __main__ as cli
from resgen_jax.cli import flags, scale
from resgen_jax.convert import weights
from resgen_jax.core import errors
from resgen_jax.runs import convert, measuring, open_run
from resgen_jax.runs.demo import demo


@pytest.fixture
def no_work(monkeypatch):
    """Fails where a verb begins to work."""

    def work(*arguments, **more):
        pytest.fail("the work began")

    for module, name in (
        *((open_run, "open_tokenizer"), (open_run, "open_generator"), (demo, "demo")),
        *((measuring, "open_extractor"), (convert, "of_run"), (convert, "of_file")),
        (weights, "load"),
    ):
        monkeypatch.setattr(module, name, work)
    monkeypatch.setitem(scale.ACTIONS, "count", work)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("sample", "--workdir={generator}", "--output={file}/a"), "samples.npz (Not a dir"),
        (("sample", "--workdir={generator}", "--output={taken}"), "samples.npz"),
        (
            ("sample", "--workdir={generator}", "--output={taken}", "--npz=adm"),
            "samples_adm.npz (Is a directory)",
        ),
        (("evaluate", "--workdir={tokenizer}", "--output={file}/a/b"), "b (Not a directory)"),
        (("evaluate", "--samples={file}", "--reference=x", "--output={taken}"), "taken (Is a dir"),
        (("evaluate", "--samples={taken}", "--reference=x"), "evaluate.json (Is a directory)"),
        (("evaluate", "--write_reference={file}/a.npz", "--images={taken}"), "a.npz (Not a dir"),
        (("encode", "--workdir={tokenizer}", "--output={file}/a"), "codes.json (Not a directory)"),
        (
            ("convert", "--workdir={tokenizer}", "--to=safetensors", "--output={file}/a"),
            "config.js",
        ),
        (("convert", "--workdir=x", "--to=safetensors", "--output={taken}"), "and is no export"),
        (("convert", "--from=taming", "--input=x", "--output={file}/a"), "config.json"),
        (("convert", "--from=inception", "--output={file}/a"), "inception.safetensors (Not a dir"),
        (("scale", "count", "--config=x", "--output={taken}"), "taken (Is a directory)"),
        (("demo", "--workdir={taken}"), "report.html (Is a directory)"),
    ],
)
def test_what_cannot_be_written_is_told_before_the_work(runs, place, no_work, arguments, named):
    taken, file = place.folder / "taken", place.folder / "file"
    for name in ("samples.npz", "samples_adm.npz", "evaluate.json", "report.html"):
        (taken / name).mkdir(parents=True)
    file.touch()
    known = {"taken": taken, "file": file, "tokenizer": runs.tokenizer, "generator": runs.generator}
    code, out, err = place.resgen(*(word.format(**known) for word in arguments))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert named in err
    left = sorted(path.name for path in place.folder.iterdir() if path.suffix != ".py")
    assert left == ["file", "taken"]
    assert len(list(taken.iterdir())) == 4


@pytest.mark.parametrize("verb", sorted(cli.VERBS))
def test_every_flag_that_names_a_place_knows_the_home(verb, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    module = importlib.import_module(f"resgen_jax.cli.{cli.VERBS[verb].module}_flags")
    pages = [action.add_flags for action in getattr(module, "ACTIONS", {}).values()]
    places, seen = (
        {
            *("workdir", "output", "images", "samples", "reference", "write_reference", "weights"),
            *("tokenizer", "keep_from", "input", "table", "config"),
        },
        set(),
    )
    for add_flags in pages or [module.add_flags]:
        parser = flags.Parser(verb, "work", "resgen work")
        add_flags(parser)
        known = {option[2:] for option in parser._option_string_actions} & places
        seen |= known
        for name in known:
            values, _ = parser.parse([f"--{name}=~/a b"])
            assert getattr(values, name) == str(tmp_path / "a b"), name
    assert seen


def test_a_home_that_is_not_known_is_told(monkeypatch):
    parser = flags.Parser("sample", "sample", "resgen sample")
    flags.add_workdir(parser, "a run")
    monkeypatch.setattr("os.path.expanduser", lambda text: text)
    with pytest.raises(errors.UserError, match=r"'~/runs' is in the home of a user who has none"):
        parser.parse(["--workdir=~/runs"])
    assert parser.parse(["--workdir=~nobody/runs"])[0].workdir == "~nobody/runs"


def test_commands_to_go_on_with_can_be_pasted_into_a_shell(place):
    workdir = place.folder / "it's a run; $(x)"
    command = ("train", f"--config={place.tokenizer_config}", f"--workdir={workdir}")
    code, out, err = place.resgen(*command, "--config.train.num_steps=1")
    assert code == 0, err
    assert err.startswith("1797 images of 10 classes, 360 held out\n")
    shown = next(line for line in out.splitlines() if line.startswith("next: "))
    words = shlex.split(shown.removeprefix("next: "))
    assert words == ["resgen", "encode", f"--workdir={workdir}"]
    out = place.succeed(*words[1:])
    shown = next(line for line in out.splitlines() if line.startswith("next: "))
    assert f"--config.data.codes={workdir / 'codes'}" in shlex.split(shown)
    assert {recipe.role.next_verb for recipe in map(recipes.find, recipes.NAMES)} <= set(cli.VERBS)
