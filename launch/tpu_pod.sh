#!/usr/bin/env bash
# Runs a verb on all hosts of a Cloud TPU pod, which it makes if there is none.
#   bash launch/tpu_pod.sh --name=NAME --zone=ZONE [flags] VERB [flags of the verb]
#     --name=NAME --zone=ZONE [--project=ID]   the TPU; one that is there is used
#     --type=v5litepod-256   to make one, with --runtime=v2-alpha-tpuv5-lite
#     --queued               make it as a queued resource, and wait in the queue
#     --spot                 make it of Spot capacity, which may be taken away at any time
#     --repository=URL [--revision=BRANCH]   clone that; otherwise this tree is copied as it is
#     --max_restarts=10      after crashes; starts after a preemption are not counted
#     --delete               delete the TPU when the run is done
#     --stop                 in place of a verb: let the run save and stop
#     --print                print the commands of one start and run nothing
#   bash launch/tpu_pod.sh --name=pod --zone=us-west4-a --type=v5litepod-256 \
#       --runtime=v2-alpha-tpuv5-lite --spot --queued \
#       train --config=generators/resgen_imagenet256.py --workdir=gs://BUCKET/run
# Run again, it stops what runs there, after saving, and goes on from the newest checkpoint; after a
# preemption it makes the TPU anew by itself. Exit codes are those of resgen: 0 done, 2 a mistake.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
set -euo pipefail
source launch/common.sh

name="" zone="" project="" type="" runtime="" repository="" revision="" max_restarts=10
queued="" spot="" delete="" stop=""
while [ "$#" -gt 0 ]; do
    case "$1" in
        --name=*) name="${1#*=}" ;;
        --zone=*) zone="${1#*=}" ;;
        --project=*) project="${1#*=}" ;;
        --type=*) type="${1#*=}" ;;
        --runtime=*) runtime="${1#*=}" ;;
        --repository=*) repository="${1#*=}" ;;
        --revision=*) revision="${1#*=}" ;;
        --max_restarts=*) max_restarts="${1#*=}" ;;
        --queued) queued=yes ;;
        --spot) spot=yes ;;
        --delete) delete=yes ;;
        --stop) stop=yes ;;
        --print) printing=yes ;;
        -h | --help) print_help launch/tpu_pod.sh && exit ;;
        -*) refuse "unknown flag $1; \`bash launch/tpu_pod.sh --help\` lists them" ;;
        *) break ;;
    esac
    shift
done
check_given name "$name" "the name of the TPU" pod
check_name name "$name" 60
check_given zone "$zone" "the zone of the TPU" us-west4-a
check_count max_restarts "$max_restarts" 0
if [ -n "$stop" ]; then
    [ "$#" -eq 0 ] || refuse "--stop takes no verb, but here is '$1'"
else
    check_verb "$@"
    check_shared_workdir "$@"
fi
if [ -n "$type$queued$spot" ]; then
    check_given type "$type" "the kind of TPU to make" v5litepod-256
    check_given runtime "$runtime" "the software of its hosts" v2-alpha-tpuv5-lite
fi
[ -z "$revision" ] || check_given repository "$repository" "--revision is a branch of it" URL

where=("--zone=$zone")
[ -z "$project" ] || where+=("--project=$project")
make=("--accelerator-type=$type")
if [ -n "$queued" ]; then
    make+=("--runtime-version=$runtime" "--node-id=$name")
else
    make+=("--version=$runtime")
fi
[ -z "$spot" ] || make+=(--spot)

tpu() {
    run gcloud compute tpus "$@" "${where[@]}"
}

on_all_hosts() {
    tpu tpu-vm ssh "$name" --worker=all --command="$1"
}

# What the service says: READY, PREEMPTED, ..., or of ours MISSING, and UNKNOWN if it said nothing.
errors="${TMPDIR:-/tmp}/resgen_jax-$name.errors"
describe() {
    if gcloud compute tpus "$1" describe "$name" "${where[@]}" --format="value($2)" \
        2>"$errors"; then
        return
    elif grep -qiE 'NOT_FOUND|not found' "$errors"; then
        echo MISSING
    else
        say "gcloud: $(head -n 1 "$errors")"
        echo UNKNOWN
    fi
}

state() {
    local now
    now="$(describe tpu-vm state)"
    if [ "$now" = MISSING ] && [ -n "$queued" ]; then
        now="$(describe queued-resources state.state)"
    fi
    echo "$now"
}

make_pod() {
    if [ -n "$queued" ]; then
        tpu queued-resources create "$name" "${make[@]}"
    else
        tpu tpu-vm create "$name" "${make[@]}"
    fi
}

delete_pod() {
    if [ -n "$queued" ]; then
        tpu queued-resources delete "$name" --force --quiet
    else
        tpu tpu-vm delete "$name" --quiet
    fi
}

# Returns when the TPU is ready, whatever it takes: waiting, making, deleting a preempted one.
make_ready() {
    local now before="" silences=0
    while :; do
        now="$(state)"
        [ "$now" = "$before" ] || say "$name is $now"
        before="$now"
        case "$now" in
            READY) return ;;
            MISSING)
                check_given type "$type" "there is no TPU $name, so say what to make" v5litepod-256
                make_pod
                ;;
            # A Spot TPU that was taken away cannot be started again; a request that failed or was
            # suspended stays in the list under its name.
            PREEMPTED | TERMINATED | SUSPENDED | FAILED)
                check_given type "$type" "$name is $now, so say what to make anew" v5litepod-256
                delete_pod
                ;;
            UNKNOWN)
                # The network may come back; no login and no rights do not.
                silences="$((silences + 1))"
                [ "$silences" -lt 10 ] || exit 1
                sleep "${RESGEN_POLL:-30}"
                ;;
            *) sleep "${RESGEN_POLL:-30}" ;;
        esac
    done
}

# The tree without what is made in it.
archive="${TMPDIR:-/tmp}/resgen_jax-$name.tgz"
put_tree() {
    local unpack worker="resgen_jax/launch/tpu_worker.sh"
    # Its failures are returned: errexit is off where the caller looks at the exit code.
    if [ -n "$repository" ]; then
        unpack="git clone --quiet --depth=1${revision:+ --branch=$(quote "$revision")}"
        unpack="$unpack $(quote "$repository") resgen_jax"
    else
        run tar --exclude=./.git --exclude='./.venv*' --exclude=./.jax_cache --exclude=./runs \
            -czf "$archive" . || return
        tpu tpu-vm scp "$archive" "$name:resgen_jax.tgz" --worker=all || return
        unpack="mkdir resgen_jax && tar -xzf resgen_jax.tgz -C resgen_jax"
    fi
    unpack="rm -rf resgen_jax && $unpack"
    on_all_hosts "{ [ ! -e $worker ] || bash $worker stop; } && $unpack" || return
    on_all_hosts "bash $worker install"
}

run_verb() {
    on_all_hosts "bash resgen_jax/launch/tpu_worker.sh run $(quote_all "$@" --distributed)"
}

if [ -n "$stop" ]; then
    on_all_hosts "bash resgen_jax/launch/tpu_worker.sh stop"
    exit
fi
if [ -n "$printing" ]; then
    [ -z "$type" ] || make_pod
    put_tree
    run_verb "$@"
    [ -z "$delete" ] || delete_pod
    exit
fi
command -v gcloud >/dev/null || refuse "there is no gcloud; install the Google Cloud CLI"
trap 'say "the run goes on; with --stop this stops it, as before it goes on with it"; exit 130' INT

crashes=0
while :; do
    make_ready
    code=0
    { put_tree && run_verb "$@"; } || code="$?"
    case "$code" in
        0) break ;;
        2 | 130) exit "$code" ;;
        3) say "the run was stopped, and saved" ;;
        *)
            if [ "$(state)" = READY ]; then
                crashes="$((crashes + 1))"
                say "the run ended with exit code $code"
                [ "$crashes" -le "$max_restarts" ] || exit "$code"
            else
                say "the TPU was taken away"
            fi
            ;;
    esac
    sleep "${RESGEN_POLL:-30}"
    say "starting again"
done
[ -z "$delete" ] || delete_pod
