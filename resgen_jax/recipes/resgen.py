"""ResGen: stacks of codes by masking and predicting their sums, as the recipe `resgen`."""

from typing import Any

from resgen_jax.generators import choices, resgen, resgen_model, resgen_sampler_spec
from resgen_jax.generators import interface as generators
from resgen_jax.nn import modulation, transformer
from resgen_jax.processes import mask_schedules, masks
from resgen_jax.recipes import interface, on_codes, shared
from resgen_jax.training import resgen_loss, resgen_task


def model(config: Any, data: interface.Data) -> generators.Generator:
    """The generator of a config, for codes of these sizes.

    Raises UserError for a sampler that asks what the task does not teach.
    """
    generator = resgen_model.make(
        config.model,
        data.space,
        masks=config.loss.masks,
        has_code_head=config.loss.code_loss_weight > 0,
        has_null_class=config.loss.condition_drop_rate > 0,
    )
    # Refused now rather than after training.
    generator.plan(config.sampler, data.space.num_tokens)
    generator.check(config.sampler)
    return generator


RECIPE = interface.Recipe(
    name="resgen",
    role=on_codes.ROLE,
    sections={
        **on_codes.SECTIONS,
        "model": resgen.Spec,
        "loss": resgen_loss.LossSpec,
        "sampler": resgen_sampler_spec.Spec,
        **shared.SECTIONS,
    },
    optional=on_codes.OPTIONAL,
    choices={
        "model.head": choices.HEADS,
        "model.trunk.activation": transformer.ACTIVATIONS,
        "model.trunk.norm": modulation.NORMS,
        "model.trunk.remat": transformer.REMAT,
        "model.trunk.compute_dtype": transformer.COMPUTE_DTYPES,
        "loss.objective": resgen_loss.OBJECTIVES,
        "loss.mask_schedule": mask_schedules.SCHEDULES,
        "loss.masks": masks.KINDS,
        **{f"sampler.{name}": kinds for name, kinds in resgen_sampler_spec.CHOICES.items()},
        **shared.CHOICES,
    },
    model=model,
    task=on_codes.task_of(resgen_task.ResGenTask),
    export=on_codes.export_as("resgen"),
    auxiliary={"codes": "code head"},
)
