#!/bin/sh
# A stand-in for runj. A container's first process runs the bundle's file `program`, an exec the program of its
# process.json; all that `kill --all` and `delete` know are the pids in ROOT/ID. Every call is a line in CALLS.
set -eu
printf '%s\n' "$*" >>"$CALLS"

root="" log="" pid_file="" bundle=. process="" all="" kills=""
say() { [ -z "$log" ] || printf '{"level":"error","msg":"%s","time":""}\n' "$1" >>"$log"; echo "runj: $1" >&2; exit 1; }
verb=""
while [ $# -gt 0 ]; do
    case $1 in
        --root) root=$2; shift ;;
        --log) log=$2; shift ;;
        --log-format | --jail-name | --format) shift ;;
        --pid-file) pid_file=$2; shift ;;
        --bundle) bundle=$2; shift ;;
        --process) process=$2; shift ;;
        --pid) only=$2; shift ;;
        --all) all=yes ;;
        --oom) kills=yes ;;
        --resources | --stats | --detach | --force | -) [ "$1" != --resources ] || shift ;;
        *) if [ -z "$verb" ]; then verb=$1; else break; fi ;;
    esac
    shift
done
id=${1:-}
state=$root/$id
signal() { for pid in "$@"; do kill -"$number" "$pid" 2>/dev/null || true; done; }

# A shell gives its background jobs /dev/null otherwise.
exec 3<&0
case $verb in
    features) echo '{"ociVersionMax":"1.3.0"}' ;;
    create)
        if [ -e "$bundle/refuse" ]; then say "$(cat "$bundle/refuse")"; fi
        if [ -e "$bundle/die" ]; then kill -KILL $$; fi
        mkdir -p "$state"
        # The first process waits for start, then becomes the program.
        sh -c 'until [ -e "$1" ]; do sleep 0.01; done; exec sh "$2"' sh "$state/go" "$bundle/program" <&3 3<&- &
        echo $! >"$state/init"
        echo $! >"$state/pids"
        echo $! >"$pid_file"
        ;;
    start)
        if [ -e "$state/refuse" ]; then say "no start today"; fi
        : >"$state/go"
        ;;
    exec)
        command=$(sed -n 's/.*"args":\["\([^"]*\)"\].*/\1/p' "$process")
        [ "$command" != missing ] || say "exec: missing: no such file or directory"
        # It begins when this shell has ended: one that ends before would be reaped here and not by the shim.
        sh -c 'while kill -0 "$2" 2>/dev/null; do sleep 0.01; done; exec sh -c "$1"' sh "$command" $$ <&3 3<&- &
        echo $! >>"$state/pids"
        echo $! >"$pid_file"
        ;;
    kill)
        number=${2:-TERM}
        # shellcheck disable=SC2046 # a list of pids
        if [ -n "$all" ]; then signal $(cat "$state/pids"); else signal "${only:-$(cat "$state/init")}"; fi
        ;;
    ps) printf '[%s]\n' "$(tr '\n' ',' <"$state/pids" | sed 's/,$//')" ;;
    events)
        if [ -n "$kills" ]; then
            printf '{"id":"%s","oomKills":%s}\n' "$id" "$(cat "$state/kills" 2>/dev/null || echo null)"
        else
            echo '{"type":"stats","data":{"pids":{"current":3},"memory":{"usage":{"usage":4096}}}}'
        fi
        ;;
    update) cat >"$state/resources" ;;
    pause | resume) ;;
    delete)
        number=KILL
        # shellcheck disable=SC2046
        [ ! -e "$state/pids" ] || signal $(cat "$state/pids")
        rm -rf "$state"
        ;;
    *) say "$verb: not a verb" ;;
esac
