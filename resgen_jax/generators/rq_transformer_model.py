"""RQ-Transformer as a generator: its network and its sampler."""

from resgen_jax.core import spaces
from resgen_jax.generators import interface, rq_transformer, rq_transformer_sampler


def make(model: rq_transformer.Spec, space: spaces.Space) -> interface.Generator:
    """The functions of a generator of codes of these sizes."""
    network = rq_transformer.make(model, space)

    def plan(spec: rq_transformer_sampler.Spec, num_tokens: int) -> rq_transformer_sampler.Plan:
        del num_tokens  # it draws one code after the other, however many there are
        return rq_transformer_sampler.plan(spec, space.codes.depth)

    def check(spec: rq_transformer_sampler.Spec) -> None:
        rq_transformer_sampler.check_guidance(model, plan(spec, space.num_tokens))

    def sampler(spec: rq_transformer_sampler.Spec) -> rq_transformer_sampler.RqTransformerSampler:
        check(spec)
        return rq_transformer_sampler.RqTransformerSampler(network, model, space)

    return interface.of_network(
        network,
        space,
        check=check,
        plan=plan,
        sampler=sampler,
        num_calls=lambda spec: space.num_tokens,
    )
