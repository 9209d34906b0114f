"""Which functions a sampler is made of, by name, and which of them go together.

The functions have the same names in `proposals`, `confidence`, `calibration`, `samplers.order` and
`samplers.remasking`; nothing here imports them, so that a page of help need not.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from resgen_jax.core import build, errors


class Choices(NamedTuple):
    """Names of the functions; other ones compile anew."""

    proposal: str
    confidence: str
    masks: str
    order: str = "confidence"
    remask: str = "none"
    calibration: str = "none"


class Proposal(NamedTuple):
    """The heads that a proposal draws from, and what it tells a confidence beside its codes."""

    heads: frozenset[str]
    tells: frozenset[str] = frozenset()


class Confidence(NamedTuple):
    """What a confidence reads of a draw, and the heads that it asks itself."""

    reads: frozenset[str] = frozenset()
    heads: frozenset[str] = frozenset()


# What predicts the hidden codes of a position; a network may have the head "codes" beside another.
HEADS = ("mixture", "codes", "levels", "flow")
VECTOR, LOG_PROB, DISTANCE = "a draw of the mixture", "its codes' log-probabilities", "distances"

PROPOSALS = {
    "mixture": Proposal(frozenset({"mixture"}), frozenset({VECTOR, DISTANCE})),
    "codes": Proposal(frozenset({"codes"}), frozenset({LOG_PROB})),
    "guided": Proposal(frozenset({"mixture", "codes"}), frozenset({VECTOR, DISTANCE})),
    "levels": Proposal(frozenset({"levels"}), frozenset({LOG_PROB})),
    "flow": Proposal(frozenset({"flow"})),
}
CONFIDENCES = {
    "component": Confidence(reads=frozenset({VECTOR})),
    "density": Confidence(reads=frozenset({VECTOR})),
    "distance": Confidence(reads=frozenset({DISTANCE})),
    "drawn": Confidence(reads=frozenset({LOG_PROB})),
    "code_head": Confidence(heads=frozenset({"codes"})),
    "random": Confidence(),
}
KINDS: Mapping[str, Collection[str]] = {
    "proposal": PROPOSALS,
    "confidence": CONFIDENCES,
    "masks": ("coarse_first", "fine_first", "indep", "level_by_level"),
    "order": ("confidence", "hypergeometric", "halton", "halton_depth"),
    "remask": ("none", "cap", "rescale", "confidence", "loop"),
    "calibration": ("none", "prior"),
}


def check(choices: Choices) -> None:
    """Raises UserError for an unknown name, and for a confidence that its proposal cannot give."""
    build.check_known(choices, KINDS, "sampler.")
    if not go_together(choices.proposal, choices.confidence):
        fitting = [name for name in CONFIDENCES if go_together(choices.proposal, name)]
        missing = CONFIDENCES[choices.confidence].reads - PROPOSALS[choices.proposal].tells
        raise errors.UserError(
            f"sampler.confidence is {choices.confidence!r}, which reads {' and '.join(missing)}, "
            f"but sampler.proposal {choices.proposal!r} has none; expected one of "
            f"{', '.join(fitting)}"
        )
    if choices.masks == "level_by_level" and choices.remask != "none":
        raise errors.UserError(
            f"sampler.remask is {choices.remask!r}, which hides codes of coarser levels again, but "
            "a model of sampler.masks 'level_by_level' has never seen them hidden; set it to none"
        )
    for name, asking in (("remask", "confidence"), ("calibration", "prior")):
        if getattr(choices, name) == asking and choices.confidence == "random":
            raise errors.UserError(
                f"sampler.{name} is {asking!r}, which reads a confidence, but "
                "sampler.confidence is 'random', which measures none; take another confidence "
                "(sampler.order 'hypergeometric' reveals at random all the same)"
            )


def go_together(proposal: str, confidence: str) -> bool:
    """Whether the proposal tells what the confidence reads."""
    return CONFIDENCES[confidence].reads <= PROPOSALS[proposal].tells


def check_heads(choices: Choices, heads: Collection[str]) -> None:
    """Raises UserError for choices that ask a head that is not among the trained `heads`."""
    asked = {
        "proposal": PROPOSALS[choices.proposal].heads,
        "confidence": CONFIDENCES[choices.confidence].heads,
    }
    for name, needed in asked.items():
        if missing := sorted(needed - set(heads)):
            raise errors.UserError(
                f"sampler.{name} is {getattr(choices, name)!r}, but the model has no trained "
                f"{_of_heads(missing)}, only {_of_heads(sorted(heads))}; {TRAIN[missing[0]]}, or "
                f"sample with another {name}"
            )


def _of_heads(names: Collection[str]) -> str:
    words = {"codes": "code", "levels": "level"}
    return " and ".join(f"{words.get(name, name)} head" for name in names) or "none"


# How to get a head that a model lacks.
TRAIN = {
    "codes": "train with model.has_code_head=true and loss.code_loss_weight above 0",
    **{name: f"train with model.head={name}" for name in HEADS if name != "codes"},
}
