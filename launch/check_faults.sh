#!/usr/bin/env bash
# Does faults to real training runs (signals, damaged, failing and full disks, other data, NaN), and
# counts how these end: with the losses of an undisturbed run, refused, or wrong, which fails.
#   bash launch/check_faults.sh [--num_faults=200] [--seed=0] [--output=DIR] [--kinds=flipped,disk]
# --output gets faults.md and faults.json; --kinds takes parts of the names of kinds. A full disk
# is one mounted for it, which root may do: elsewhere files are limited in their size.
# Errors of input and output come from a small C library, or without a compiler from an audit hook.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
set -euo pipefail
source launch/environment.sh
install_package test
exec "$venv/bin/python" tests/faults/check_faults.py "$@"
