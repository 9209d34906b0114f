#!/usr/bin/env bash
# Sourced by the launchers beside it: refusals in one line, quoting, --print, checks of the verb.
set -euo pipefail

# Those of `resgen --help`; tests/launch compares.
verbs="demo train reconstruct encode sample evaluate convert config scale"
launcher="${launcher:-$(basename "$0")}"
printing=""

# One line, whatever the words hold.
say() {
    local words="launch/$launcher: $*"
    printf '%s\n' "${words//[[:cntrl:]]/ }" >&2
}

# The user's mistake: one line, exit code 2.
refuse() {
    say "$@"
    exit 2
}

# The comment at the top of the file $1.
print_help() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$1"
}

# The word $1 as a shell reads it back.
quote() {
    local inside="'\\''"
    case "$1" in
        '' | *[!A-Za-z0-9_./:=,@%+-]*) printf "'%s'" "${1//\'/$inside}" ;;
        *) printf '%s' "$1" ;;
    esac
}

quote_all() {
    local word space=""
    for word in "$@"; do
        printf '%s' "$space"
        quote "$word"
        space=" "
    done
}

# Runs the command, or prints it under --print.
run() {
    if [ -n "$printing" ]; then
        quote_all "$@"
        echo
    else
        "$@"
    fi
}

# check_count NAME VALUE LEAST
check_count() {
    case "$2" in
        '' | *[!0-9]* | 0?*) refuse "--$1=$2 is no number; expected $3 or more" ;;
    esac
    [ "$2" -ge "$3" ] || refuse "--$1 is $2; expected $3 or more"
}

# check_given NAME VALUE MEANING EXAMPLE
check_given() {
    [ -n "$2" ] || refuse "--$1 is missing: $3, e.g. --$1=$4"
}

# A name as Google Cloud and Kubernetes take it; $3 is the longest it may be.
check_name() {
    local shape='^[a-z]([-a-z0-9]*[a-z0-9])?$'
    [[ "$2" =~ $shape ]] && [ "${#2}" -le "$3" ] \
        || refuse "--$1=$2 is no name: a letter, then small letters, digits and -, $3 at most"
}

# The words are a verb and its flags, and leave --distributed to the launcher.
check_verb() {
    local word
    [ "$#" -gt 0 ] || refuse "no verb; write it last, e.g. train --config=FILE --workdir=DIR"
    case " $verbs " in
        *" $1 "*) ;;
        *) refuse "unknown verb '$1'; it is one of: $verbs" ;;
    esac
    for word in "$@"; do
        case "$word" in
            --distributed | --distributed=*)
                refuse "leave $word out; this script tells the processes about each other" ;;
        esac
    done
}

# The hosts do not share their disks, and a preempted one loses its own.
check_shared_workdir() {
    local word value takes_next=""
    for word in "$@"; do
        if [ -n "$takes_next" ]; then
            value="$word" takes_next=""
        else
            case "$word" in
                --workdir) takes_next=yes && continue ;;
                --workdir=*) value="${word#--workdir=}" ;;
                *) continue ;;
            esac
        fi
        case "$value" in
            gs://?* | s3://?* | /?*) ;;
            *) refuse "--workdir=$value is on one host's own disk; name a place that all" \
                "hosts share, e.g. --workdir=gs://BUCKET/run or a mounted /shared/run" ;;
        esac
    done
}
