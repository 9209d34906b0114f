"""Compiled programs kept on disk, so that the same command compiles only once on a machine."""

import hashlib
import os
import pathlib
import platform
from typing import Any

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
DEFAULT = "~/.cache/resgen_jax/compile"
CPU_FACTS = ("vendor_id", "cpu family", "model", "flags", "Features")


def switch_on() -> None:
    """JAX's persistent cache in a folder of ours, unless the user has said where or that not.

    JAX_COMPILATION_CACHE_DIR names another place, gs:// too; JAX_ENABLE_COMPILATION_CACHE=false
    switches it off. A folder that cannot be made leaves it off.
    """
    import jax

    config: Any = jax.config  # its options are made at run time
    if VARIABLE in os.environ or config.jax_compilation_cache_dir is not None:
        return
    try:
        folder = pathlib.Path(DEFAULT).expanduser() / machine()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # read-only, or no home at all
        return
    if os.access(folder, os.W_OK):
        config.update("jax_compilation_cache_dir", str(folder))


def machine() -> str:
    """Names the kind of this machine's CPU: programs for another one warn, or do not run at all.

    A home folder is often shared by machines of several kinds.
    """
    facts = [platform.machine(), platform.processor()]
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:  # no Linux
        lines = []
    facts += [line for line in lines if line.partition(":")[0].strip() in CPU_FACTS]
    return f"{platform.machine()}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:8]}"
