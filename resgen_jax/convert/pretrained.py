"""Exported models ready to use: tokenizers that encode and decode, generators that sample."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from resgen_jax.convert import exports
from resgen_jax.core import build, errors, keys
from resgen_jax.data import images as image_files
from resgen_jax.generators import interface as generators
from resgen_jax.generators import resgen, resgen_sampler, rq_transformer
from resgen_jax.quantizers import interface as quantizers
from resgen_jax.quantizers import multi_scale, rvq
from resgen_jax.tokenizers import multi_scale_vae, rq_vae

PyTree = Any


class Tokenizer:
    """Images to codes and back; images are square, float32 in [-1, 1] or uint8."""

    def __init__(
        self,
        spec: rq_vae.Spec,
        codebooks: Float[Array, "q v c"],
        tree: PyTree,
        encode: Callable[[PyTree, Any], Any],
        decode: Callable[[PyTree, Any], Any],
        description: Mapping[str, Any],
    ):
        self.spec, self.codebooks, self.description = spec, codebooks, dict(description)
        self._tree = tree
        self._encode = jax.jit(encode)
        self._decode = jax.jit(lambda tree, codes: jnp.clip(decode(tree, codes), -1, 1))

    def encode(self, images: Any) -> Int[Array, "..."]:
        """Codes of images "b h w c": "b l q", or "b length" of all scales for VAR's tokenizer.

        Raises UserError for images of another size.
        """
        images = jnp.asarray(images)
        if images.dtype == jnp.uint8:
            images = image_files.to_unit(images)
        expected = (self.spec.image_size, self.spec.image_size, self.spec.channels)
        if images.shape[1:] != expected:
            raise errors.UserError(
                f"images have the shape {images.shape}; expected (b, {expected[0]}, "
                f"{expected[1]}, {expected[2]})"
            )
        return self._encode(self._tree, images.astype(jnp.float32))

    def decode(self, codes: Any) -> Float[Array, "b h w c"]:
        """Images in [-1, 1]; codes of the first levels or scales give the coarse picture."""
        return self._decode(self._tree, jnp.asarray(codes, jnp.int32))


class Generator:
    """Codes of new images by class."""

    def __init__(
        self,
        model: resgen.Spec,
        space: generators.CodeSpace,
        sampler: resgen_sampler.Spec,
        tree: PyTree,
        class_names: Sequence[str],
        description: Mapping[str, Any],
    ):
        self.space, self.spec, self.class_names = space, sampler, tuple(class_names)
        self.description = dict(description)
        self.codebooks: Float[Array, "q v c"] = jnp.asarray(tree["statistics"]["codebooks"])
        self._params = tree["params"]
        self._network = resgen.make(model, space)
        self._samplers: dict[Any, resgen_sampler.Sampler] = {}

    def sample(
        self, labels: Sequence[int] | Any, key: PRNGKeyArray, **knobs: Any
    ) -> Int[Array, "b l q"]:
        """Codes for each label; example i depends on the key, i and its label alone.

        `knobs` are fields of `resgen_sampler.Spec`, in place of the run's own.
        """
        labels = np.asarray(labels, np.int32)
        if labels.ndim != 1 or np.any((labels < 0) | (labels >= self.space.num_classes)):
            raise errors.UserError(
                f"labels are {labels.tolist()}; expected a list of 0 to "
                f"{self.space.num_classes - 1}"
            )
        unknown = set(knobs) - {field.name for field in dataclasses.fields(resgen_sampler.Spec)}
        if unknown:
            name = min(unknown)
            fields = [field.name for field in dataclasses.fields(resgen_sampler.Spec)]
            raise errors.UserError(f"no knob {name!r}; {build.nearest(name, fields)}")
        spec = dataclasses.replace(self.spec, **knobs)
        if spec.choices not in self._samplers:
            made = resgen_sampler.Sampler(self._network, self.space, spec.choices)
            self._samplers[spec.choices] = made
        index = jnp.arange(len(labels), dtype=jnp.int32)
        return self._samplers[spec.choices].sample(
            self._params,
            self.codebooks,
            keys.example_keys(key, index),
            jnp.asarray(labels),
            resgen_sampler.plan(spec, self.space.num_tokens),
        )


class CodePredictor:
    """An RQ-Transformer: logits of codes, given the codebooks of its tokenizer."""

    def __init__(
        self,
        spec: rq_transformer.Spec,
        space: generators.CodeSpace,
        tree: PyTree,
        description: Mapping[str, Any],
    ):
        self.spec, self.space, self.description = spec, space, dict(description)
        self.params = tree["params"]
        self.network = rq_transformer.make(spec, space)
        self._logits = jax.jit(self.network.apply)

    def logits(self, codes: Any, labels: Any, codebooks: Any) -> Float[Array, "b l q v"]:
        """Logits of every code "b l q", given those before it and the class."""
        codes, labels = jnp.asarray(codes, jnp.int32), jnp.asarray(labels, jnp.int32)
        return self._logits(self.params, codes, labels, jnp.asarray(codebooks))


def from_pretrained(path: str | os.PathLike) -> Tokenizer | Generator | CodePredictor:
    """The model in a directory that `resgen convert` wrote.

    Raises UserError for a directory of another kind, and for weights that are damaged or do not
    fit as a whole.
    """
    description = exports.describe(path)
    kind = description["kind"]
    if kind not in KINDS:
        raise errors.UserError(f"{path} holds a {kind!r}; {build.nearest(str(kind), KINDS)}")
    return KINDS[kind](path, description)


def _open_rq_vae(path: str | os.PathLike, description: Mapping[str, Any]) -> Tokenizer:
    spec = build.build(rq_vae.Spec, description["model"], f"{path} model")
    quantizer = build.build(quantizers.Spec, description["quantizer"], f"{path} quantizer")
    if spec.code_dim != quantizer.code_dim:
        raise errors.UserError(
            f"{path}: the networks have latents of {spec.code_dim} channels and the codebook "
            f"vectors of {quantizer.code_dim}; convert it again from a file where they are equal"
        )
    network, learner = rq_vae.make(spec), quantizers.make(description["learner"], quantizer)
    key = jax.random.key(0)
    abstract = {
        "params": jax.eval_shape(network.init, key),
        "statistics": {"quantizer": jax.eval_shape(learner.init, key)},
    }
    tree = _on_device(exports.read(path, abstract))
    codebooks = learner.codebooks(tree["statistics"]["quantizer"])

    def encode(tree, images):
        latents = network.apply(tree["params"], images, method="encode")
        return learner.quantize(tree["statistics"]["quantizer"], latents).codes

    def decode(tree, codes):
        tables = learner.codebooks(tree["statistics"]["quantizer"])
        return network.apply(tree["params"], rvq.decode(codes, tables), method="decode")

    return Tokenizer(spec, codebooks, tree, encode, decode, description)


def _open_multi_scale_vae(path: str | os.PathLike, description: Mapping[str, Any]) -> Tokenizer:
    spec = build.build(rq_vae.Spec, description["model"], f"{path} model")
    scales = build.build(multi_scale.Spec, description["scales"], f"{path} scales")
    tokenizer = multi_scale_vae.make(spec, scales, description["codebook_size"])
    abstract = {"params": jax.eval_shape(tokenizer.init, jax.random.key(0))}
    params = _on_device(exports.read(path, abstract))["params"]
    codebooks = tokenizer.codebook(params)[None]
    return Tokenizer(spec, codebooks, params, tokenizer.encode, tokenizer.decode, description)


def _open_resgen(path: str | os.PathLike, description: Mapping[str, Any]) -> Generator:
    model = build.build(resgen.Spec, description["model"], f"{path} model")
    space = build.build(generators.CodeSpace, description["space"], f"{path} space")
    sampler = build.build(resgen_sampler.Spec, description["sampler"], f"{path} sampler")
    shape = (space.depth, space.codebook_size, space.code_dim)
    abstract = {
        "params": jax.eval_shape(resgen.make(model, space).init, jax.random.key(0)),
        "statistics": {"codebooks": jax.ShapeDtypeStruct(shape, jnp.float32)},
    }
    tree = _on_device(exports.read(path, abstract))
    names = description.get("class_names") or [str(i) for i in range(space.num_classes)]
    return Generator(model, space, sampler, tree, names, description)


def _open_rq_transformer(path: str | os.PathLike, description: Mapping[str, Any]) -> CodePredictor:
    spec = build.build(rq_transformer.Spec, description["model"], f"{path} model")
    space = build.build(generators.CodeSpace, description["space"], f"{path} space")
    abstract = jax.eval_shape(rq_transformer.make(spec, space).init, jax.random.key(0))
    tree = _on_device(exports.read(path, {"params": abstract}))
    return CodePredictor(spec, space, tree, description)


def _on_device(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.asarray, tree)


KINDS: dict[str, Callable[..., Tokenizer | Generator | CodePredictor]] = {
    "rq_vae": _open_rq_vae,
    "multi_scale_vae": _open_multi_scale_vae,
    "resgen": _open_resgen,
    "rq_transformer": _open_rq_transformer,
}
