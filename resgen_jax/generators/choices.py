"""Which functions a sampler is made of, by name, and which of them go together.

The functions have the same names in `proposals`, `confidence` and `samplers.order`; nothing here
imports them, so that a page of help need not.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from resgen_jax.core import build, errors


class Choices(NamedTuple):
    """Names of the functions; other ones compile anew."""

    proposal: str
    confidence: str
    masks: str


class Proposal(NamedTuple):
    """What a proposal offers a confidence, and the head that it needs."""

    draws_vectors: bool = False
    needs_code_head: bool = False


class Confidence(NamedTuple):
    """What a confidence needs."""

    needs_vectors: bool = False
    needs_code_head: bool = False


PROPOSALS = {
    "mixture": Proposal(draws_vectors=True),
    "codes": Proposal(needs_code_head=True),
    "guided": Proposal(draws_vectors=True, needs_code_head=True),
}
CONFIDENCES = {
    "component": Confidence(needs_vectors=True),
    "density": Confidence(needs_vectors=True),
    "distance": Confidence(needs_vectors=True),
    "code_head": Confidence(needs_code_head=True),
    "random": Confidence(),
}
KINDS: Mapping[str, Collection[str]] = {
    "proposal": PROPOSALS,
    "confidence": CONFIDENCES,
    "masks": ("coarse_first", "fine_first", "indep"),
}


def check(choices: Choices) -> None:
    """Raises UserError for an unknown name, and for a confidence that its proposal cannot give."""
    for name, known in KINDS.items():
        value = getattr(choices, name)
        if value not in known:
            raise errors.UserError(f"sampler.{name} is {value!r}; {build.nearest(value, known)}")
    if not go_together(choices.proposal, choices.confidence):
        fitting = [name for name, kind in CONFIDENCES.items() if not kind.needs_vectors]
        raise errors.UserError(
            f"sampler.confidence is {choices.confidence!r}, which reads vectors of the mixture, "
            f"but sampler.proposal {choices.proposal!r} draws none; expected one of "
            f"{', '.join(fitting)}"
        )


def go_together(proposal: str, confidence: str) -> bool:
    """Whether the proposal draws what the confidence reads."""
    return PROPOSALS[proposal].draws_vectors or not CONFIDENCES[confidence].needs_vectors


def check_heads(choices: Choices, *, has_code_head: bool) -> None:
    """Raises UserError for choices that ask a code head where there is none that was trained."""
    if has_code_head:
        return
    needs = {
        "proposal": PROPOSALS[choices.proposal].needs_code_head,
        "confidence": CONFIDENCES[choices.confidence].needs_code_head,
    }
    for name, needs_code_head in needs.items():
        if needs_code_head:
            value = getattr(choices, name)
            raise errors.UserError(
                f"sampler.{name} is {value!r}, but the model has no trained code head; train with "
                f"model.has_code_head=true and loss.code_loss_weight above 0, or sample with "
                f"another {name}"
            )
