#!/usr/bin/env bash
# Runs all tests in two processes (RESGEN_WORKERS sets another number), or what the arguments, which
# go on to pytest, say: bash launch/test.sh tests/quantizers -k rvq
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
set -euo pipefail
source launch/environment.sh
install_package "${RESGEN_EXTRA:-test}"
if [ "$#" -eq 0 ]; then
    # A file stays in one process: its tests share compiled programs.
    set -- -n "${RESGEN_WORKERS:-2}" --dist loadfile
fi
exec "$venv/bin/python" -m pytest "$@"
