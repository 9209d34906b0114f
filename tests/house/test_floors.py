"""Imports only go down the floors, as setup.cfg says, and every package has its floor."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def lint(folder):
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120
    )


def test_imports_only_go_down():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


def test_an_upward_import_and_one_of_a_peer_are_found(tmp_path):
    # The same contracts over a package that breaks them: core reaches up into cli, or to PyTorch.
    (tmp_path / "setup.cfg").write_text((ROOT / "setup.cfg").read_text())
    for folder in ["", *(path.parent.name for path in (ROOT / "resgen_jax").glob("*/__init__.py"))]:
        package = tmp_path / "resgen_jax" / folder
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").write_text("")
    for file in ("pipeline.py", "stream.py"):
        (tmp_path / "resgen_jax" / "data" / file).write_text("import grain\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
    code += "from importlinter.cli import lint_imports; sys.exit(lint_imports())"

    def run():
        return subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )

    assert run().returncode == 0, run().stdout
    (tmp_path / "resgen_jax" / "core" / "trees.py").write_text("from resgen_jax import cli\n")
    done = run()
    assert done.returncode == 1
    assert "resgen_jax.core is not allowed to import resgen_jax.cli" in done.stdout
    (tmp_path / "resgen_jax" / "core" / "trees.py").write_text("import torch\n")
    done = run()
    assert done.returncode == 1
    assert "resgen_jax is not allowed to import torch" in done.stdout
