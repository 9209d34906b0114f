"""Demo: from images to the report in one command, and nothing is done twice."""

import dataclasses
import json
import re

import numpy as np
import pytest
from PIL import Image

from resgen_jax.cli import demo, demo_flags, flags
from resgen_jax.core import errors
from resgen_jax.recipes import configs
from resgen_jax.runs.configs import configuration
from resgen_jax.runs.demo import demo as runs_demo
from resgen_jax.runs.demo import plans

PICTURES = (
    "reconstructions",
    "samples",
    "real",
    "neighbours",
    "filled_in",
    "unmasking",
    "curves",
)


@pytest.fixture
def plan(place):
    """A plan for a folder of images, one of them damaged, with the tiny configs of these tests."""
    photos, workdir = place.folder / "photos", place.folder / "demo"
    rng = np.random.default_rng(0)
    for label, name in enumerate(("dark", "light")):
        (photos / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 100, (20, 24, 3), dtype=np.uint8) + np.uint8(150 * label)
            Image.fromarray(pixels).save(photos / name / f"{number:02d}.jpg")
    (photos / "dark" / "01.jpg").write_bytes(b"\xff\xd8\xff")
    return plans.Plan(
        workdir=workdir,
        tokenizer=configuration.load(
            str(place.tokenizer_config),
            [
                ("data.source", "folder"),
                ("data.path", str(photos)),
                ("data.max_unreadable", "1"),
            ],
        ),
        generator=configuration.load(
            str(place.generator_config), [("data.codes", str(workdir / "codes"))]
        ),
        num_samples=40,
        judge_steps=20,
        num_crops=1,
        is_digits=False,
        has_targets=False,
    )


@pytest.mark.slow
def test_folder_of_images_becomes_a_report_and_a_second_run_only_looks(plan, capsys):
    page = runs_demo.demo(plan)
    shown = capsys.readouterr()
    assert "01.jpg cannot be read" in shown.err
    assert "Class agreement" in shown.out
    for name in PICTURES:
        with Image.open(plan.workdir / f"{name}.png") as picture:
            assert min(picture.size) > 100
    text = page.read_text()
    assert text.count("data:image/png;base64,") == len(PICTURES)
    assert not re.search(r'(src|href)="?http', text)
    metrics = json.loads((plan.workdir / "metrics.json").read_text())
    assert metrics["samples"]["num_samples"] == 40
    assert 0 <= metrics["samples"]["class_agreement"] <= 1
    assert metrics["reconstruction"]["num_images"] == 2
    names = [phase["name"] for phase in metrics["phases"]]
    assert names == [
        "tokenizer",
        "reconstruct",
        "encode",
        "generator",
        "sample",
        "fill_in",
        "judge",
    ]
    assert metrics["samples"]["nearest_training"] > 0
    assert metrics["samples"]["nearest_training_held_out"] > 0
    for phase in metrics["phases"]:
        assert 0 <= phase["compile_seconds"] <= phase["seconds"]
    with np.load(plan.workdir / "samples.npz") as arrays:
        assert arrays["images"].shape == (40, 8, 8, 1)

    runs_demo.demo(plan)
    assert capsys.readouterr().err.count("done before") == len(names)
    again = json.loads((plan.workdir / "metrics.json").read_text())
    assert again["phases"] == metrics["phases"]
    moved = plan.workdir.rename(plan.workdir.with_name("moved"))
    plan = dataclasses.replace(plan, workdir=moved)
    generator = configs.change(plan.generator, {"data.codes": str(plan.codes_dir)})
    plan = dataclasses.replace(plan, generator=generator)
    runs_demo.demo(plan)
    assert capsys.readouterr().err.count("done before") == len(names)

    wider = configs.change(plan.tokenizer, {"model.width": 16})
    with pytest.raises(errors.UserError, match="another config: model.width is 8 there and 16"):
        runs_demo.demo(dataclasses.replace(plan, tokenizer=wider))


def test_flags_choose_configs_and_places(place):
    folder, workdir = place.folder, place.folder / "demo"
    parser = flags.Parser("demo", "try", "resgen demo")
    demo_flags.add_flags(parser)
    values, _ = parser.parse(
        [f"--images={folder}", f"--workdir={workdir}", "--image_size=32", "--fast"]
    )
    plan = demo.make_plan(values)
    assert plan.tokenizer.data.path == str(folder)
    assert plan.tokenizer.data.image_size == 32
    assert plan.generator.data.codes == str(plan.codes_dir)
    assert not plan.has_targets
    digits = demo.make_plan(parser.parse([])[0])
    assert digits.tokenizer.data.source == "mnist"
    assert str(digits.workdir) == "runs/demo"
    assert digits.num_samples == 1000
    assert digits.has_targets


def test_mistakes_are_told_before_anything_is_trained(place):
    (place.folder / "empty").mkdir()
    for arguments, message in (
        ((f"--images={place.folder / 'empty'}",), "holds no images"),
        (("--images=/nowhere",), "'/nowhere' is not a directory"),
        (("--num_samples=0",), "--num_samples is 0"),
        (("--image_size=7", f"--images={place.folder}"), "7 is not a multiple of the stride"),
    ):
        code, _, err = place.resgen(
            "demo", f"--workdir={place.folder / 'demo'}", "--fast", *arguments
        )
        assert code == 2
        assert message in err
        assert not (place.folder / "demo" / "tokenizer").exists()
