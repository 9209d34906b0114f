"""Where the state of a task lies on a mesh."""

from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jaxtyping import PRNGKeyArray

from resgen_jax.core import trees
from resgen_jax.runtime import mesh as meshes
from resgen_jax.training.state import PyTree, Task, TrainState


def state_shardings(
    mesh: Mesh, task: Task, key: PRNGKeyArray | None = None, rules: Mapping = meshes.RULES
) -> TrainState:
    """Where every array of the task's state goes, in the structure of the state."""
    abstract = jax.eval_shape(task.init, jax.random.key(0) if key is None else key)
    return _shardings_of(abstract, mesh, task, rules)


def abstract_state(mesh: Mesh, task: Task, rules: Mapping = meshes.RULES) -> TrainState:
    """Shapes, types and shardings of the task's state: what a checkpoint is restored into."""
    abstract = jax.eval_shape(task.init, jax.random.key(0))  # once: it traces the whole network
    return _placed(abstract, _shardings_of(abstract, mesh, task, rules))


def abstract_model(mesh: Mesh, model: Any) -> dict[str, PyTree]:
    """Shapes, types and shardings of a tokenizer's or generator's parameters and statistics."""
    abstract = jax.eval_shape(model.init, jax.random.key(0))
    return _placed(abstract, meshes.tree_shardings(mesh, abstract, model.axes))


def _placed(abstract: PyTree, shardings: PyTree) -> PyTree:
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        abstract,
        shardings,
    )


def _shardings_of(abstract: TrainState, mesh: Mesh, task: Task, rules: Mapping) -> TrainState:
    params = meshes.tree_shardings(mesh, abstract.params, task.axes(), rules)
    return TrainState(
        step=meshes.replicated(mesh),
        params=params,
        opt_state=_like_params(mesh, abstract, params),
        average_params=params,
        statistics=meshes.tree_shardings(mesh, abstract.statistics, task.statistics_axes(), rules),
    )


def _like_params(mesh: Mesh, abstract: TrainState, params: PyTree) -> PyTree:
    """Optimizer state: moments lie where their parameter lies, all else is replicated.

    A moment is known by its path, which ends in that of its parameter, and by its shape; this holds
    for any chain of optax transformations, masked or partitioned ones included.
    """
    shapes = {name: leaf.shape for name, leaf in trees.named_leaves(abstract.params).items()}
    places = trees.named_leaves(params)

    def place(path: Any, leaf: Any) -> NamedSharding:
        keys = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        for start in range(len(keys)):
            name = "/".join(keys[start:])
            if shapes.get(name) == leaf.shape:
                return places[name]
        return meshes.replicated(mesh)

    return jax.tree_util.tree_map_with_path(place, abstract.opt_state)
