"""Floor 6: one file a method. A recipe is all that the rest of the library knows of it."""

from resgen_jax.core import errors
from resgen_jax.recipes import interface, resgen, rq_transformer, rq_vae

RECIPES: dict[str, interface.Recipe] = {
    recipe.name: recipe for recipe in (rq_vae.RECIPE, resgen.RECIPE, rq_transformer.RECIPE)
}


def find(name: object) -> interface.Recipe:
    """The recipe of `config.task`; UserError, naming those that are known, for another one."""
    if not isinstance(name, str) or name not in RECIPES:
        known = ", ".join(map(repr, RECIPES))
        raise errors.UserError(f"config.task is {name!r}; expected one of {known}")
    return RECIPES[name]
