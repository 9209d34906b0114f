"""The published models that can be converted: where they are, under which licence, and by what."""

from collections.abc import Callable
from typing import NamedTuple

from resgen_jax.convert import exports, rq_transformer, rq_vae, taming, var

KAKAO = "github.com/kakaobrain/rq-vae-transformer"
NON_COMMERCIAL = "CC-BY-NC-SA-4.0: no commercial use; what is made of them stays under it"


class Format(NamedTuple):
    """One kind of published file."""

    what: str
    published: str
    licence: str  # of the weights
    convert: Callable[..., exports.Export]
    options: tuple[str, ...] = ()  # keywords of `convert`
    training: tuple[str, ...] = ()  # what the original's config comes to here


FORMATS = {
    "rq_vae": Format(
        "RQ-VAE, a tokenizer: stage1/model.pt and its like",
        KAKAO,
        NON_COMMERCIAL,
        rq_vae.convert,
        ("image_size", "has_separate_codebooks"),
        rq_vae.TRAINING,
    ),
    "rq_transformer": Format(
        "RQ-Transformer, a generator by class: stage2/model.pt and its like",
        KAKAO,
        NON_COMMERCIAL,
        rq_transformer.convert,
        ("num_heads", "grid"),
    ),
    "var": Format(
        "the multi-scale tokenizer of VAR: vae_ch160v4096z32.pth",
        "huggingface.co/FoundationVision/var",
        "MIT",
        var.convert,
        ("image_size", "scales", "choice"),
    ),
    "taming": Format(
        "VQGAN, a tokenizer of depth 1: last.ckpt",
        "github.com/CompVis/taming-transformers",
        "that of the repository, MIT, as far as it says",
        taming.convert,
        ("image_size",),
        taming.TRAINING,
    ),
}
