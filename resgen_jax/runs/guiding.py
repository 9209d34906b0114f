"""A generator guided by a weaker model of the same codes, in place of no class (autoguidance)."""

import numpy as np

from resgen_jax.core import errors
from resgen_jax.generators import interface
from resgen_jax.runs import open_run


def guided(
    generator: open_run.GeneratorRun, guide: str | None, note: open_run.Note
) -> open_run.GeneratorRun:
    """The generator with guidance away from the model that `guide` names: RUN_OR_EXPORT[@STEP].

    As it is where `guide` is None. Raises UserError for a model of other codes or another width,
    and for a generator that is not guided by models.
    """
    if not guide:
        return generator
    if generator.model.guided_by is None:
        raise errors.UserError(
            f"--guide is for generators that mask and predict, but this is one of the task "
            f"{generator.config.task!r}, which is guided away from no class alone; leave it out"
        )
    place, step = parse(guide)
    other = open_run.open_generator(place, note, step)
    own, found = generator.meta.space, other.meta.space
    same = own == found and np.allclose(
        open_run.fetch(generator.codebooks), open_run.fetch(other.codebooks), rtol=1e-3, atol=1e-3
    )
    if not same:
        raise errors.UserError(
            f"--guide={guide} is a model of other codes than this one's; name one that was trained "
            f"on {generator.config.data.codes}"
        )
    params = interface.Guided(generator.params, other.params)
    return generator._replace(model=generator.model.guided_by(other.model), params=params)


def parse(guide: str) -> tuple[str, int | None]:
    """RUN_OR_EXPORT[@STEP] as both; without a step the newest."""
    place, at, step = guide.rpartition("@")
    return (place, int(step)) if at and place and step.isdecimal() else (guide, None)
