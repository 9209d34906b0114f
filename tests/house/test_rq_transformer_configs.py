"""The configs of RQ-Transformer: the published sizes, and ResGen's size beside it."""

import jax
import pytest

from resgen_jax.core import build, spaces, trees
from resgen_jax.generators import resgen, rq_transformer, rq_transformer_sampler
from resgen_jax.runs.configs import config_files
from resgen_jax.training import optimizer, rq_transformer_loss

SECTIONS = {
    "model": rq_transformer.Spec,
    "loss": rq_transformer_loss.LossSpec,
    "sampler": rq_transformer_sampler.Spec,
    "optimizer": optimizer.Spec,
}


def sections(name, words=""):
    """The sections of a config that hold the method, each as its spec."""
    config = config_files.read(f"{name}:{words}").to_dict()
    return {section: build.build(spec, config[section]) for section, spec in SECTIONS.items()}


def millions(make, spec, space):
    shapes = jax.eval_shape(make(spec, space).init, jax.random.key(0))
    return trees.num_parameters(shapes) / 1e6


@pytest.mark.parametrize(
    ("word", "published"),
    [("480m", 480.9), ("821m", 820.9), ("1400m", 1387.5), ("3800m", 3822.5)],
)
def test_each_size_is_the_published_one(word, published):
    name = "generators/rq_transformer_imagenet256.py"
    space = spaces.of_fields(config_files.read(f"{name}:{word}").to_dict()["space"], "space")
    found = sections(name, word)
    assert millions(rq_transformer.make, found["model"], space) == pytest.approx(
        published, abs=0.05
    )
    assert rq_transformer_sampler.plan(found["sampler"], space.codes.depth).guidance_scale is None


def test_both_generators_of_digits_are_of_a_size():
    space = spaces.image_codes((4, 4), 8, 128, 16, 10)
    model = config_files.read("generators/resgen_mnist.py").to_dict()["model"]
    other = millions(resgen.make, build.build(resgen.Spec, model), space)
    found = sections("generators/rq_transformer_mnist.py")
    own = millions(rq_transformer.make, found["model"], space)
    assert own == pytest.approx(other, rel=0.05)


@pytest.mark.parametrize("name", ["mnist", "imagenet256"])
def test_guidance_comes_with_a_null_class_and_labels_dropped(name):
    for words in ("guided", "guided,tiny", "tiny"):
        found = sections(f"generators/rq_transformer_{name}.py", words)
        is_guided = found["sampler"].guidance_scale != 1
        assert is_guided == found["model"].has_null_class == ("guided" in words)
        assert is_guided == (found["loss"].condition_drop_rate > 0)
