#!/usr/bin/env bash
# Counts the instructions of the hot operations under callgrind and compares with the record.
set -euo pipefail

usage() {
    cat <<'HELP'
Usage: scripts/instructions.sh [--record | --self-check]

Runs benches/instructions.rs under callgrind (valgrind), and prints what each operation needs beside
what benches/instructions.tsv has on record. `--record` writes that record anew; do so when a change
is meant to cost what it costs, or when it made something cheaper. `--self-check` checks the
comparison itself, and needs neither valgrind nor cargo.

A record is of one toolchain: compiler, target and C library (malloc is counted, too). With another
one the table is only for reading. RUSTFLAGS are left out. TMPDIR must have no spaces in it. Exits

   0   nothing needs more than 10 % above the record
   1   something does, or the record has not the same operations as the bench
   2   it could not be counted
  77   nothing was guarded: valgrind is missing, or the record is of another toolchain
HELP
}

mode=compare
case ${1-} in
    '') ;;
    --record | --self-check) mode=${1#--} ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
esac

cd "$(dirname "$0")/.."
record=benches/instructions.tsv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Other code would be counted, or code that valgrind cannot run.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS

die() {
    printf '%s\n' "$*" >&2
    exit 2
}

host() {
    rustc -vV | sed -n 's/^host: //p'
}

toolchain() {
    printf '%s, %s, %s\n' "$(rustc --version)" "$(host)" \
        "$(getconf GNU_LIBC_VERSION 2>/dev/null || echo 'another C library')"
}

# counted: "operation<TAB>instructions" of one of it, for each operation of the bench. The bench says
# what it did how often, callgrind writes a total each time that `collect` returns, both in order.
counted() {
    local target
    target=$(host | tr 'a-z-' 'A-Z_')
    env "CARGO_TARGET_${target}_RUNNER=valgrind --quiet --tool=callgrind --combine-dumps=yes \
        --toggle-collect=instructions::collect --dump-after=instructions::collect \
        --callgrind-out-file=$work/callgrind" \
        cargo bench --quiet --bench instructions | grep -v '^#' >"$work/operations" ||
        die "the bench could not be run under callgrind"
    awk '/^desc: Trigger: --dump-after/ { of_one = 1 }
         /^totals: / && of_one { print $2; of_one = 0 }' "$work/callgrind" >"$work/totals"
    [ "$(wc -l <"$work/operations")" -eq "$(wc -l <"$work/totals")" ] ||
        die "callgrind has not one total for each operation; did it find instructions::collect?"
    paste "$work/operations" "$work/totals" | awk -F '\t' '{ printf "%s\t%.0f\n", $1, $3 / $2 }'
}

# table RECORDED NOW: returns 1 when something needs over 10 % more, or is not in both.
table() {
    awk -F '\t' '
        function row(name, before, after, change, verdict) {
            printf "%-38s %10s %10s %8s%s\n", name, before, after, change, verdict
        }
        BEGIN { row("instructions", "recorded", "now", "change", "") }
        /^#/ { next }
        FILENAME == ARGV[1] { recorded[$1] = $2; next }
        !($1 in recorded) { row($1, "-", $2, "-", "  NOT RECORDED"); bad = 1; next }
        {
            before = recorded[$1]
            delete recorded[$1]
            more = $2 * 10 > before * 11
            bad = bad || more
            row($1, before, $2, sprintf("%+.1f %%", ($2 - before) * 100 / before), more ? "  MORE" : "")
        }
        END {
            for (name in recorded) { row(name, recorded[name], "-", "-", "  NOT COUNTED"); bad = 1 }
            exit bad
        }
    ' "$1" "$2"
}

# verdict RECORDED NOW TOOLCHAIN: prints the table and what follows from it, last in one line.
verdict() {
    local of status=0
    of=$(sed -n 's/^# toolchain: //p' "$1")
    table "$1" "$2" || status=$?
    if [ "$of" != "$3" ]; then
        printf '\nThis is    %s\nRecorded   %s\n' "$3" "$of"
        echo "NOTHING IS GUARDED: the record is of another toolchain"
        return 77
    elif [ "$status" -ne 0 ]; then
        echo "More than 10 % above the record, or not in both. Is it meant? Then --record it."
        return 1
    fi
    echo "Nothing needs more than 10 % above the record."
}

# expect STATUS WHAT RECORDED NOW [TOOLCHAIN]: lines of NAME=INSTRUCTIONS, recorded with toolchain A.
expect() {
    local status=0
    { echo "# toolchain: A" && tr ' =' '\n\t' <<<"$3"; } >"$work/recorded"
    tr ' =' '\n\t' <<<"$4" >"$work/now"
    verdict "$work/recorded" "$work/now" "${5-A}" >"$work/said" || status=$?
    if [ "$status" -ne "$1" ]; then
        cat "$work/said"
        die "self-check: $2: should exit $1, and exits $status"
    fi
    echo "ok: $2"
}

self_check() {
    expect 0 "as recorded" "a=100 b=2000" "a=100 b=2000"
    expect 0 "10 % more" "a=100 b=2000" "a=110 b=2200"
    expect 1 "over 10 % more in one" "a=100 b=2000" "a=100 b=2201"
    expect 1 "over 10 % more in the first" "a=100 b=2000" "a=111 b=1000"
    expect 0 "less" "a=100 b=2000" "a=10 b=200"
    expect 1 "an operation without a record" "a=100" "a=100 b=2000"
    expect 1 "a record without its operation" "a=100 b=2000" "a=100"
    expect 77 "another toolchain" "a=100 b=2000" "a=900 b=2000" B
}

if [ "$mode" = self-check ]; then
    self_check
    exit 0
fi

command -v cargo >/dev/null || die "cargo is not on PATH: install Rust first"
if ! command -v valgrind >/dev/null; then
    echo "NOTHING IS GUARDED: valgrind is not installed (Debian: apt-get install valgrind)"
    exit 77
fi

counted >"$work/now"
if [ "$mode" = record ]; then
    {
        echo "# Instructions that one operation needs, as scripts/instructions.sh --record counted."
        echo "# toolchain: $(toolchain)"
        cat "$work/now"
    } | tee "$record"
elif [ -f "$record" ]; then
    verdict "$record" "$work/now" "$(toolchain)"
else
    die "there is no $record; write it with --record"
fi
