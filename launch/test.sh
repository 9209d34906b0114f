#!/usr/bin/env bash
# Runs the tests; arguments go on to pytest, e.g. bash launch/test.sh tests/quantizers -k rvq
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
set -euo pipefail
source launch/environment.sh
install_package "${RESGEN_EXTRA:-test}"
exec "$venv/bin/python" -m pytest "$@"
