"""Which functions a sampler is made of, and which of them go together."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from resgen_jax.core import build, errors
from resgen_jax.generators import confidence, proposals
from resgen_jax.samplers import order


class Choices(NamedTuple):
    """Names of the functions; other ones compile anew."""

    proposal: str
    confidence: str
    masks: str


class Kinds(NamedTuple):
    """What has these names."""

    proposal: Mapping[str, proposals.Kind]
    confidence: Mapping[str, confidence.Kind]
    masks: Mapping[str, Callable]


KINDS = Kinds(proposals.KINDS, confidence.KINDS, order.PICKS)


def check(choices: Choices) -> None:
    """Raises UserError for an unknown name, and for a confidence that its proposal cannot give."""
    for name, value, known in zip(Choices._fields, choices, KINDS, strict=True):
        if value not in known:
            raise errors.UserError(f"sampler.{name} is {value!r}; {build.nearest(value, known)}")
    needs_vectors = confidence.KINDS[choices.confidence].needs_vectors
    if needs_vectors and not proposals.KINDS[choices.proposal].draws_vectors:
        fitting = [name for name, kind in confidence.KINDS.items() if not kind.needs_vectors]
        raise errors.UserError(
            f"sampler.confidence is {choices.confidence!r}, which reads vectors of the mixture, "
            f"but sampler.proposal {choices.proposal!r} draws none; expected one of "
            f"{', '.join(fitting)}"
        )


def check_heads(choices: Choices, *, has_code_head: bool) -> None:
    """Raises UserError for choices that ask a code head where there is none that was trained."""
    if has_code_head:
        return
    needs = {
        "proposal": KINDS.proposal[choices.proposal].needs_code_head,
        "confidence": KINDS.confidence[choices.confidence].needs_code_head,
    }
    for name, needs_code_head in needs.items():
        if needs_code_head:
            value = getattr(choices, name)
            raise errors.UserError(
                f"sampler.{name} is {value!r}, but the model has no trained code head; train with "
                f"model.has_code_head=true and loss.code_loss_weight above 0, or sample with "
                f"another {name}"
            )
