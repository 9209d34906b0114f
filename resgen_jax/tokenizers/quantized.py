"""An RQ-VAE as a tokenizer: its networks, and the codebooks that its statistics hold."""

from jaxtyping import Array, Float, Int, PRNGKeyArray

from resgen_jax.core import errors, keys
from resgen_jax.quantizers import interface as quantizers
from resgen_jax.quantizers import rvq
from resgen_jax.tokenizers import interface, rq_vae

PyTree = dict


def make(
    model: rq_vae.Spec, quantizer: quantizers.Spec, learner: quantizers.Learner
) -> interface.Tokenizer:
    """The functions of the tokenizer.

    Raises UserError where the networks' latents have not as many channels as the codebooks.
    """
    if quantizer.code_dim != model.code_dim:
        raise errors.UserError(
            f"quantizer.code_dim is {quantizer.code_dim} but model.code_dim is "
            f"{model.code_dim}; give both the same"
        )
    network = rq_vae.make(model)

    def init(key: PRNGKeyArray) -> dict[str, PyTree]:
        use = keys.named_keys(key, "params", "quantizer")
        statistics = {"quantizer": learner.init(use["quantizer"])}
        return {"params": network.init(use["params"]), "statistics": statistics}

    def codebooks(statistics: PyTree) -> Float[Array, "q v c"]:
        return learner.codebooks(statistics["quantizer"])

    def encode(
        params: PyTree, statistics: PyTree, images: Float[Array, "b h w c"]
    ) -> Int[Array, "b l q"]:
        latents = network.apply(params, images, method="encode")
        return learner.quantize(statistics["quantizer"], latents).codes

    def decode_vectors(params: PyTree, quantized: Float[Array, "b l c"]) -> Float[Array, "b h w d"]:
        return network.apply(params, quantized, method="decode")

    def decode(
        params: PyTree, statistics: PyTree, codes: Int[Array, "b l p"]
    ) -> Float[Array, "b h w c"]:
        return decode_vectors(params, rvq.decode(codes, codebooks(statistics)))

    return interface.Tokenizer(
        network=network,
        init=init,
        axes={"params": network.axes, "statistics": {"quantizer": learner.axes}},
        encode=encode,
        decode=decode,
        decode_vectors=decode_vectors,
        codebooks=codebooks,
        grid=model.grid,
        depth=quantizer.depth,
        codebook_size=quantizer.codebook_size,
        code_dim=model.code_dim,
        image_size=model.image_size,
        channels=model.channels,
    )
