"""Floor 6: one file a method. A recipe is all that the rest of the library knows of it."""

from resgen_jax.core import build, errors
from resgen_jax.recipes import interface, resgen, rq_vae

RECIPES: dict[str, interface.Recipe] = {
    recipe.name: recipe for recipe in (rq_vae.RECIPE, resgen.RECIPE)
}


def find(name: object) -> interface.Recipe:
    """The recipe of `config.task`; UserError, naming the nearest, for an unknown one."""
    if not isinstance(name, str) or name not in RECIPES:
        raise errors.UserError(f"config.task is {name!r}; {build.nearest(str(name), RECIPES)}")
    return RECIPES[name]
