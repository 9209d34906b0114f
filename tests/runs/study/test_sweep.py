"""The points of a sweep: which there are, and which run the same programs."""

import types

import pytest
import tiny_ar_resgen
import tiny_rq_transformer

from resgen_jax.core import errors, spaces
from resgen_jax.generators import (
    ar_resgen_model,
    ar_resgen_sampler_spec,
    resgen,
    resgen_model,
    resgen_sampler_spec,
    rq_transformer_model,
    rq_transformer_sampler_spec,
)
from resgen_jax.nn import transformer
from resgen_jax.runs.study import sweep


def config(spec):
    return types.SimpleNamespace(task="resgen", sampler=spec)


RESGEN = config(resgen_sampler_spec.Spec(num_steps=2))
RQ_TRANSFORMER = config(rq_transformer_sampler_spec.Spec())


def test_all_pairs_of_values_with_what_is_fixed_beside_them():
    grid = {"num_steps": (2, 4), "top_p": (0.5, 1.0)}
    found = sweep.specs(RESGEN, {"temperature": 0.7, "top_k": None}, grid)
    assert [(spec.num_steps, spec.top_p) for spec in found] == [
        (2, 0.5), (2, 1.0), (4, 0.5), (4, 1.0)
    ]  # fmt: skip
    assert {spec.temperature for spec in found} == {0.7}


def test_points_that_exclude_each_other_are_left_out_but_not_all(capsys):
    grid = {"proposal": ("mixture", "codes"), "confidence": ("component", "code_head")}
    found = sweep.specs(RESGEN, {}, grid)
    assert [(spec.proposal, spec.confidence) for spec in found] == [
        ("mixture", "component"), ("mixture", "code_head"), ("codes", "code_head")
    ]  # fmt: skip
    assert "1 points left out" in capsys.readouterr().err
    with pytest.raises(errors.UserError, match="top_p is 0"):
        sweep.specs(RESGEN, {}, {"top_p": (0.0,)})
    with pytest.raises(errors.UserError, match="--num_steps is no setting of the sampler"):
        sweep.specs(RQ_TRANSFORMER, {}, {"num_steps": (2, 4)})


def test_the_usual_grid_takes_of_each_sampler_what_it_has():
    assert len(sweep.specs(RESGEN, {}, {})) == 18
    assert {spec.guidance_scale for spec in sweep.specs(RQ_TRANSFORMER, {}, {})} == {1.0, 1.5, 2.0}


def test_only_steps_and_functions_ask_for_another_program():
    trunk = transformer.Spec(
        num_layers=1, width=8, num_heads=2, mlp_width=8, modulation_width=4, remat="none"
    )
    spec = resgen.Spec(trunk=trunk, num_components=2, rank=1, mask_dim=2)
    space = spaces.image_codes((2, 3), depth=3, codebook_size=7, code_dim=4, num_classes=5)
    model = resgen_model.make(spec, space, masks="coarse_first", has_code_head=True)
    grid = {
        "num_steps": (2, 4),
        "order": ("confidence", "halton"),
        "guidance_scale": (1.0, 2.0),
        "mask_schedule": ("cosine", "linear"),
        "temperature": (0.5, 1.0),
    }
    found = sweep.specs(RESGEN, {}, grid)
    programs = [sweep._program(model, each) for each in found]
    assert len(found) == 32
    assert len({str(program) for program in programs}) == 4
    assert {model.num_calls(each) for each in found} == {2, 4}


def test_of_one_code_after_the_other_each_is_a_call():
    model = rq_transformer_model.make(tiny_rq_transformer.SPEC, tiny_rq_transformer.SPACE)
    spec = rq_transformer_sampler_spec.Spec()
    assert model.num_calls(spec) == tiny_rq_transformer.SPACE.num_tokens
    with pytest.raises(errors.UserError, match="no null class"):
        sweep._program(model, rq_transformer_sampler_spec.Spec(guidance_scale=2.0))


def test_ar_resgen_calls_its_network_once_for_each_position():
    model = ar_resgen_model.make(tiny_ar_resgen.spec("mixture"), tiny_ar_resgen.SPACE)
    assert model.num_calls(ar_resgen_sampler_spec.Spec()) == tiny_ar_resgen.SPACE.max_length
    assert tiny_ar_resgen.SPACE.codes.depth > 1


def test_a_point_is_told_as_flags():
    point = {"sampler": {"num_steps": 4, "guidance_scale": (1.0, 2.0), "order": "halton"}}
    told = sweep.told(point, ["order", "guidance_scale", "top_p"])
    assert told == "--order=halton --guidance_scale=1.0,2.0"
