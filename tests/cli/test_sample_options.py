"""States, edits and guides of `resgen sample`, and weights that are no numbers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from resgen_jax.core import errors
from resgen_jax.data import codes, spread
from resgen_jax.distributions import low_rank_mixture as mixture
from resgen_jax.generators import resgen, resgen_model
from resgen_jax.processes import rvq_masking
from resgen_jax.quantizers import rvq
from resgen_jax.runs import editing, guiding, open_run
from resgen_jax.runs.configs import configuration

FEW = ("--num_samples=6", "--batch_size=4")


def sample(runs, output, *arguments):
    runs.succeed("sample", f"--workdir={runs.generator}", f"--output={output}", *arguments)
    with np.load(output / "samples.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def plain(runs, tmp_path_factory):
    return sample(runs, tmp_path_factory.mktemp("plain"), *FEW)


@pytest.fixture(scope="module")
def other(runs):
    """Another untrained run on the same codes."""
    workdir = runs.folder / "other"
    config = configuration.load(str(runs.generator_config), [("data.codes", str(runs.codes))])
    runs.save_untrained(config, workdir, seed=1)
    return workdir


def test_states_lead_to_the_samples_that_are_drawn_without(runs, tmp_path, plain):
    found = sample(runs, tmp_path, *FEW, "--states")
    for name in ("codes", "images", "labels"):
        np.testing.assert_array_equal(found[name], plain[name])
    with np.load(tmp_path / "states.npz") as states:
        assert states["is_masked"].shape == (3, 6, 16, 3)
        np.testing.assert_array_equal(states["codes"][-1], plain["codes"])
        np.testing.assert_array_equal(states["images"][-1], plain["images"])
        left = states["is_masked"].sum(axis=(2, 3))
        assert np.all(np.diff(left, axis=0) < 0)
        assert not left[-1].any()
    with Image.open(tmp_path / "states.png") as picture:
        assert min(picture.size) > 100


def test_an_edit_keeps_what_it_does_not_hide_and_asks_the_new_class(runs, tmp_path):
    arguments = ("--edit_rate=0.4", "--keep_from=held-out", "--classes=7", "--seed=2")
    found = sample(runs, tmp_path, *FEW, *arguments)
    source = codes.read(runs.codes).held_out
    original = np.stack([source[int(n)]["codes"] for n in spread.places(360, 6)])
    is_masked = editing.hidden(2, 6, 16, 3, 0.4, "coarse_first")
    np.testing.assert_array_equal(found["codes"][~is_masked], original[~is_masked])
    assert np.any(found["codes"][is_masked] != original[is_masked])
    assert set(found["labels"].tolist()) == {7}
    assert json.loads(str(found["sampler"]))["edit_rate"] == 0.4


def test_an_edit_hides_a_share_of_fine_levels_differently_of_each_image():
    is_masked = editing.hidden(0, 5, 16, 3, 0.4, "coarse_first")
    np.testing.assert_array_equal(is_masked.sum(axis=(1, 2)), 20)  # ceil(0.4 * 48)
    np.testing.assert_array_equal(is_masked, rvq_masking.hide_deepest(jnp.asarray(is_masked)))
    assert np.any(is_masked[0] != is_masked[1])
    assert editing.hidden(0, 2, 16, 3, 1.0, "coarse_first").all()


def test_a_guide_changes_guided_samples_alone_and_itself_changes_none(runs, tmp_path, plain, other):
    unguided = sample(runs, tmp_path / "1", *FEW, "--guidance_scale=1")
    same = sample(runs, tmp_path / "2", *FEW, f"--guide={runs.generator}@0", "--guidance_scale=3")
    np.testing.assert_array_equal(same["codes"], unguided["codes"])
    found = sample(runs, tmp_path / "3", *FEW, f"--guide={other}", "--guidance_scale=3")
    assert np.any(found["codes"] != unguided["codes"])
    assert json.loads(str(found["sampler"]))["guide"] == str(other)


def test_guided_states_are_those_of_both_models_at_the_scale(runs, other):
    """One step, all at temperature 0 without noise: by hand from the two networks' states."""
    first, second = (open_run.open_generator(each, print) for each in (runs.generator, other))
    guided = guiding.guided(first, str(other), print)
    model, spec = first.model, first.config.sampler
    spec = type(spec)(
        num_steps=1, guidance_scale=3.0, temperature=0.0, noise_scale=0.0, order_noise=0.0
    )
    keys, labels = jax.random.split(jax.random.key(0), 2), jnp.array([1, 2])
    known = first.codebooks, keys, labels, model.plan(spec, model.space.num_tokens)
    found = guided.model.sampler(spec).sample(guided.params, *known)
    shape = (2, 16, 3)
    told = jnp.zeros((2, 16, 4)), jnp.ones(shape, bool), labels
    own, weak = (
        each.model.network.apply(each.params, *told, method="hidden") for each in (first, second)
    )
    states = weak + 3 * (own - weak)
    density, basis = model.network.apply(first.params, states, method="mixture")
    component = np.asarray(density.component_logits).argmax(axis=-1)
    means = mixture.component_mean(density, basis, jnp.asarray(component))
    expected, _ = rvq.encode(means, first.codebooks)
    assert np.mean(np.asarray(found) == np.asarray(expected)) > 0.95


def test_a_guide_of_another_width_or_task_is_refused(runs):
    networks = []
    for width in (16, 8):
        config = configuration.load(str(runs.generator_config), [("model.trunk.width", str(width))])
        networks.append(resgen.make(config.model, open_run.read_meta(runs.generator)[0].space))
    resgen_model.check_guide(networks[0], networks[0])
    with pytest.raises(errors.UserError, match="a model of width 8, this one has 16"):
        resgen_model.check_guide(*networks)


def test_names_of_guides():
    assert guiding.parse("runs/a@500") == ("runs/a", 500)
    assert guiding.parse("runs/a") == ("runs/a", None)
    assert guiding.parse("me@home/a") == ("me@home/a", None)


def test_new_settings_reach_the_sampler(runs, tmp_path, plain):
    several = ("--order=halton", "--remask=rescale", "--remask_rate=1", "--calibration=prior")
    loop = ("--remask=loop", "--remask_interval=0.34,0.66", "--remask_rate=0.9")
    for number, arguments in enumerate((several, loop)):
        found = sample(runs, tmp_path / str(number), *FEW, *arguments)
        assert np.any(found["codes"] != plain["codes"]), arguments


def test_weights_that_are_no_numbers_end_it_before_anything_is_written(runs, tmp_path, monkeypatch):
    open_generator = open_run.open_generator

    def broken(*arguments, **options):
        run = open_generator(*arguments, **options)
        return run._replace(params=jax.tree.map(lambda leaf: leaf * jnp.nan, run.params))

    monkeypatch.setattr(open_run, "open_generator", broken)
    for form in ("ours", "adm"):
        output = tmp_path / form
        code, _, err = runs.resgen(
            "sample", f"--workdir={runs.generator}", f"--output={output}", *FEW, f"--npz={form}"
        )
        assert code == 2, err
        assert "sampling met NaN or infinity at step 0 in row" in err
        assert not output.exists() or not list(output.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--edit_rate=0.5",), "--edit_rate needs --keep_from too"),
        (("--edit_rate=0", "--keep_from=held-out"), "--edit_rate is 0.0; expected above 0"),
        (("--edit_rate=1.5", "--keep_from=held-out"), "--edit_rate is 1.5; expected above 0"),
        (("--edit_rate=1", "--keep=0:1,0:1"), "--keep and --edit_rate exclude each other"),
        (("--states", "--npz=adm"), "leave out --npz=adm"),
        (("--states", "--keep=0:1,0:1", "--keep_from=held-out"), "leave out --keep"),
        (("--guide=/nowhere",), "/nowhere"),
        (("--remask=loop",), "at least one step before and one after"),
        (("--top_p=0",), "top_p is 0.0; expected above 0 and at most 1"),
    ],
)
def test_mistakes_are_told_in_one_line(runs, tmp_path, arguments, message):
    code, _, err = runs.resgen(
        "sample", f"--workdir={runs.generator}", f"--output={tmp_path}", *arguments
    )
    assert code == 2, err
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_guide_at_a_step_that_was_not_saved_is_refused(runs, tmp_path):
    code, _, err = runs.resgen(
        "sample", f"--workdir={runs.generator}", f"--output={tmp_path}",
        f"--guide={runs.generator}@999",
    )  # fmt: skip
    assert code == 2, err
    assert "999" in err
