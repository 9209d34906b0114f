"""What a sampler's spec comes to step by step, and specs that make no sense."""

import dataclasses

import jax
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.generators import resgen_sampler

SPEC = resgen_sampler.Spec(
    num_steps=4, guidance_scale=2.0, temperature=0.8, top_p=0.9, noise_scale=0.7
)


def test_the_plan_holds_the_values_of_each_step():
    spec = resgen_sampler.Spec(
        num_steps=4,
        guidance_scale=3.0,
        guidance_schedule="linear",
        guidance_interval=(0.3, 1.0),
        temperature=0.8,
        top_p=0.9,
        noise_scale=0.7,
        order_noise=2.0,
    )
    plan = resgen_sampler.plan(spec, 100)
    # ceil(100 cos(pi t / 8)), t = 1 ... 4
    np.testing.assert_array_equal(plan.num_masked, [93, 71, 39, 0])
    np.testing.assert_allclose(plan.order_noise, [1.5, 1.0, 0.5, 0.0])
    np.testing.assert_allclose(plan.knobs.guidance_scale, [1, 1 + 2 / 3, 1 + 4 / 3, 3], rtol=1e-6)
    np.testing.assert_allclose(plan.knobs.temperature, [0.8] * 4, rtol=1e-6)
    np.testing.assert_allclose(plan.knobs.top_p, [0.9] * 4, rtol=1e-6)
    np.testing.assert_allclose(plan.knobs.noise_scale, [0.7] * 4, rtol=1e-6)
    assert all(leaf.shape == (4,) for leaf in jax.tree.leaves(plan))


def test_a_list_is_the_value_of_each_step_whatever_the_schedule():
    lists = {
        "guidance_scale": (1.0, 3.0, 2.0, 1.5),
        "order_noise": (2.0, 0.5, 1.0, 0.25),
        "temperature": (1.0, 0.5, 2.0, 0.0),
        "top_p": (1.0, 0.9, 0.8, 0.7),
        "noise_scale": (0.0, 1.0, 0.5, 2.0),
    }
    spec = resgen_sampler.Spec(num_steps=4, guidance_schedule="linear", top_k=(0, 3, 2, 1), **lists)
    plan = resgen_sampler.plan(spec, 100)
    found = plan.knobs._asdict() | {"order_noise": plan.order_noise}
    for name, values in lists.items():
        np.testing.assert_allclose(found[name], values)
    assert found["top_k"].tolist() == [0, 3, 2, 1]
    same = dataclasses.replace(spec, **dict.fromkeys(lists, (0.75,) * 4), top_k=(2,) * 4)
    one = resgen_sampler.Spec(
        num_steps=4, order_noise_decay="constant", top_k=2, **dict.fromkeys(lists, 0.75)
    )
    jax.tree.map(
        np.testing.assert_array_equal,
        resgen_sampler.plan(same, 100),
        resgen_sampler.plan(one, 100),
    )


def test_guidance_acts_at_the_mask_ratios_that_are_named():
    spec = resgen_sampler.Spec(num_steps=4, guidance_scale=3.0, guidance_mask_ratios=(0.4, 0.95))
    # Masked before the steps: 100, 93, 71 and 39 of 100.
    plan = resgen_sampler.plan(spec, 100)
    np.testing.assert_array_equal(plan.knobs.guidance_scale, [1, 3, 3, 1])
    assert plan.num_remasked is None


def test_the_plan_of_a_loop_stands_still_and_hides_meanwhile():
    spec = resgen_sampler.Spec(
        num_steps=6,
        remask="loop",
        remask_rate=0.5,
        remask_interval=(0.3, 0.7),
        mask_schedule="linear",
    )
    plan = resgen_sampler.plan(spec, 100)
    np.testing.assert_array_equal(plan.num_masked, [75, 50, 50, 50, 25, 0])
    np.testing.assert_array_equal(plan.num_remasked, [0, 0, 25, 25, 0, 0])
    each = resgen_sampler.plan(spec, np.array([100, 100]))
    np.testing.assert_array_equal(each.num_remasked, np.stack([plan.num_remasked] * 2, axis=-1))
    with pytest.raises(errors.UserError, match="at least one step before and one after"):
        resgen_sampler.plan(dataclasses.replace(spec, remask_interval=(0.0, 1.0)), 100)


def test_more_steps_than_tokens_are_refused():
    with pytest.raises(errors.UserError, match="5 sampling steps for 4 masked tokens"):
        resgen_sampler.plan(dataclasses.replace(SPEC, num_steps=5), 4)
    assert resgen_sampler.plan(SPEC, 4).num_masked.tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 0}, "sampler.num_steps is 0; expected 1"),
        ({"guidance_scale": -1.0}, "sampler.guidance_scale is -1.0"),
        ({"temperature": -0.1}, "sampler.temperature is -0.1"),
        ({"top_p": 1.5}, "sampler.top_p is 1.5; expected above 0 and at most 1"),
        ({"confidence": "densty"}, "did you mean 'density'"),
        ({"proposal": "code"}, "did you mean 'codes'"),
        ({"masks": "fine_frst"}, "did you mean 'fine_first'"),
        (
            {"proposal": "codes"},
            "'component', which reads .* expected one of drawn, code_head, random",
        ),
        ({"top_p": (0.9, 0.8)}, "sampler.top_p has 2 entries for 4 steps"),
        ({"top_p": 0.0}, "sampler.top_p is 0.0; expected above 0 and at most 1"),
        ({"top_p": (0.9, 0.8, 1.2, 0.5)}, "sampler.top_p is .* expected above 0 and at most 1"),
        ({"order": "haltn"}, "did you mean 'halton'"),
        ({"remask": "cup"}, "did you mean 'cap'"),
        ({"remask_rate": 1.5}, "sampler.remask_rate is 1.5; expected 0 to 1"),
        ({"confidence": "random", "remask": "confidence"}, "reads a confidence, but .* 'random'"),
        ({"confidence": "random", "calibration": "prior"}, "reads a confidence, but .* 'random'"),
        ({"top_k": -1}, "sampler.top_k is -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(errors.UserError, match=message):
        dataclasses.replace(SPEC, **changes)
