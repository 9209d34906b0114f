#!/usr/bin/env bash
# Sourced by the scripts beside it: finds a Python, makes the virtual environment, installs the
# package.

venv="${RESGEN_VENV:-.venv}"

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if command -v "$candidate" >/dev/null 2>&1 && is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    echo "launch: no Python >= 3.11 found${PYTHON:+ at PYTHON=$PYTHON}; install one, or name it:" \
        "PYTHON=/path/to/python3.12 bash $0" >&2
    return 2
}

make_venv() {
    local python
    if [ -x "$venv/bin/python" ] && is_new_enough "$venv/bin/python" \
        && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    if [ -e "$venv" ]; then
        echo "launch: $venv is there but has no working Python >= 3.11 with pip;" \
            "move it away and run again" >&2
        return 2
    fi
    python="$(find_python)" || return 2
    echo "launch: making $venv with $("$python" --version)"
    if ! "$python" -m venv "$venv"; then
        rm -rf "$venv"
        echo "launch: $python cannot make a virtual environment;" \
            "on Debian and Ubuntu install the package python3-venv" >&2
        return 2
    fi
}

# install_package EXTRA: editable, and only when what it depends on has changed.
install_package() {
    local extra="$1" stamp wanted
    make_venv || return 2
    stamp="$venv/.installed-${extra:-plain}"
    wanted="$(pwd -P) $(cat setup.cfg pyproject.toml | cksum) $("$venv/bin/python" --version)"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        return
    fi
    echo "launch: installing resgen_jax${extra:+[$extra]} into $venv" \
        "(a minute or two the first time)"
    if ! "$venv/bin/python" -m pip install -qq --disable-pip-version-check \
        --editable ".${extra:+[$extra]}"; then
        echo "launch: the installation failed; see the lines above, then run again" >&2
        return 2
    fi
    echo "$wanted" >"$stamp"
}
