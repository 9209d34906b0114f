"""ResGen as a generator: its network, and the samplers that go with what it was trained on."""

from typing import Any

from resgen_jax.core import build, errors, spaces
from resgen_jax.generators import choices, interface, resgen, resgen_sampler
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
    heads = resgen.heads_of(network)
    if not has_code_head:
        heads -= {"codes"}

    def check(spec: resgen_sampler.Spec) -> None:
        choices.check_heads(spec.choices, heads)
        if spec.masks != masks:
            raise errors.UserError(
                f"sampler.masks is {spec.masks!r} but loss.masks {masks!r}; a model knows "
                "only the masks it was trained with: set both alike"
            )

    def sampler(spec: resgen_sampler.Spec, **how: Any) -> resgen_sampler.Sampler:
        check(spec)
        if not has_null_class:
            check_without_null_class(spec)
        return resgen_sampler.Sampler(network, space, spec.choices, **how)

    return interface.of_network(
        network,
        space,
        check=check,
        plan=resgen_sampler.plan,
        sampler=sampler,
        watched_sampler=lambda spec: sampler(spec, fill=mask_predict.fill_with_states),
    )


def check_without_null_class(spec: resgen_sampler.Spec) -> None:
    """Raises UserError for what asks a model how it predicts without a class."""
    is_guided = any(scale != 1 for scale in build.numbers(spec.guidance_scale))
    asked = {"guidance_scale": is_guided, "calibration": spec.calibration == "prior"}
    for name, is_asked in asked.items():
        if is_asked:
            raise errors.UserError(
                f"sampler.{name} is {getattr(spec, name)!r}, but the model was trained with "
                "loss.condition_drop_rate=0 and knows no null class: leave it off, or train with "
                "a rate above 0, e.g. 0.1"
            )
