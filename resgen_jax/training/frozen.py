"""Parameters that stay as they are while others train, by name."""

import operator

import jax
import optax

from resgen_jax.core import errors, trees
from resgen_jax.training.state import PyTree


def freeze(
    optimizer: optax.GradientTransformation, frozen: tuple[str, ...]
) -> optax.GradientTransformation:
    """As `optimizer`, but parameters below these names (`encoder/vit`) never move.

    They do not decay either, have no moments, and do not count for the norm that is clipped. Its
    `init` raises UserError for a name that no parameter has, and where none would be left.
    """
    for name in frozen:
        if not name:
            raise errors.UserError("a name of frozen parameters is empty; give one such as encoder")

    def stays(params: PyTree) -> PyTree:
        return is_frozen(params, frozen)

    def moves(params: PyTree) -> PyTree:
        return jax.tree.map(operator.not_, stays(params))

    return optax.chain(optax.masked(optimizer, moves), optax.masked(optax.set_to_zero(), stays))


def is_frozen(params: PyTree, frozen: tuple[str, ...]) -> PyTree:
    """True for the leaves whose name is one of these, or goes on behind it with a slash.

    Raises UserError for a name that no parameter has, and where nothing would be left to train.
    """
    names = list(trees.named_leaves(params))
    for name in frozen:
        if not any(_is_below(each, name) for each in names):
            parts = sorted({each.partition("/")[0] for each in names})
            raise errors.UserError(
                f"no parameter is named {name!r} or below it; they begin with {', '.join(parts)}"
            )
    found = [any(_is_below(each, name) for name in frozen) for each in names]
    if all(found):
        raise errors.UserError(f"all parameters are frozen by {frozen}; leave some to train")
    return jax.tree.unflatten(jax.tree.structure(params), found)


def _is_below(name: str, above: str) -> bool:
    return f"{name}/".startswith(f"{above}/")
