"""What the fields of a dataclass mean: the comments that stand beside them in its source."""

import ast
import functools
import inspect
import io
import textwrap
import tokenize
from collections.abc import Mapping


@functools.cache
def meanings(cls: type) -> Mapping[str, str]:
    """The comment of each field of `cls`, behind it or in the lines above it; "" without one."""
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):  # a package without its source still runs
        return {}
    lines = source.splitlines()
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found: dict[str, str] = {}
    body = ast.parse(source).body[0]
    for node in body.body if isinstance(body, ast.ClassDef) else ():
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            first = above = node.lineno
            while lines[above - 2].lstrip().startswith("#"):
                above -= 1
            written = [*range(above, first), node.end_lineno]
            text = " ".join(comments[line] for line in written if line in comments)
            found[node.target.id] = text.rstrip(".")
    return found


def summary(cls: type) -> str:
    """The first sentence of its docstring."""
    return (inspect.getdoc(cls) or "").partition("\n")[0].rstrip(".")
