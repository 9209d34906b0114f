#!/usr/bin/env bash
# Opens hostile files as verbs would (weights, pictures, npz, tar, parquet, codes, exports, runs:
# known attacks, every field of their JSON removed or wrong, mutations), each within 2 s of CPU time
# and 300 MB beyond a whole file of its kind; fails unless each is read or refused in one line.
#   bash launch/check_files.sh [--num_files=1000] [--seed=0] [--output=DIR] [--kinds=tar,runs]
# --output gets files.md and files.json; --kinds takes parts of the names of kinds; --keep=DIR gets
# the files that ended wrong.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
set -euo pipefail
source launch/environment.sh
install_package test
exec "$venv/bin/python" tests/faults/check_files.py "$@"
