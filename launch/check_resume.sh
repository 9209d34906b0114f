#!/usr/bin/env bash
# Kills a run with SIGKILL at a random moment, starts it again, and compares its losses with those
# of a run left alone.
#   bash launch/check_resume.sh [DIR]      DIR is made; the default is a new folder under runs/
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
set -euo pipefail
source launch/environment.sh
install_package ""
where="${1:-runs/check_resume_$$}"
mkdir "$where"
train=("$venv/bin/resgen" train --config=tokenizers/rq_vae_digits.py --config.train.num_steps=300
    --config.train.log_every=1 --config.train.checkpoint_every=20 --config.train.evaluate_every=100)

"${train[@]}" --workdir="$where/alone"
"${train[@]}" --workdir="$where/killed" &
run=$!
# Not before a finished checkpoint (a name of digits alone), without which the run would begin anew.
until find "$where/killed/checkpoints" -maxdepth 1 2>/dev/null | grep -qE '/[0-9]+$'; do
    sleep 0.2
done
sleep "$((RANDOM % 5)).$((RANDOM % 10))"
kill -9 "$run" || { echo "the run ended before it could be killed" >&2; exit 1; }
wait "$run" || true
echo "killed after step $(tail -n 1 "$where/killed/metrics.jsonl" | grep -o '"step": [0-9]*')"
"${train[@]}" --workdir="$where/killed"

"$venv/bin/python" - "$where" <<'PYTHON'
import json, pathlib, sys

def lines(name):
    text = pathlib.Path(sys.argv[1], name, "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]

def losses(name):
    return [line for line in lines(name) if line["split"] in ("train", "held_out")]

# Each start compiles before its first step; one that went on does so after the first step.
first = max(line["step"] for line in lines("killed")
            if line["split"] == "speed" and "compile_seconds" in line)
if first == 1:
    sys.exit("the run began anew instead of going on from a checkpoint; nothing was checked")
alone, killed = losses("alone"), losses("killed")
if alone != killed:
    sys.exit("the run that was killed differs from the one left alone")
equal = f"{len(alone)} lines of metrics, {len(alone[0])} values each"
print(f"went on with step {first}; equal, bit for bit: {equal}")
PYTHON
