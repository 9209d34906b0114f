#!/usr/bin/env bash
# Compiles the programs below for TPU slices that need not be there, one after the other, and prints
# what it found as a Markdown table. A row that is in DIR already is not compiled again: to have it
# anew, remove its file. Another model is another line.
#   bash launch/compile_table.sh [DIR] [WORD]     DIR: runs/compiled; WORD: only rows named so
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
set -euo pipefail
source launch/environment.sh
install_package tpu
where="${1:-runs/compiled}"
word="${2:-}"
mkdir -p "$where"

# row NAME TOPOLOGY CONFIG FLAGS...
row() {
    local name="$1.$2" topology="$2" config="$3"
    shift 3
    case "$name" in *"$word"*) ;; *) return 0 ;; esac
    [ ! -e "$where/$name.json" ] || return 0
    echo "$name" >&2
    "$venv/bin/python" -m resgen_jax scale compile --config="$config" --topology="$topology" \
        --output="$where/$name.json" "$@" >"$where/$name.log" 2>&1 \
        || { echo "$name failed:" >&2; tail -n 3 "$where/$name.log" >&2; }
}

resgen=generators/resgen_imagenet256.py:depth16
rq_vae=tokenizers/rq_vae_imagenet256.py
batch=--config.data.batch_size
fsdp=--config.mesh.fsdp

row resgen_576m v5e-256 "$resgen,576m" "$batch=4096" "$fsdp=32"
row resgen_1b v5e-256 "$resgen,1b" "$batch=4096" "$fsdp=32"
row rq_vae v5e-256 "$rq_vae" "$batch=1024"
row sampler v5e-256 "$resgen,576m" "$batch=2048" --program=sample
row decoder v5e-256 "$rq_vae" "$batch=2048" --program=decode
row evaluator v5e-256 "$rq_vae" "$batch=2048" --program=evaluate
row encoder v5e-256 "$rq_vae" "$batch=2048" --program=encode

"$venv/bin/python" -m resgen_jax scale compile --table="$where"
