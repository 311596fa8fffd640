# Sourced by the other scripts: where the tree is, and how a step says that it cannot run here.
# shellcheck shell=sh disable=SC2034 # variables for the scripts

set -eu
TOP=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$TOP"
CARGO=${CARGO:-cargo}
TARGET_DIR=${CARGO_TARGET_DIR:-$TOP/target}
# Where cargo puts programs
BUILT=$TARGET_DIR${CARGO_BUILD_TARGET:+/$CARGO_BUILD_TARGET}
SYSTEM=$(uname -s)

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" -eq 0 ]; }

# skip STEP WHY: counts a step that cannot run here and ends the script. With RUNJ_REQUIRE=all, which
# CI sets, nothing may be skipped; with RUNJ_REQUIRE="a b", neither may the steps a and b.
skip() {
    say "$1: SKIPPED: $2"
    [ -z "${RUNJ_SKIPS:-}" ] || say "$1: $2" >>"$RUNJ_SKIPS"
    if required "$1"; then die "$1: RUNJ_REQUIRE=$RUNJ_REQUIRE does not allow this skip"; fi
    exit 0
}

# required STEP: is it forbidden to skip this step?
required() {
    case " ${RUNJ_REQUIRE:-} " in *" all "* | *" $1 "*) return 0 ;; esac
    return 1
}

# cargo_ SUBCOMMAND ARG...: cargo; in CI, Cargo.lock must be complete
cargo_() {
    subcommand=$1
    shift
    "$CARGO" "$subcommand" ${CI:+--locked} "$@"
}

# bounded SECONDS COMMAND...: the command, given up after that time, its output kept back.
bounded() {
    seconds=$1
    shift
    if have timeout; then timeout "$seconds" "$@" >/dev/null 2>&1 </dev/null; else "$@" >/dev/null 2>&1 </dev/null; fi
}

# version: of runj, from Cargo.toml
version() { sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1; }

# sha256 FILE
sha256() {
    if have sha256sum; then sha256sum "$1" | cut -d ' ' -f 1; else command sha256 -q "$1"; fi
}

# is_static FILE: an executable without a program interpreter
is_static() { ! readelf -lW "$1" 2>/dev/null | grep -q INTERP; }
