"""Drawing codes in batches and turning them into images, for every verb that samples."""

import copy
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from resgen_jax.core import build, errors, keys
from resgen_jax.data import images as image_files
from resgen_jax.generators import interface as generators
from resgen_jax.processes import rvq_masking
from resgen_jax.runs import open_run, progress

NUMBER = re.compile(r"[0-9]{1,9}")


class Samples(NamedTuple):
    """What was drawn."""

    images: np.ndarray  # uint8 "n h w c"
    labels: np.ndarray  # int32 "n"
    codes: np.ndarray  # int32 "n l q"


class Prompt(NamedTuple):
    """Codes of which a part is kept."""

    codes: np.ndarray  # int32 "n l q"
    is_masked: np.ndarray  # bool "l q" or "n l q", True = to be filled in; as many of each example

    @property
    def num_tokens(self) -> int:
        """How many codes of an example are to be filled in."""
        return int(self.is_masked.reshape(-1, *self.codes.shape[1:])[0].sum())


def spec_with(config: Any, knobs: Mapping[str, Any]) -> Any:
    """The config's sampler with the knobs that are not None in place of its own.

    Raises UserError for one that the sampler of this generator does not have.
    """
    given = {name: value for name, value in knobs.items() if value is not None}
    known = [field.name for field in dataclasses.fields(config.sampler)]
    for name in given:
        if name not in known:
            raise errors.UserError(
                f"--{name} is no setting of the sampler of {config.task!r}; {', '.join(known)} are"
            )
    return build.change(config.sampler, given, "sampler")


def parse_classes(text: str | None, class_names: Sequence[str]) -> tuple[int, ...] | None:
    """Class numbers from names or numbers; a name wins where one reads as a number.

    Blanks around them do not count. Names may hold commas: the longest that fits is taken.
    """
    if text is None:
        return None
    by_name = {name.strip(): number for number, name in reversed([*enumerate(class_names)])}
    most = 1 + max(name.count(",") for name in class_names)
    chosen, words = [], text.split(",")
    while words:
        ends = range(min(most, len(words)), 0, -1)
        end = next((end for end in ends if ",".join(words[:end]).strip() in by_name), 1)
        word = ",".join(words[:end]).strip()
        if word in by_name:
            chosen.append(by_name[word])
        elif NUMBER.fullmatch(word) and int(word) < len(class_names):
            chosen.append(int(word))
        else:
            raise errors.UserError(
                f"--classes names {word!r}; {build.nearest(word, class_names)} "
                f"(or numbers from 0 to {len(class_names) - 1})"
            )
        words = words[end:]
    return tuple(chosen)


def in_turn(chosen: Sequence[int] | None, num_classes: int, count: int) -> np.ndarray:
    """`count` labels, the chosen classes (or all) over and over."""
    return np.resize(np.array(range(num_classes) if chosen is None else chosen, np.int32), count)


def labels_for(
    kind: str, chosen: Sequence[int] | None, num_classes: int, count: int, seed: int
) -> np.ndarray:
    """`count` labels of a kind of LABELS."""
    return LABELS[kind](chosen, num_classes, count, seed)


def at_random(chosen: Sequence[int] | None, num_classes: int, count: int, seed: int) -> np.ndarray:
    """`count` labels, each drawn by itself from the chosen classes (or all)."""
    classes = np.array(range(num_classes) if chosen is None else chosen, np.int32)
    return np.random.default_rng([seed, count]).choice(classes, count)


LABELS = {
    "balanced": lambda chosen, num_classes, count, seed: in_turn(chosen, num_classes, count),
    "random": at_random,
}


class Batch(NamedTuple):
    """Samples of one batch on the devices; rows from `count` on are padding."""

    images: jax.Array  # uint8 "b h w c"
    codes: jax.Array  # int32 "b l q"
    count: int  # type: ignore[assignment]  # tuples have a method of this name


class Drawer:
    """A generator and the decoder of its codes, compiled once for each size of a batch.

    Raises UserError where the network's outputs are not numbers, before a batch is handed out.
    """

    def __init__(
        self,
        model: generators.Generator,
        spec: Any,
        tokenizer: open_run.TokenizerRun,
    ):
        self._model, self._spec = model, spec
        self._sampler = model.sampler(spec)
        self._decode = decoder(tokenizer)
        self._first_lost = jax.jit(generators.first_lost)

    def under(self, spec: Any) -> "Drawer":
        """The same compiled programs under another spec, of the same choices."""
        other = copy.copy(self)
        other._spec = spec
        return other

    def stream(
        self,
        mesh: Mesh,
        params: Any,
        codebooks: jax.Array,
        labels: np.ndarray,
        seed: int,
        batch_size: int,
        *,
        prompt: Prompt | None = None,
        order: np.ndarray | None = None,
    ) -> Iterator[Batch]:
        """One sample for each label; sample i depends on the seed and i, not on the batch size.

        `order` holds the numbers of the samples in the order in which they are wanted.
        """
        num_tokens = self._model.space.num_tokens if prompt is None else prompt.num_tokens
        plan = self._model.plan(self._spec, num_tokens)  # refused now, not at the first batch
        batches = batches_of(mesh, labels, prompt, seed, batch_size, order)
        return (
            self._draw(mesh, params, codebooks, batch, plan, len(labels) - start)
            for start, batch in batches
        )

    def _draw(self, mesh, params, codebooks, batch, plan, num_left: int) -> Batch:
        known = params, codebooks, batch["keys"], batch["labels"]
        kept = None
        if "codes" in batch:
            kept = generators.Known(batch["codes"], batch["is_masked"])
        with jax.set_mesh(mesh):  # the quantizer bounds its memory by the device
            codes = self._sampler.sample(*known, plan, kept)
        refuse_lost(open_run.fetch(self._first_lost(codes)), batch)
        return Batch(self._decode(codes), codes, min(codes.shape[0], num_left))


def refuse_lost(lost: np.ndarray, batch: Mapping[str, Any]) -> None:
    """Raises UserError where rows of a batch met what is not a number; all processes alike."""
    if np.any(lost >= 0):
        generators.check_lost(lost, open_run.fetch(batch["index"]))


def draw(
    generator: open_run.GeneratorRun,
    tokenizer: open_run.TokenizerRun,
    spec: Any,
    labels: np.ndarray,
    seed: int,
    batch_size: int,
    prompt: Prompt | None = None,
) -> Samples:
    """One sample for each label, all in memory; see `Drawer.stream`."""
    batches = Drawer(generator.model, spec, tokenizer).stream(
        generator.mesh,
        generator.params,
        generator.codebooks,
        labels,
        seed,
        batch_size,
        prompt=prompt,
    )
    images, drawn = [], []
    with progress.phase("sample", len(labels)) as report:
        for batch in batches:
            images.append(open_run.fetch(batch.images)[: batch.count])
            drawn.append(open_run.fetch(batch.codes)[: batch.count])
            report(sum(map(len, images)))
    return Samples(np.concatenate(images), labels, np.concatenate(drawn))


def decoder(tokenizer: open_run.TokenizerRun) -> Any:
    """Jitted: codes "b l q" to uint8 images."""
    step = decode_program(tokenizer.model)
    return lambda codes: step(tokenizer.params, tokenizer.statistics, codes)


def decode_program(model: Any) -> Any:
    """Jitted: parameters, statistics and codes "b l q" to uint8 images."""
    return jax.jit(
        lambda params, statistics, codes: image_files.to_bytes(
            model.decode(params, statistics, codes)
        )
    )


def decode_all(
    tokenizer: open_run.TokenizerRun, codes: Sequence[np.ndarray], batch_size: int = 500
) -> np.ndarray:
    """uint8 images of any number of codes "l q"."""
    decode, images = decoder(tokenizer), []
    batch_size = open_run.batch_for(tokenizer.mesh, batch_size, len(codes))
    for start in range(0, len(codes), batch_size):
        rows = codes[start : start + batch_size]
        filled = np.stack([*rows, *[rows[-1]] * (batch_size - len(rows))])
        batch = open_run.put_rows(tokenizer.mesh, {"codes": filled})
        images.append(open_run.fetch(decode(batch["codes"]))[: len(rows)])
    return np.concatenate(images)


def partial_decoder(tokenizer: open_run.TokenizerRun) -> Any:
    """Jitted: codes and mask to uint8 images of the revealed vectors' sum alone."""

    @jax.jit
    def step(params, statistics, codes, is_masked):
        codebooks = tokenizer.model.codebooks(statistics)
        revealed = rvq_masking.revealed_embedding(codes, is_masked, codebooks)
        decoded = tokenizer.model.decode_vectors(params, revealed)
        return image_files.to_bytes(decoded)

    return lambda codes, is_masked: step(tokenizer.params, tokenizer.statistics, codes, is_masked)


def batches_of(
    mesh: Mesh,
    labels: np.ndarray,
    prompt: Prompt | None,
    seed: int,
    batch_size: int,
    order: np.ndarray | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The first row of each batch, and what the sampler takes; the last batch is filled up."""
    batch_size = open_run.batch_for(mesh, batch_size, len(labels))
    order = np.arange(len(labels), dtype=np.int32) if order is None else order.astype(np.int32)
    make_keys = jax.jit(lambda index: keys.example_keys(jax.random.key(seed), index))
    for start in range(0, len(labels), batch_size):
        inside = np.minimum(np.arange(start, start + batch_size), len(labels) - 1)
        index = order[inside]
        rows = {"index": index, "labels": labels[index]}
        if prompt is not None:
            rows["codes"] = prompt.codes[index]
            rows["is_masked"] = np.broadcast_to(prompt.is_masked, prompt.codes.shape)[index]
        batch = open_run.put_rows(mesh, rows)
        yield start, batch | {"keys": make_keys(batch["index"])}
