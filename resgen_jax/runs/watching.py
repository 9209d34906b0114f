"""Samples as they come about: codes, masks and what the decoder shows after each step."""

from typing import Any, NamedTuple

import jax
import numpy as np

from resgen_jax.core import errors
from resgen_jax.generators import interface as generators
from resgen_jax.runs import open_run, sampling


class States(NamedTuple):
    """The state after each step of a sampler that reveals step by step."""

    images: np.ndarray  # uint8 "s n h w c", of the revealed codes alone
    codes: np.ndarray  # int32 "s n l q"
    is_masked: np.ndarray  # bool "s n l q"

    @property
    def share_revealed(self) -> np.ndarray:
        """The share of all codes that is known after each step."""
        return 1 - self.is_masked.mean(axis=(1, 2, 3))


def watch(
    generator: open_run.GeneratorRun,
    tokenizer: open_run.TokenizerRun,
    spec: Any,
    labels: np.ndarray,
    seed: int,
    batch_size: int | None = None,
) -> States:
    """The states on the way to one sample for each label: those that `sampling.draw` draws.

    Raises UserError for a generator that draws one code after the other.
    """
    model = generator.model
    if model.watched_sampler is None:
        raise errors.UserError(
            f"a generator of the task {generator.config.task!r} draws one code after the other; "
            "leave out --states, which shows what steps reveal"
        )
    plan, sampler = model.plan(spec, model.space.num_tokens), model.watched_sampler(spec)
    show, found = sampling.partial_decoder(tokenizer), []
    size = batch_size or len(labels)
    for start, batch in sampling.batches_of(generator.mesh, labels, None, seed, size):
        known = generator.params, generator.codebooks, batch["keys"], batch["labels"]
        with jax.set_mesh(generator.mesh):
            last, (codes, is_masked) = sampler.sample(*known, plan)
            lost = generators.first_lost(last)
        sampling.refuse_lost(open_run.fetch(lost), batch)
        shown = [open_run.fetch(show(*state)) for state in zip(codes, is_masked, strict=True)]
        states = np.stack(shown), open_run.fetch(codes), open_run.fetch(is_masked)
        found.append([state[:, : len(labels) - start] for state in states])
    return States(*(np.concatenate(parts, axis=1) for parts in zip(*found, strict=True)))
