"""AR-ResGen as a generator: its network and its sampler."""

from resgen_jax.core import spaces
from resgen_jax.generators import ar_resgen, ar_resgen_sampler, interface


def make(model: ar_resgen.Spec, space: spaces.Space) -> interface.Generator:
    """The functions of a generator of codes of these sizes."""
    network = ar_resgen.make(model, space)

    def plan(spec: ar_resgen_sampler.Spec, num_tokens: int) -> ar_resgen_sampler.Plan:
        del num_tokens  # it draws one position after the other, however many there are
        return ar_resgen_sampler.plan(spec)

    def sampler(spec: ar_resgen_sampler.Spec) -> ar_resgen_sampler.ArResGenSampler:
        del spec  # all of it is in the plan
        return ar_resgen_sampler.ArResGenSampler(network, model, space)

    return interface.of_network(
        network,
        space,
        check=lambda spec: None,
        plan=plan,
        sampler=sampler,
        num_calls=lambda spec: space.max_length,
    )
