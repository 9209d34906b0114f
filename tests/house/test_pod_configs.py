"""A config carried over to a pod's batch: what a run of it has in common with the first one."""

import dataclasses
import importlib
import math

import pytest

from resgen_jax.runs.configs import config_files, configuration

BATCH = 4096
PAPERS = [name for name in config_files.shipped() if "imagenet256" in name]
SCALED = {
    "source": None,
    "data": ("batch_size",),
    "loss": ("average_decay", "start_step"),
    "quantizer": ("decay",),
    "optimizer": ("learning_rate", "warmup_steps", "clip_norm"),
    "adversarial": ("start_step", "optimizer"),
    "train": ("num_steps", "evaluate_every", "checkpoint_every", "num_held_out_batches"),
}


@pytest.fixture(scope="module", params=PAPERS)
def pair(request):
    """A config of a paper, and the same for a pod."""
    return configuration.load(request.param), configuration.load(f"{request.param}:pod4096")


def samples(config, num_steps):
    return num_steps * config.data.batch_size


def optimizers(config):
    """Of the network, and of a discriminator where there is one."""
    adversarial = getattr(config, "adversarial", None)
    return [config.optimizer, *([adversarial.optimizer] if adversarial else [])]


def test_there_are_papers_of_both_stages():
    assert {name.partition("/")[0] for name in PAPERS} == {"generators", "tokenizers"}


def test_as_many_samples_are_seen_in_each_phase(pair):
    plain, pod = pair
    assert pod.data.batch_size == BATCH
    phases = [(plain.train.num_steps, pod.train.num_steps)]
    for before, after in zip(optimizers(plain), optimizers(pod), strict=True):
        phases.append((before.warmup_steps, after.warmup_steps))
    for before, after in phases:
        assert abs(samples(pod, after) - samples(plain, before)) <= BATCH / 2


def test_what_the_average_keeps_of_the_beginning_is_the_same(pair):
    plain, pod = pair
    kept = [config.train.num_steps * math.log(config.loss.average_decay) for config in (plain, pod)]
    a_step = -math.log(pod.loss.average_decay)
    assert kept[1] == pytest.approx(kept[0], abs=a_step)


def test_codebook_statistics_look_back_over_as_many_samples(pair):
    plain, pod = pair
    if hasattr(plain, "quantizer"):
        ago = [math.log(each.quantizer.decay) / each.data.batch_size for each in pair]
        assert ago[1] == pytest.approx(ago[0])
        assert plain.loss.start_step == pod.loss.start_step == 1  # k-means on the first batch


def test_the_random_walk_of_a_run_is_as_wide(pair):
    """Adam's steps in noise are as long as the learning rate: their squares add up."""
    plain, pod = pair
    for before, after in zip(optimizers(plain), optimizers(pod), strict=True):
        wide = before.learning_rate**2 * plain.train.num_steps
        assert after.learning_rate**2 * pod.train.num_steps == pytest.approx(wide, rel=1e-3)


def test_the_limit_of_gradients_falls_as_their_noise_does(pair):
    plain, pod = pair
    for before, after in zip(optimizers(plain), optimizers(pod), strict=True):
        assert samples(pod, after.clip_norm**2) == pytest.approx(
            samples(plain, before.clip_norm**2)
        )


def test_held_out_images_are_as_many(pair):
    few, many = (samples(each, each.train.num_held_out_batches) for each in pair)
    assert few <= many < few + BATCH


def test_nothing_else_changes(pair):
    plain, pod = (dataclasses.asdict(each) for each in pair)
    for section in SCALED:
        for each in (plain, pod):
            if SCALED[section] is None:
                del each[section]
            for field in SCALED[section] or ():
                (each.get(section) or {}).pop(field, None)
    assert plain == pod


@pytest.mark.parametrize("name", PAPERS)
def test_the_way_to_a_batch_does_not_matter(name):
    """Twice to the double is once to the fourfold; to its own batch, nothing."""
    pods = importlib.import_module("resgen_jax.configs.pods")
    once, twice, stays = (config_files.read(name) for _ in range(3))
    batch = stays.data.batch_size
    pods.scale_to_batch(stays, batch)
    assert configuration.frozen(stays) == configuration.frozen(config_files.read(name))
    pods.scale_to_batch(once, 4 * batch)
    for factor in (2, 4):
        pods.scale_to_batch(twice, factor * batch)
    for section in once:
        if section in SCALED and once[section]:
            for field, value in once[section].items():
                if isinstance(value, float):
                    assert twice[section][field] == pytest.approx(value), field
                elif isinstance(value, int):
                    assert abs(twice[section][field] - value) <= 1, field
