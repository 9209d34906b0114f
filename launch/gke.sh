#!/usr/bin/env bash
# Runs a verb on TPU slices of a GKE cluster: fills launch/gke.yaml in and gives it to kubectl.
#   bash launch/gke.sh --name=NAME --image=IMAGE [flags] VERB [flags of the verb]
#     --name=NAME             of the JobSet
#     --image=IMAGE           made from the Dockerfile, in a registry that the cluster reads
#     --accelerator=tpu-v5-lite-podslice --topology=16x16   labels of the node pool; here v5e-256
#     --chips_per_host=4      as many hosts as the topology's chips need
#     --slices=1              several are joined over the data centre's network
#     --max_restarts=10       after crashes; restarts after a preemption are not counted
#     --grace_seconds=600     from SIGTERM to SIGKILL
#     --service_account=default   the one that may write to the work directory
#     --print                 print the manifest and run nothing
#   bash launch/gke.sh --name=run --image=REGISTRY/resgen --accelerator=tpu-v5-lite-podslice \
#       --topology=16x16 train --config=generators/resgen_imagenet256.py --workdir=gs://BUCKET/run
# The JobSet operator has to be in the cluster, 0.10 or newer. To stop a run, after saving:
# kubectl delete jobset NAME; the same command goes on with it.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
set -euo pipefail
source launch/common.sh

name="" image="" accelerator="" topology="" chips=4 slices=1 max_restarts=10 grace_seconds=600
service_account=default
while [ "$#" -gt 0 ]; do
    case "$1" in
        --name=*) name="${1#*=}" ;;
        --image=*) image="${1#*=}" ;;
        --accelerator=*) accelerator="${1#*=}" ;;
        --topology=*) topology="${1#*=}" ;;
        --chips_per_host=*) chips="${1#*=}" ;;
        --slices=*) slices="${1#*=}" ;;
        --max_restarts=*) max_restarts="${1#*=}" ;;
        --grace_seconds=*) grace_seconds="${1#*=}" ;;
        --service_account=*) service_account="${1#*=}" ;;
        --print) printing=yes ;;
        -h | --help) print_help launch/gke.sh && exit ;;
        -*) refuse "unknown flag $1; \`bash launch/gke.sh --help\` lists them" ;;
        *) break ;;
    esac
    shift
done
check_given name "$name" "the name of the JobSet" run
# Kubernetes allows 63 characters, of which the names of its pods need some.
check_name name "$name" 40
check_given image "$image" "what the Dockerfile makes" REGISTRY/resgen
check_given accelerator "$accelerator" "the label of the node pool" tpu-v5-lite-podslice
check_name accelerator "$accelerator" 60
check_given topology "$topology" "the label of the node pool" 16x16
check_name service_account "$service_account" 60
check_count chips_per_host "$chips" 1
check_count slices "$slices" 1
check_count max_restarts "$max_restarts" 0
check_count grace_seconds "$grace_seconds" 1
check_verb "$@"
check_shared_workdir "$@"

grid='^[1-9][0-9]{0,3}(x[1-9][0-9]{0,3}){1,2}$'
[[ "$topology" =~ $grid ]] || refuse "--topology=$topology is no grid of chips like 16x16 or 4x4x8"
hosts="$((${topology//x/*}))"
[ "$((hosts % chips))" -eq 0 ] \
    || refuse "--topology=$topology has $hosts chips, no multiple of --chips_per_host=$chips"
hosts="$((hosts / chips))"

# The word $1 as YAML and JSON read it.
in_quotes() {
    local word="$1" backslash=$'\\'
    case "$word" in
        *[[:cntrl:]]*) refuse "$(quote "$word") holds a line break or another control character" ;;
    esac
    word="${word//"$backslash"/"$backslash$backslash"}"
    word="${word//\"/"$backslash"\"}"
    printf '"%s"' "$word"
}

list=""
for word in "$@" --distributed; do
    list="$list${list:+, }$(in_quotes "$word")"
done

# A value may hold what looks like another placeholder; it is put in as it is.
fill() {
    local line before
    while IFS= read -r line; do
        # The comments explain the placeholders.
        case "$line" in
            '#'*) continue ;;
            *RESGEN_*) ;;
            *) printf '%s\n' "$line" && continue ;;
        esac
        before="${line%%RESGEN_*}"
        case "${line#"$before"}" in
            RESGEN_NAME) line="$(in_quotes "$name")" ;;
            RESGEN_IMAGE) line="$(in_quotes "$image")" ;;
            RESGEN_ARGUMENTS) line="[$list]" ;;
            RESGEN_ACCELERATOR) line="$(in_quotes "$accelerator")" ;;
            RESGEN_TOPOLOGY) line="$(in_quotes "$topology")" ;;
            RESGEN_HOSTS) line="$hosts" ;;
            RESGEN_CHIPS) line="$chips" ;;
            RESGEN_SLICES) line="$slices" ;;
            RESGEN_MAX_RESTARTS) line="$max_restarts" ;;
            RESGEN_GRACE_SECONDS) line="$grace_seconds" ;;
            RESGEN_SERVICE_ACCOUNT) line="$(in_quotes "$service_account")" ;;
            *) refuse "launch/gke.yaml has a word that nothing fills in: $line" ;;
        esac
        printf '%s%s\n' "$before" "$line"
    done <launch/gke.yaml
}

manifest="$(fill)"
if [ -n "$printing" ]; then
    echo "# kubectl apply --filename=- reads this:"
    printf '%s\n' "$manifest"
    exit
fi
command -v kubectl >/dev/null || refuse "there is no kubectl; install it, or use --print"
printf '%s\n' "$manifest" | kubectl apply --filename=-
say "follow it with: kubectl logs --follow --selector=jobset.sigs.k8s.io/jobset-name=$name"
