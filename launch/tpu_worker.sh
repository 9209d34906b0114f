#!/usr/bin/env bash
# What launch/tpu_pod.sh does on each host of a TPU pod: install, run, stop.
#   bash launch/tpu_worker.sh install
#   bash launch/tpu_worker.sh run VERB [flags of the verb]
#   bash launch/tpu_worker.sh stop
# A run is detached, so that a broken ssh connection does not end it; its log is in the folder
# /tmp/resgen_run-UID, or RESGEN_RUN=DIR.
# RESGEN=/path/to/resgen names the program, otherwise it is the installed one.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
set -euo pipefail
# Outside the tree, which every start replaces.
export RESGEN_VENV="${RESGEN_VENV:-$HOME/resgen_venv}"
source launch/environment.sh
source launch/common.sh
# In /tmp, which a reboot clears: a process id from before it means nothing.
folder="${RESGEN_RUN:-/tmp/resgen_run-$(id -u)}"
# Seconds for a checkpoint, before a run that was told to stop is killed.
patience="${RESGEN_PATIENCE:-600}"

running_pid() {
    local pid
    pid="$(cat "$folder/pid" 2>/dev/null)" || return 1
    kill -0 "$pid" 2>/dev/null && echo "$pid"
}

stop() {
    local pid deadline="$((SECONDS + patience))"
    pid="$(running_pid)" || return 0
    say "letting the run that is going on save and stop"
    # For the one who waits for it, to be told from a preemption.
    touch "$folder/stopped-$pid"
    kill -TERM "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            say "it did not end in $patience s; killing it"
            kill -KILL -- "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
            return 0
        fi
        sleep 1
    done
}

install() {
    # Images of TPU hosts lag behind: Ubuntu 22.04 has Python 3.10.
    if ! find_python >/dev/null 2>&1; then
        python3 -m pip install --quiet --user uv
        python3 -m uv python install 3.12
        PYTHON="$(python3 -m uv python find 3.12)"
        export PYTHON
    fi
    install_package tpu
}

run_verb() {
    local resgen="${RESGEN:-$venv/bin/resgen}" pid follower code=0
    [ "$#" -gt 0 ] || refuse "no verb to run"
    [ -x "$resgen" ] || refuse "$resgen is not there; first: bash launch/tpu_worker.sh install"
    stop
    mkdir -p "$folder"
    : >"$folder/log"
    # tpu before cpu: a host that does not find its chips fails, instead of training on its cores.
    JAX_PLATFORMS="${JAX_PLATFORMS:-tpu,cpu}" setsid "$resgen" "$@" \
        </dev/null >>"$folder/log" 2>&1 &
    pid="$!"
    echo "$pid" >"$folder/pid"
    tail -n +1 -f --sleep-interval=0.2 --pid="$pid" "$folder/log" &
    follower="$!"
    wait "$pid" || code="$?"
    wait "$follower" || true
    if [ "$code" -eq 3 ] && [ -e "$folder/stopped-$pid" ]; then
        code=130
    fi
    rm -f "$folder/stopped-$pid"
    return "$code"
}

[ "$#" -gt 0 ] || refuse "say what: install, run VERB or stop"
what="$1"
shift
case "$what" in
    install) install ;;
    run) run_verb "$@" ;;
    stop) stop ;;
    *) refuse "'$what' is none of install, run and stop" ;;
esac
