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
# More memory, but neither arithmetic nor weights twice.
keep=--config.model.trunk.remat=matmuls

# v5p is named after its cores, two a chip.
row resgen_576m v5e-256 "$resgen,576m" "$batch=4096" "$fsdp=32" "$keep"
row resgen_576m v5e-16 "$resgen,576m" "$batch=512" "$fsdp=16" "$keep"
row resgen_576m v6e-256 "$resgen,576m" "$batch=4096" "$fsdp=32" "$keep"
row resgen_576m v5p-256 "$resgen,576m" "$batch=4096" "$fsdp=32" "$keep"
row resgen_1b v5e-256 "$resgen,1b" "$batch=4096" "$fsdp=32" "$keep"
row resgen_1b v5e-16 "$resgen,1b" "$batch=256" "$fsdp=16" "$keep"
row resgen_1b_4096 v5e-16 "$resgen,1b" "$batch=4096" "$fsdp=16"
row resgen_1b v6e-256 "$resgen,1b" "$batch=4096" "$fsdp=32" "$keep"
row resgen_1b v5p-256 "$resgen,1b" "$batch=4096" "$fsdp=32" "$keep"
row resgen_576m v5p-2048 "$resgen,576m" "$batch=16384" "$fsdp=64" "$keep"
for slice in v5e-256 v5e-16 v6e-256 v5p-256; do
    chips="${slice#*-}"
    row sampler "$slice" "$resgen,576m" "$batch=$((16 * chips))" --program=sample
    row evaluator "$slice" "$rq_vae" "$batch=$((8 * chips))" --program=evaluate
    row decoder "$slice" "$rq_vae" "$batch=$((8 * chips))" --program=decode
    row encoder "$slice" "$rq_vae" "$batch=$((8 * chips))" --program=encode
done
row rq_vae v5e-16 "$rq_vae" "$batch=128"
row rq_vae v5e-256 "$rq_vae" "$batch=1024"
row rq_vae v6e-256 "$rq_vae" "$batch=1024"
row rq_vae v5p-256 "$rq_vae" "$batch=1024"

"$venv/bin/python" -m resgen_jax scale compile --table="$where"
