# Sourced by the examples: a bundle whose programs are the host's own, read-only, and a state directory that is removed
# with everything in it when the example ends.
# shellcheck shell=sh disable=SC2034 # a variable for the examples

set -eu
SYSTEM=$(uname -s)
work=$(mktemp -d "${TMPDIR:-/tmp}/runj-example.XXXXXX")

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || die "needs root"
command -v runj >/dev/null || die "runj is not in PATH"

runj() { command runj --root "$work/state" "$@"; }

# What an example undoes at its end; it may define its own.
undo() { :; }
finish() {
    # children before their parents, which were made before them
    for id in $(runj list -q 2>/dev/null | sort -r); do runj delete --force "$id" || true; done
    undo
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# bundle NAME FREEBSD [MORE]: makes $work/NAME, whose program is the shell script on standard input. FREEBSD is the
# object of that name in config.json, MORE are further members of config.json, each with a comma before it.
bundle() {
    root=$work/$1/root
    mkdir -p "$root"
    cat >"$root/program"
    mounts=
    for directory in /bin /sbin /lib /lib64 /libexec /usr; do
        [ -d "$directory" ] || continue
        mounts="$mounts
        { \"destination\": \"$directory\", \"type\": \"nullfs\", \"source\": \"$directory\", \"options\": [\"ro\"] },"
    done
    cat >"$work/$1/config.json" <<END
{
    "ociVersion": "1.3.0",
    "process": {
        "user": { "uid": 0, "gid": 0 },
        "args": ["sh", "/program"],
        "env": ["PATH=/sbin:/bin:/usr/sbin:/usr/bin"],
        "cwd": "/"
    },
    "root": { "path": "root" },
    "hostname": "$1",
    "mounts": [$mounts
        { "destination": "/dev", "type": "devfs", "source": "devfs" },
        { "destination": "/proc", "type": "procfs", "source": "procfs" },
        { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"] }
    ],
    "freebsd": $2${3:-}
}
END
}

# shellcheck disable=SC2016 # for the shells that read it
# netcat: `serve PORT` sends its standard input to who connects, once; `ask HOST PORT` prints what it is sent
netcat='
if command -v busybox >/dev/null; then
    serve() { busybox nc -l -p "$1"; }
    ask() { busybox nc -w 5 "$1" "$2" </dev/null; }
else
    serve() { nc -N -l "$1"; }
    ask() { nc -w 5 "$1" "$2" </dev/null; }
fi'
eval "$netcat"

# asked HOST PORT: ask, as soon as somebody serves
asked() {
    tries=0
    until answer=$(ask "$1" "$2" 2>/dev/null) && [ -n "$answer" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 50 ] || die "nobody answers at $1 port $2"
        sleep 0.2
    done
    say "$answer"
}
