"""ResGen as a generator: its network, and the samplers that go with what it was trained on."""

import functools
from typing import Any

import jax

from resgen_jax.core import build, errors, spaces
from resgen_jax.generators import choices, interface, resgen, resgen_sampler
from resgen_jax.generators import heads as heads_lib
from resgen_jax.nn import functional
from resgen_jax.samplers import mask_predict


def make(
    model: resgen.Spec,
    space: spaces.Space,
    *,
    masks: str,
    has_code_head: bool,
    has_null_class: bool = True,
) -> interface.Generator:
    """The functions of a generator that was trained with these masks.

    `has_code_head` says whether its code head, if it has one, was trained, `has_null_class` whether
    it has seen examples without a class.
    """
    network = resgen.make(model, space)
    heads = heads_lib.heads_of(network)
    if not has_code_head:
        heads -= {"codes"}

    def check(spec: resgen_sampler.Spec) -> None:
        choices.check_heads(spec.choices, heads)
        if spec.masks != masks:
            raise errors.UserError(
                f"sampler.masks is {spec.masks!r} but loss.masks {masks!r}; a model knows "
                "only the masks it was trained with: set both alike"
            )

    def check_told(spec: resgen_sampler.Spec) -> None:
        if any(scale < 1 for scale in build.numbers(spec.guidance_scale)):
            raise errors.UserError(
                f"sampler.guidance_scale is {spec.guidance_scale}, but the model was trained to "
                "give guided samples in one call, of scales from 1 up (model.is_told_guidance); "
                "use 1 or more"
            )

    def samplers(guide: functional.Network | None = None) -> dict[str, Any]:
        def sampler(spec: resgen_sampler.Spec, **how: Any) -> resgen_sampler.Sampler:
            check(spec)
            if model.is_told_guidance:
                check_told(spec)
            if not has_null_class:
                check_without_null_class(spec, is_guided=guide is not None)
            return resgen_sampler.Sampler(network, space, spec.choices, guide=guide, **how)

        def watched(spec: resgen_sampler.Spec) -> resgen_sampler.Sampler:
            return sampler(spec, fill=mask_predict.fill_with_states)

        return {"sampler": sampler, "watched_sampler": watched}

    def guided_by(other: interface.Generator) -> interface.Generator:
        if model.is_told_guidance:
            raise errors.UserError(
                "--guide is for models that are guided from outside, but this one was trained to "
                "give guided samples in one call (model.is_told_guidance); leave it out"
            )
        check_guide(network, other.network)
        return generator._replace(**samplers(other.network))

    plan = functools.partial(resgen_sampler.plan, depth=space.codes.depth)
    generator = interface.of_network(
        network,
        space,
        check=check,
        plan=plan,
        num_calls=lambda spec: len(plan(spec, space.num_tokens).num_masked),
        guided_by=guided_by,
        **samplers(),
    )
    return generator


def check_guide(network: functional.Network, guide: functional.Network) -> None:
    """Raises UserError where the final hidden states of a guide are not those of the network."""
    key = jax.random.key(0)
    own, other = (jax.eval_shape(each.init, key) for each in (network, guide))
    if "masks" not in other:
        raise errors.UserError("--guide names a generator of another task; it has to be a ResGen")
    width, found = (each["classes"]["table"].shape[-1] for each in (own, other))
    if width != found:
        raise errors.UserError(
            f"--guide names a model of width {found}, this one has {width}: guidance subtracts "
            "their hidden states; name an earlier step of the same run, e.g. --guide=RUN@5000, or "
            "a run that was begun from it"
        )


def check_without_null_class(spec: resgen_sampler.Spec, *, is_guided: bool) -> None:
    """Raises UserError for what asks a model how it predicts without a class.

    A model that `is_guided` by a weaker one is not asked for guidance.
    """
    scales = build.numbers(spec.guidance_scale)
    asked = {
        "guidance_scale": not is_guided and any(scale != 1 for scale in scales),
        "calibration": spec.calibration == "prior",
    }
    for name, is_asked in asked.items():
        if is_asked:
            raise errors.UserError(
                f"sampler.{name} is {getattr(spec, name)!r}, but the model was trained with "
                "loss.condition_drop_rate=0 and knows no null class: leave it off, or train with "
                "a rate above 0, e.g. 0.1"
            )
