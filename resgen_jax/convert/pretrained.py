"""Exported models ready to use: tokenizers that encode and decode, generators that sample."""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from resgen_jax.convert import exports, one_line, own_tokenizer
from resgen_jax.core import build, checked, errors, keys, spaces
from resgen_jax.data import class_names as names_of_classes
from resgen_jax.data import images as image_files
from resgen_jax.generators import (
    ar_resgen,
    ar_resgen_model,
    ar_resgen_sampler,
    resgen,
    resgen_model,
    resgen_sampler,
    rq_transformer,
    rq_transformer_model,
    rq_transformer_sampler,
)
from resgen_jax.generators import interface as generators
from resgen_jax.quantizers import interface as quantizers
from resgen_jax.quantizers import multi_scale, rvq
from resgen_jax.tokenizers import multi_scale_vae, rq_vae

PyTree = Any
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Entries:
    """What an export of VAR's tokenizer tells beside its specs."""

    codebook_size: int

    def __post_init__(self):
        build.check_sizes(self, ("codebook_size",))


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
        codes_shape: tuple[int, ...],
    ):
        self.spec, self.codebooks, self.description = spec, codebooks, dict(description)
        self._tree, self._codes_shape = tree, codes_shape
        self._encode = jax.jit(encode)
        self._decode = jax.jit(lambda tree, codes: jnp.clip(decode(tree, codes), -1, 1))

    def __repr__(self) -> str:
        return one_line.of_tokenizer(self.spec, self.codebooks.shape, self.description)

    def encode(self, images: Any) -> Int[Array, "..."]:
        """Codes of images "b h w c": "b l q", or "b length" of all scales for VAR's tokenizer.

        Raises UserError for images of another size, range or dtype.
        """
        images = jnp.asarray(checked.images(images, self.spec.image_size, self.spec.channels))
        if images.dtype == jnp.uint8:
            images = image_files.to_unit(images)
        return _each_row(self._encode, self._tree, images.astype(jnp.float32))

    def decode(self, codes: Any) -> Float[Array, "b h w c"]:
        """Images in [-1, 1]; codes of the first levels or scales give the coarse picture.

        Raises UserError for codes of another shape, and beyond the codebook.
        """
        codes = checked.codes(codes, self._codes_shape, self.codebooks.shape[1])
        return _each_row(self._decode, self._tree, codes)


class Generator:
    """Codes of new images by class."""

    def __init__(
        self,
        model: generators.Generator,
        sampler: Any,
        tree: PyTree,
        class_names: Sequence[str],
        description: Mapping[str, Any],
        open_tokenizer: Callable[[], Tokenizer],
    ):
        self.space, self.spec, self.class_names = model.space, sampler, tuple(class_names)
        self.description = dict(description)
        self._open_tokenizer = open_tokenizer
        self._tokenizer: Tokenizer | None = None
        self.codebooks: Float[Array, "q v c"] = jnp.asarray(tree["statistics"]["codebooks"])
        self._params = tree["params"]
        self._model = model
        self._samplers: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return one_line.of_generator(self.space, self.class_names, self.description)

    def sample_images(
        self, classes: Any, seed: int = 0, tokenizer: Tokenizer | None = None, **knobs: Any
    ) -> Float[Array, "b h w c"]:
        """Images in [-1, 1] of the classes, each a number or a name; of one or of many.

        `tokenizer` draws them, else the one that the generator was exported with or that its codes
        name; UserError where it is not found, or is another one. `knobs` are those of `sample`.
        """
        if tokenizer is None:
            self._tokenizer = tokenizer = self._tokenizer or self._open_tokenizer()
        own_tokenizer.check(tokenizer.codebooks, self.codebooks)
        return tokenizer.decode(self.sample(classes, seed, **knobs))

    def sample(self, labels: Any, key: int | PRNGKeyArray, **knobs: Any) -> Int[Array, "b l q"]:
        """Codes for each label; example i depends on the key, i and its label alone.

        A label is a class's number or name, `key` may be a seed; `knobs` are fields of its
        sampler's spec, in place of the run's own. Raises UserError for labels of no class, and
        where the network's outputs are not numbers; within `jax.jit` such rows are codes below 0.
        """
        labels, key = names_of_classes.labels_of(labels, self.class_names), keys.of(key)
        fields = [field.name for field in dataclasses.fields(self.spec)]
        if unknown := set(knobs) - set(fields):
            name = min(unknown)
            raise errors.UserError(f"no knob {name!r}; {build.nearest(name, fields)}")
        spec = build.change(self.spec, knobs, "sampler")
        plan = self._model.plan(spec, self.space.num_tokens)
        if not len(labels):
            return jnp.zeros((0, self.space.max_length, self.space.codes.depth), jnp.int32)
        choices = getattr(spec, "choices", None)  # what alone asks for another program
        if choices not in self._samplers:
            self._samplers[choices] = self._model.sampler(spec)
        index = jnp.arange(len(labels), dtype=jnp.int32)
        codes = self._samplers[choices].sample(
            self._params,
            self.codebooks,
            keys.example_keys(key, index),
            jnp.asarray(labels),
            plan,
        )
        if not isinstance(codes, jax.core.Tracer):  # within a jit nothing is known yet
            generators.check_lost(np.asarray(generators.first_lost(codes)), np.asarray(index))
        return codes


class CodePredictor:
    """An RQ-Transformer: logits of codes, given the codebooks of its tokenizer."""

    def __init__(
        self,
        spec: rq_transformer.Spec,
        space: spaces.Space,
        tree: PyTree,
        description: Mapping[str, Any],
    ):
        self.spec, self.space, self.description = spec, space, dict(description)
        self.params = tree["params"]
        self.network = rq_transformer.make(spec, space)
        self._logits = jax.jit(self.network.apply)

    def __repr__(self) -> str:
        return one_line.of_predictor(self.space, self.description)

    def logits(self, codes: Any, labels: Any, codebooks: Any) -> Float[Array, "b l q v"]:
        """Logits of every code "b l q", given those before it and the class.

        Raises UserError for codes beyond the codebook, and for labels of no class.
        """
        space = self.space
        item, shape = space.codes, (space.max_length, space.codes.depth)
        codes = checked.codes(codes, shape, item.codebook_size, item.depth)
        labels = jnp.asarray(checked.labels(labels, space.num_classes))
        if len(codes) != len(labels):
            raise errors.UserError(f"{len(labels)} labels of {len(codes)} examples; give as many")
        tables = jnp.asarray(codebooks)
        expected = space.codes.codebooks_shape
        if tables.shape != expected:
            raise errors.UserError(f"codebooks have the shape {tables.shape}; expected {expected}")

        def logits(params, codes, labels):
            return self._logits(params, codes, labels, tables)

        return _each_row(logits, self.params, codes, labels)


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


def _part(cls: type[T], name: str, description: Mapping[str, Any], path: str | os.PathLike) -> T:
    """A part of what an export says of its model; UserError where it is missing or wrong."""
    return build.build(cls, _told(name, description, path), f"{path} {name}")


def _told(name: str, description: Mapping[str, Any], path: str | os.PathLike) -> Any:
    """The fields of a part; UserError where it is missing."""
    if name not in description:
        raise errors.UserError(
            f"{path} does not tell of its {name}; copy its {exports.CONFIG} again, or convert it "
            "again"
        )
    return description[name]


def _class_names(
    path: str | os.PathLike, description: Mapping[str, Any], num_classes: int
) -> list[str]:
    names = description.get("class_names") or [str(number) for number in range(num_classes)]
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not is_list or len(names) != num_classes:
        raise errors.UserError(
            f"{path} does not name its {num_classes} classes in class_names; convert it again"
        )
    return names


def _open_rq_vae(path: str | os.PathLike, description: Mapping[str, Any]) -> Tokenizer:
    spec = _part(rq_vae.Spec, "model", description, path)
    quantizer = _part(quantizers.Spec, "quantizer", description, path)
    if spec.code_dim != quantizer.code_dim:
        raise errors.UserError(
            f"{path}: the networks have latents of {spec.code_dim} channels and the codebook "
            f"vectors of {quantizer.code_dim}; convert it again from a file where they are equal"
        )
    exports.check_sizes(path, exports.shapes(path), spec.num_blocks)
    named: Any = description.get("learner")
    network, learner = rq_vae.make(spec), quantizers.make(named, quantizer)
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

    shape = (math.prod(spec.grid), codebooks.shape[0])
    return Tokenizer(spec, codebooks, tree, encode, decode, description, shape)


def _open_multi_scale_vae(path: str | os.PathLike, description: Mapping[str, Any]) -> Tokenizer:
    spec = _part(rq_vae.Spec, "model", description, path)
    scales = _part(multi_scale.Spec, "scales", description, path)
    told = {name: description[name] for name in ("codebook_size",) if name in description}
    sizes = build.build(Entries, told, f"{path} {exports.SECTION}")
    exports.check_sizes(path, exports.shapes(path), spec.num_blocks)
    tokenizer = multi_scale_vae.make(spec, scales, sizes.codebook_size)
    abstract = {"params": jax.eval_shape(tokenizer.init, jax.random.key(0))}
    params = _on_device(exports.read(path, abstract))["params"]
    codebooks = tokenizer.codebook(params)[None]
    return Tokenizer(
        spec,
        codebooks,
        params,
        tokenizer.encode,
        tokenizer.decode,
        description,
        (scales.length,),
    )


def _open_resgen(path: str | os.PathLike, description: Mapping[str, Any]) -> Generator:
    spec, space = _specs(path, description, resgen.Spec)
    sampler = _part(resgen_sampler.Spec, "sampler", description, path)
    # What was trained is not told: a code head that is there is taken for one.
    model = resgen_model.make(spec, space, masks=sampler.masks, has_code_head=spec.has_code_head)
    return _generator(path, description, model, sampler)


def _open_rq_transformer(
    path: str | os.PathLike, description: Mapping[str, Any]
) -> CodePredictor | Generator:
    """A generator with its codebooks, or published weights, which come without any."""
    spec, space = _specs(path, description, rq_transformer.Spec)
    if "sampler" in description:
        sampler = _part(rq_transformer_sampler.Spec, "sampler", description, path)
        return _generator(path, description, rq_transformer_model.make(spec, space), sampler)
    abstract = jax.eval_shape(rq_transformer.make(spec, space).init, jax.random.key(0))
    tree = _on_device(exports.read(path, {"params": abstract}))
    return CodePredictor(spec, space, tree, description)


def _open_ar_resgen(path: str | os.PathLike, description: Mapping[str, Any]) -> Generator:
    spec, space = _specs(path, description, ar_resgen.Spec)
    sampler = _part(ar_resgen_sampler.Spec, "sampler", description, path)
    return _generator(path, description, ar_resgen_model.make(spec, space), sampler)


def _specs(
    path: str | os.PathLike, description: Mapping[str, Any], cls: type
) -> tuple[Any, spaces.Space]:
    """The network's spec and the sizes of its codes."""
    spec: Any = _part(cls, "model", description, path)
    return spec, spaces.of_fields(_told("space", description, path), f"{path} space")


def _generator(
    path: str | os.PathLike,
    description: Mapping[str, Any],
    model: generators.Generator,
    sampler: Any,
) -> Generator:
    tree = _on_device(exports.read(path, jax.eval_shape(model.init, jax.random.key(0))))
    names = _class_names(path, description, model.space.num_classes)

    def open_tokenizer() -> Tokenizer:
        return cast(Tokenizer, from_pretrained(own_tokenizer.find(path)))

    return Generator(model, sampler, tree, names, description, open_tokenizer)


def _each_row(function: Callable[..., Any], tree: PyTree, *batch: Array) -> Array:
    """What a function of batches gives; of no rows it has none, whatever networks make of such."""
    if len(batch[0]):
        return function(tree, *batch)
    row = [jax.ShapeDtypeStruct((1, *rows.shape[1:]), rows.dtype) for rows in batch]
    found = jax.eval_shape(function, tree, *row)
    return jnp.zeros((0, *found.shape[1:]), found.dtype)


def _on_device(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.asarray, tree)


KINDS: dict[str, Callable[..., Tokenizer | Generator | CodePredictor]] = {
    "rq_vae": _open_rq_vae,
    "multi_scale_vae": _open_multi_scale_vae,
    "resgen": _open_resgen,
    "rq_transformer": _open_rq_transformer,
    "ar_resgen": _open_ar_resgen,
}
