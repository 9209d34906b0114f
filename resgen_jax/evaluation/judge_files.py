"""A judge of photographs on the disk: kept once it is trained, and while it is being trained."""

import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from resgen_jax.core import errors, trees
from resgen_jax.evaluation import archive, judge, photo_judge
from resgen_jax.io import json_files, paths

META = "meta"
Facts = Mapping[str, Any]  # what the judge was trained on, and how


def name(fingerprint: str) -> str:
    """The file of the judge of these training images."""
    return f"judge_{fingerprint[:16]}.npz"


def save(path: paths.Path, judge_of_images: judge.Judge, facts: Facts) -> None:
    """Writes a judge of photographs and the facts about it; by the first process alone."""
    arrays = {
        **{
            f"net/{name}": leaf for name, leaf in trees.named_leaves(judge_of_images.params).items()
        },
        "mean": judge_of_images.mean,
        "deviation": judge_of_images.deviation,
    }
    shape = list(judge_of_images.image_shape)
    with archive.writing(path, is_on=jax.process_index() == 0) as out:
        out.array(META, json.dumps({**facts, "image_shape": shape}))
        for key, value in arrays.items():
            out.array(key, np.asarray(value))


def load(path: paths.Path) -> tuple[judge.Judge, dict[str, Any]]:
    """The judge in a file of `save`, and the facts; UserError for another file, or part of one."""
    facts = _facts(path)
    with paths.reading(path) as file:
        held = archive.names(file)
        arrays = {key: np.array(archive.read(file, key)) for key in held if key != META}
    try:
        found = judge.Judge(
            forward=photo_judge.forward,
            params=_nested(arrays),
            mean=arrays["mean"],
            deviation=arrays["deviation"],
            image_shape=tuple(facts["image_shape"]),
            batch_size=judge.BATCH_SIZE,
            compile_seconds=0.0,
        )
        jax.eval_shape(found.forward, found.params, np.zeros((1, *found.image_shape), np.uint8))
    except (KeyError, TypeError, ValueError) as failure:
        raise errors.UserError(
            f"{path} is no judge that this version can read ({errors.reason(failure)}); remove it "
            "and train it anew"
        ) from failure
    return found, facts


def save_state(path: paths.Path, state: photo_judge.State, facts: Facts) -> None:
    """Writes a training under way, so that it can go on."""
    with archive.writing(path, is_on=jax.process_index() == 0) as out:
        out.array(META, json.dumps(dict(facts)))
        for index, leaf in enumerate(jax.tree.leaves(state)):
            out.array(f"{index:04d}", np.asarray(leaf))


def load_state(path: paths.Path, like: photo_judge.State, facts: Facts) -> photo_judge.State | None:
    """The state in a file of `save_state`; None without one of these facts and shapes."""
    leaves, structure = jax.tree.flatten(like)
    if not path.is_file() or _facts(path) != json.loads(json.dumps(dict(facts))):
        return None
    with paths.reading(path) as file:
        wanted = [f"{index:04d}" for index in range(len(leaves))]
        if sorted(archive.names(file)) != sorted([META, *wanted]):
            return None
        found = [np.array(archive.read(file, key)) for key in wanted]
    if any(np.shape(leaf) != one.shape for leaf, one in zip(leaves, found, strict=True)):
        return None
    state = jax.tree.unflatten(structure, found)
    return state._replace(step=int(state.step), num_averaged=int(state.num_averaged))


def _facts(path: paths.Path) -> dict[str, Any]:
    with paths.reading(path) as file:
        try:
            facts = json_files.parse(str(archive.read(file, META)))
        except ValueError:
            facts = None
    if not isinstance(facts, dict):
        raise errors.UserError(f"{path} is no file of a judge; remove it and train the judge anew")
    return facts


def _nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The tree of parameters by their names."""
    tree: dict[str, Any] = {}
    for key, value in arrays.items():
        if key.startswith("net/"):
            *inside, last = key.removeprefix("net/").split("/")
            node = tree
            for part in inside:
                node = node.setdefault(part, {})
            node[last] = value
    return tree
