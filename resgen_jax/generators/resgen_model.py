"""ResGen as a generator: its network, and the samplers that go with what it was trained on."""

from typing import Any

from resgen_jax.core import errors, spaces
from resgen_jax.generators import choices, interface, resgen, resgen_sampler
from resgen_jax.samplers import mask_predict


def make(
    model: resgen.Spec, space: spaces.Space, *, masks: str, has_code_head: bool
) -> interface.Generator:
    """The functions of a generator that was trained with these masks.

    `has_code_head` says whether its code head, if it has one, was trained.
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
        return resgen_sampler.Sampler(network, space, spec.choices, **how)

    return interface.of_network(
        network,
        space,
        check=check,
        plan=resgen_sampler.plan,
        sampler=sampler,
        watched_sampler=lambda spec: sampler(spec, fill=mask_predict.fill_with_states),
    )
