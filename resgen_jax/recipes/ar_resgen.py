"""AR-ResGen: positions one after the other, their stacks by a head of ResGen, as `ar_resgen`."""

from typing import Any

from resgen_jax.generators import ar_resgen, ar_resgen_model, ar_resgen_sampler_spec, choices
from resgen_jax.generators import interface as generators
from resgen_jax.nn import transformer
from resgen_jax.recipes import interface, on_codes, shared
from resgen_jax.training import ar_resgen_loss, ar_resgen_task, resgen_loss


def model(config: Any, data: interface.Data) -> generators.Generator:
    """The generator of a config, for codes of these sizes."""
    return ar_resgen_model.make(config.model, data.space)


RECIPE = interface.Recipe(
    name="ar_resgen",
    role=on_codes.ROLE,
    sections={
        **on_codes.SECTIONS,
        "model": ar_resgen.Spec,
        "loss": ar_resgen_loss.LossSpec,
        "sampler": ar_resgen_sampler_spec.Spec,
        **shared.SECTIONS,
    },
    optional=on_codes.OPTIONAL,
    choices={
        "model.head": choices.HEADS,
        "model.remat": transformer.REMAT,
        "model.compute_dtype": transformer.COMPUTE_DTYPES,
        "loss.objective": resgen_loss.OBJECTIVES,
        **shared.CHOICES,
    },
    model=model,
    task=on_codes.task_of(ar_resgen_task.ArResGenTask),
    export=on_codes.export_as("ar_resgen"),
    auxiliary={"codes": "code head"},
)
