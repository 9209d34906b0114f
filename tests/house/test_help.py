"""Every page of help comes at once: nothing is imported on the way that takes its time."""

import subprocess
import sys

from resgen_jax.cli import __main__ as cli
from resgen_jax.cli import scale_flags

# What takes a tenth of a second or more to import, and what brings it.
HEAVY = {
    *("jax", "jaxlib", "jaxtyping", "numpy", "scipy", "flax", "optax", "orbax", "grain", "chex"),
    *("sklearn", "mlxtend", "matplotlib", "PIL", "safetensors", "tensorboardX", "array_record"),
    *("absl", "ml_collections", "rich", "jinja2", "torch"),
}
CODE = """
import sys
from resgen_jax.cli import __main__ as cli
for line in sys.stdin.read().splitlines():
    print(f"{line}: {cli.main(line.split())}", *({heavy} & set(sys.modules)), file=sys.stderr)
"""


def test_no_page_of_help_imports_what_is_heavy():
    pages = ["", *cli.VERBS, *(f"scale {action}" for action in scale_flags.ACTIONS)]
    lines = [f"{page} --help".strip() for page in pages]
    done = subprocess.run(
        [sys.executable, "-c", CODE.replace("{heavy}", repr(HEAVY))],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [f"{line}: 0" for line in lines]
    assert done.stdout.count("usage: resgen") == len(pages)
