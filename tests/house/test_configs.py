"""Every shipped config: its words, its sections, and a tiny run that saves and resumes."""

import contextlib
import io
import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from resgen_jax.cli import __main__ as cli
from resgen_jax.core import build, errors
from resgen_jax.data import codes
from resgen_jax.recipes import on_codes
from resgen_jax.runs import experiments
from resgen_jax.runs.configs import comparisons, config_files, configuration, sections, studies
from resgen_jax.runtime import mesh as meshes

FILES = config_files.shipped()
STUDIES = [name for name in FILES if name.startswith("scaling/")]
COMPARISONS = [name for name in FILES if name.startswith("comparisons/")]
CONFIGS = [name for name in FILES if name not in (*STUDIES, *COMPARISONS)]
TOKENIZERS = [name for name in CONFIGS if name.startswith("tokenizers/")]
IMAGENET = "generators/resgen_imagenet256.py"
# Of each method the config that has all its parts.
FULLEST = [
    "tokenizers/rq_vae_imagenet256.py",
    IMAGENET,
    "generators/rq_transformer_imagenet256.py",
    "generators/ar_resgen_cifar10.py",
]
# With other masks or another space, and the tokenizer behind the codes of all generators. The other
# configs differ from these in numbers alone, once they are tiny.
TRAINED = [
    *FULLEST,
    "tokenizers/rq_vae_digits.py",
    "generators/resgen_cifar10.py",
    "generators/level_by_level_mnist.py",
    "generators/maskgit_cifar10.py",
]


def resgen(*arguments):
    """One command line that has to succeed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([str(argument) for argument in arguments])
    assert code == 0, err.getvalue()


@pytest.fixture(scope="module", autouse=True)
def one_device():
    """One device of the eight, which compiles sooner."""
    make = meshes.make
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meshes, "make", lambda spec: make(spec, jax.devices()[:1]))
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of two classes of noise."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for name, brightest in (("dark", 100), ("bright", 255)):
        (folder / name).mkdir()
        for index in range(12):
            pixels = random.integers(0, brightest, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def train(tmp_path_factory, images):
    """Trains a tiny config once, on images or on the codes of a tiny tokenizer; its workdir."""
    runs = tmp_path_factory.mktemp("runs")

    def data(name):
        if name in TOKENIZERS:
            return [] if "digits" in name or "mnist" in name else [f"--config.data.path={images}"]
        written = runs / "codes"
        if not written.exists():
            workdir = run("tokenizers/rq_vae_digits.py")[0]
            resgen("encode", f"--workdir={workdir}", f"--output={written}")
        return [f"--config.data.codes={written}"]

    def run(name):
        workdir = runs / name.replace("/", "_")
        command = ["train", f"--config={name}:tiny", f"--workdir={workdir}", *data(name)]
        if not workdir.exists():
            resgen(*command)
        return workdir, command

    return run


def lines(workdir):
    """What training logged of each step, but for its speed."""
    found = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if line["split"] not in ("speed", "goodput")]


def test_there_are_configs_of_every_kind():
    assert TOKENIZERS
    assert STUDIES
    assert set(CONFIGS) - set(TOKENIZERS)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_has_a_step_of_training(name):
    """The full config's step as well as the tiny one's, traced and not compiled."""
    for word in ("", ":tiny"):
        fields = configuration.load_fields(f"{name}{word}")
        if name not in TOKENIZERS and "space" not in fields:
            depth = 1 if "maskgit" in name else 4
            fields.space = dict(
                grid=(4, 4), depth=depth, codebook_size=512, code_dim=32, num_classes=10
            )
        config = sections.freeze(fields)
        found = experiments.assumed(config)
        state = jax.eval_shape(found.task.init, jax.random.key(0))
        batch = {
            part: jax.ShapeDtypeStruct((config.data.batch_size, *one.shape), one.dtype)
            for part, one in found.recipe.role.example(found.model).items()
        }
        stepped, metrics = jax.eval_shape(found.task.step, state, batch, jax.random.key(0))
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), stepped) == jax.tree.map(
            lambda leaf: (leaf.shape, leaf.dtype), state
        )
        assert metrics["loss"].shape == ()


@pytest.mark.parametrize("name", TRAINED)
def test_a_tiny_config_trains_and_saves(name, train):
    workdir, _ = train(name)
    steps = [line["step"] for line in lines(workdir) if line["split"] == "train"]
    assert steps == [1, 2, 3, 4]
    assert {path.name for path in (workdir / "checkpoints").iterdir()} >= {"2", "4"}


@pytest.mark.parametrize("name", FULLEST)
def test_a_tiny_config_of_every_method_goes_on_with_the_same_losses(name, train, tmp_path):
    workdir, command = train(name)
    whole = lines(workdir)
    # As if it had been killed after the save of step 2 with steps 3 and 4 already logged.
    cut = tmp_path / "cut"
    shutil.copytree(workdir, cut)
    newest = max((cut / "checkpoints").iterdir(), key=lambda path: int(path.name))
    assert int(newest.name) == 4
    shutil.rmtree(newest)
    resgen(*[f"--workdir={cut}" if "--workdir" in word else word for word in command])
    assert lines(cut) == whole
    assert {path.name for path in (cut / "checkpoints").iterdir()} >= {"2", "4"}


@pytest.mark.parametrize("name", FILES)
def test_an_unknown_word_names_the_nearest(name):
    others = {
        **dict.fromkeys(STUDIES, studies.load),
        **dict.fromkeys(COMPARISONS, comparisons.load),
    }
    load = others.get(name, configuration.load)
    with pytest.raises(errors.UserError, match="no word 'tinny'; did you mean 'tiny'"):
        load(f"{name}:tinny")


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_expands_and_its_tiny_one_takes_a_few_steps(name, train):
    """On the codes of the tiny tokenizer; no run is trained."""
    codes_of_digits = train("generators/resgen_digits.py")[1][-1].partition("=")[2]
    for word, least, most in (("", 10, 1e9), ("tiny", 1, 64)):
        # The tiny codes have fewer tokens than full sampling takes steps.
        overrides = [("base.data.codes", codes_of_digits), ("base.sampler.num_steps", "2")]
        expanded = studies.expand(studies.load(f"{name}:{word}", overrides))
        sizes = {run.size.name for run in expanded.runs}
        assert len(expanded.runs) == len(sizes) * len(expanded.spec.budgets) * len(
            expanded.spec.seeds
        )
        assert all(least <= run.num_steps <= most for run in expanded.runs)
        assert len(expanded.configs) == len(expanded.runs)


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_comparison_trains_its_methods_alike(name, tmp_path):
    for word, num_seeds in (("", 1), ("seeds", 3), ("tiny", 1)):
        config = comparisons.load(f"{name}:{word}", [("codes", str(tmp_path))])
        found = comparisons.expand(config)
        assert len(found.members) == num_seeds * len(config.methods)
        assert len({member.config.train.num_steps for member in found.members}) == 1
        assert len({member.config.data.batch_size for member in found.members}) == 1
        assert len({member.name for member in found.members}) == len(found.members)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_word_gives_a_config_whose_sections_can_be_read(name, monkeypatch):
    asked, words = [], build.words

    def record(text, known):
        asked.append(sorted(known))
        return words(text, known)

    monkeypatch.setattr(build, "words", record)
    plain = configuration.load(name)
    assert "tiny" in asked[0]
    for word in ["", *asked[0]]:
        config = configuration.load(f"{name}:{word}")
        if word == "tiny":
            assert config.train.num_steps < 10 < plain.train.num_steps
    for word in asked[0]:
        described = config_files.find(name).read_text().split('"""')[1]
        assert word in described, f"{name} does not say what {word} does"


@pytest.mark.parametrize("name", [name for name in CONFIGS if "/resgen_" in name])
def test_without_a_word_the_head_is_the_best_that_was_measured_and_on_imagenet_the_papers(name):
    def head(word):
        model = configuration.load(f"{name}:{word}").model
        return getattr(model, "head", "mixture")

    assert head("") == ("mixture" if name == IMAGENET else "levels")
    assert head("paper") == "mixture"
    for word in ("mixture", "codes", "levels", "flow"):
        assert head(word) == word


@pytest.mark.parametrize("name", TOKENIZERS)
def test_full_tokenizers_can_be_made(name):
    task = experiments.assumed(configuration.load(name)).task
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    assert shapes.statistics["quantizer"].sums.shape == (
        task.quantizer.depth,
        task.quantizer.codebook_size,
        task.model.code_dim,
    )


def meta(**changes):
    """The description of codes as the ImageNet config wants them."""
    fields = dict(
        grid=(8, 8),
        depth=16,
        codebook_size=1024,
        code_dim=256,
        image_size=256,
        channels=3,
        class_names=tuple(str(label) for label in range(1000)),
    )
    return codes.meta_of(fields | changes, "codes.json")


def test_codes_of_the_sizes_that_a_config_asks_for_are_taken():
    space = on_codes.of_meta(meta(), configuration.load(IMAGENET)).space
    assert (space.grid, space.codes.depth, space.num_classes) == ((8, 8), 16, 1000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 8}, "the codes have depth 8, this config is for 16; encode"),
        ({"grid": (16, 4)}, r"grid \(16, 4\), this config is for \(8, 8\)"),
        ({"class_names": ("cat",)}, "num_classes 1, this config is for 1000"),
        (
            {"codebook_size": 512, "code_dim": 64},
            "codebook_size 512, this config is for 1024; code_dim 64, this config is for 256",
        ),
    ],
)
def test_codes_of_other_sizes_are_refused_by_name(changes, message):
    with pytest.raises(errors.UserError, match=message):
        on_codes.of_meta(meta(**changes), configuration.load(IMAGENET))
