#!/usr/bin/env bash
# Runs a verb as several processes on this machine that make one run together.
#   bash launch/local.sh [flags] VERB [flags of the verb]
#     --processes=2   how many
#     --gpus          process N gets GPU N alone; otherwise they run on the CPU
#     --port=PORT     where process 0 waits for the others; otherwise a free one
#     --print         print the commands and run nothing
#   bash launch/local.sh --processes=2 train --config=tokenizers/rq_vae_digits.py --workdir=runs/two
# If one fails the others are killed. Ctrl-C or SIGTERM lets all of them save and stop (exit code
# 3); a second one kills them. RESGEN=/path/to/resgen names the program, otherwise it is installed.
here="$PWD"
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
set -euo pipefail
source launch/environment.sh
source launch/common.sh

processes=2 gpus="" port=""
while [ "$#" -gt 0 ]; do
    case "$1" in
        --processes=*) processes="${1#*=}" ;;
        --port=*) port="${1#*=}" ;;
        --gpus) gpus=yes ;;
        --print) printing=yes ;;
        -h | --help) print_help launch/local.sh && exit ;;
        -*) refuse "unknown flag $1; it has --processes=N, --port=PORT, --gpus and --print" ;;
        *) break ;;
    esac
    shift
done
check_count processes "$processes" 1
[ -z "$port" ] || check_count port "$port" 1
check_verb "$@"

is_taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Below the range from which the system hands out ports by itself.
while [ -z "$port" ]; do
    port="$((20000 + RANDOM % 10000))"
    ! is_taken "$port" || port=""
done

if [ -n "${RESGEN:-}" ]; then
    resgen="$RESGEN"
elif [ -n "$printing" ]; then
    resgen="$venv/bin/resgen"
else
    install_package "${RESGEN_EXTRA:-}"
    resgen="$(cd "$venv/bin" && pwd)/resgen"
fi

# command_of NUMBER VERB [flags]: sets the array `command`.
command_of() {
    local number="$1" device
    shift
    if [ -n "$gpus" ]; then
        device="CUDA_VISIBLE_DEVICES=$number"
    else
        device="JAX_PLATFORMS=cpu"
    fi
    command=(env "$device" "$resgen" "$@" "--distributed=127.0.0.1:$port,$processes,$number")
}

if [ -n "$printing" ]; then
    for ((number = 0; number < processes; number++)); do
        command_of "$number" "$@"
        printf '%s &\n' "$(run "${command[@]}")"
    done
    echo wait
    exit
fi

pids=()
asked="" result=0 deadline=0

# To the processes alone: what numbers their lines has to outlive them.
# shellcheck disable=SC2329  # the trap calls it
stop() {
    local pid
    if [ -n "$asked" ]; then
        say "killing all processes"
        result=130
        kill_all
        return
    fi
    asked=yes
    say "letting all processes save and stop; once more kills them"
    for pid in "${pids[@]}"; do
        # jax.distributed listens to SIGTERM, and to it alone.
        [ -z "$pid" ] || kill -TERM "$pid" 2>/dev/null || true
    done
}

kill_all() {
    local pid
    for pid in ${pids[@]+"${pids[@]}"}; do
        [ -z "$pid" ] || kill -KILL -- "-$pid" 2>/dev/null || true
    done
}

trap stop INT TERM HUP
trap kill_all EXIT

# Every process leads a group: a Ctrl-C in the terminal comes to this script only, and a kill takes
# the workers of a process along with it.
set -m
cd "$here"
for ((number = 0; number < processes; number++)); do
    command_of "$number" "$@"
    if [ "$number" -eq 0 ]; then
        "${command[@]}" </dev/null &
    else
        "${command[@]}" </dev/null \
            > >(awk -v n="$number" '{ print "[" n "] " $0; fflush() }') 2>&1 &
    fi
    pids+=("$!")
done

while :; do
    running=0
    for ((number = 0; number < processes; number++)); do
        pid="${pids[number]}"
        [ -n "$pid" ] || continue
        if kill -0 "$pid" 2>/dev/null; then
            running="$((running + 1))"
            continue
        fi
        code=0
        wait "$pid" || code="$?"
        pids[number]=""
        if [ "$code" -ne 0 ] && [ "$result" -eq 0 ]; then
            result="$code"
            # 3: the others have saved too, or are about to. Else they wait for a dead one.
            if [ "$code" -eq 3 ]; then grace=120; else grace="${RESGEN_PATIENCE:-10}"; fi
            deadline="$((SECONDS + grace))"
            say "process $number ended with exit code $code"
        fi
    done
    [ "$running" -gt 0 ] || break
    if [ "$result" -ne 0 ] && [ "$SECONDS" -ge "$deadline" ]; then
        say "killing the $running that still run"
        kill_all
    fi
    sleep 0.2
done
exit "$result"
