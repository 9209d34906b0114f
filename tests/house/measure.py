"""Measures of the house: what a new method touches, how large its parts are, how far configs reach.

python tests/house/measure.py
"""

import ast
import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "resgen_jax"
# Whoever speaks of configs before they are frozen.
BORDER = (PACKAGE / "cli", PACKAGE / "runs" / "configs")
# What belongs to one method alone: its recipe, its network, sampler, task and loss.
OWN = r"{name}(_\w+)?\.py"


def sources():
    """Every file of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def num_lines(paths):
    """Of all of them together."""
    return sum(len(path.read_text().splitlines()) for path in paths)


def own_files(name):
    """The files that one method brings along."""
    return [path for path in sources() if re.fullmatch(OWN.format(name=name), path.name)]


def naming(name):
    """Files of others that name a method's modules, or the method itself."""
    pattern = re.compile(
        rf'\b{name}(_task|_loss|_sampler(_spec)?|_model)?\b(?=[,.\n)]| as )|"{name}"'
    )
    others = [path for path in sources() if path not in own_files(name)]
    return [path for path in others if pattern.search(_code(path))]


def imports():
    """The modules that each module imports, within the package."""
    names = {_name(path): path for path in sources()}
    found = {}
    for name, path in names.items():
        found[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("resgen_jax"):
                targets = {f"{node.module}.{alias.name}" for alias in node.names}
                found[name] |= (targets & set(names)) or ({node.module} & set(names))
    return found


def circles(graph):
    """Groups of modules that need each other, by Tarjan's algorithm."""
    index, low, stack, found = {}, {}, [], []

    def visit(name):
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == index[name]:
            group = []
            while not group or group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def config_dicts():
    """Files below the border that speak of ConfigDict, and how often."""
    below = [path for path in sources() if not any(map(path.is_relative_to, BORDER))]
    counts = {path: path.read_text().count("ConfigDict") for path in below}
    return {path: count for path, count in counts.items() if count}


def packages():
    """Lines of each top package."""
    found = collections.Counter()
    for path in sources():
        parts = path.relative_to(PACKAGE).parts
        found[parts[0] if len(parts) > 1 else "."] += num_lines([path])
    return found


def main():
    """Prints them, a line each."""
    every = packages()
    name, largest = every.most_common(1)[0]
    lines = [
        f"lines of the package: {sum(every.values()):,}",
        f"largest package: {name}, {largest:,} lines, {largest / sum(every.values()):.1%}",
        f"lines of cli: {every['cli']:,}",
        f"circles between files: {len(circles(imports()))}",
        f"uses of ConfigDict below the border: {sum(config_dicts().values())}",
    ]
    for method in ("resgen", "rq_transformer", "rq_vae"):
        own, others = own_files(method), naming(method)
        lines.append(
            f"{method}: {len(own)} files of its own; {len(others)} others name it: "
            f"{', '.join(_name(path).removeprefix('resgen_jax.') for path in others)}"
        )
    sys.stdout.write("\n".join(lines) + "\n")


def _name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _code(path):
    """The source without comments and docstrings."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:] or [ast.Pass()]
    return ast.unparse(tree)


if __name__ == "__main__":
    main()
