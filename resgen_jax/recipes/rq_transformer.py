"""RQ-Transformer: codes one after the other, position by position, as `rq_transformer`."""

from typing import Any

from resgen_jax.generators import interface as generators
from resgen_jax.generators import rq_transformer, rq_transformer_model, rq_transformer_sampler_spec
from resgen_jax.nn import transformer
from resgen_jax.recipes import interface, on_codes, shared
from resgen_jax.training import rq_transformer_loss, rq_transformer_task


def model(config: Any, data: interface.Data) -> generators.Generator:
    """The generator of a config; UserError for a sampler that asks what it does not know."""
    generator = rq_transformer_model.make(config.model, data.space)
    generator.check(config.sampler)
    return generator


RECIPE = interface.Recipe(
    name="rq_transformer",
    role=on_codes.ROLE,
    sections={
        **on_codes.SECTIONS,
        "model": rq_transformer.Spec,
        "loss": rq_transformer_loss.LossSpec,
        "sampler": rq_transformer_sampler_spec.Spec,
        **shared.SECTIONS,
    },
    optional=on_codes.OPTIONAL,
    choices={
        "model.remat": transformer.REMAT,
        "model.compute_dtype": transformer.COMPUTE_DTYPES,
        **shared.CHOICES,
    },
    model=model,
    task=on_codes.task_of(rq_transformer_task.RqTransformerTask),
    export=on_codes.export_as("rq_transformer"),
)
