#!/usr/bin/env bash
# Plants faults, one at a time, and shows which invariant of the simulation finds each.
set -euo pipefail

usage() {
    cat <<'HELP'
Usage: scripts/planted.sh [NAME...]

Plants each fault (or those named) in a copy of the tree, plays the worlds of the simulation
(tests/simulation.rs) from seed 0 on, and prints the invariant that was broken first and the seed.
Faults are the patches of tests/planted, and those that a part of the simulation plants itself
(tests/simulation/planted.rs). The copy is made in the target directory, and the worlds are played
without a fault, too. Environment:

  TOLLKEEPER_SIM_SEEDS    how many seeds are played for each fault at most (300 unless set)

Exits

   0   every fault is found, and without one nothing is
   1   a fault is not found, or something is where there is none
   2   a patch does not apply to the sources any more, or what it makes does not compile
HELP
}

within=(no-remote-lock new-id as-asked)
names=()
for argument in "$@"; do
    case $argument in
        -h | --help) usage; exit 0 ;;
        -*) usage >&2; exit 2 ;;
        *) names+=("$argument") ;;
    esac
done

cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
export TOLLKEEPER_SIM_SEEDS="${TOLLKEEPER_SIM_SEEDS:-300}"
export RUST_BACKTRACE=0
copy=$CARGO_TARGET_DIR/planted
mkdir -p "$copy"
copy=$(cd "$copy" && pwd)
trap 'rm -rf "$copy"' EXIT

die() {
    printf '%s\n' "$*" >&2
    exit 2
}

is_wanted() {
    [ ${#names[@]} -eq 0 ] && return
    local name
    for name in "${names[@]}"; do
        if [ "$name" = "$1" ]; then return; fi
    done
    return 1
}

# The tree as it is, without a fault.
renew() {
    rm -rf "$copy"
    mkdir -p "$copy"
    git ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' file; do if [ -e "$file" ]; then printf '%s\0' "$file"; fi; done |
        tar --null --files-from=- -cf - | tar -xf - -C "$copy"
}

# Builds the simulation of the copy, and names the binary.
build() {
    local log
    log=$(cd "$copy" && cargo test --test simulation --no-run --quiet \
        --message-format=json 2>"$copy/build.log") || {
        tail -20 "$copy/build.log" >&2
        die "$1: what it makes does not compile"
    }
    binary=$(sed -n 's/.*"executable":"\([^"]*simulation[^"]*\)".*/\1/p' <<<"$log" | tail -1)
    [ -n "$binary" ] || die "$1: cargo names no binary"
}

failed=0
row() {
    printf '%-24s %-10s %s\n' "$@"
}

# Plays the worlds, and prints what was found: nothing is what is expected of `none`.
play() {
    local name=$1 planted=$2 log broken
    log=$(cd "$copy" && TOLLKEEPER_SIM_PLANTED=$planted TOLLKEEPER_SIM_SEED='' \
        "$binary" --exact fixed_seeds --nocapture 2>&1) && log=
    broken=$(sed -n 's/^seed \([0-9]*\) .* breaks \([IL][0-9]*\): .*/\2 \1/p' <<<"$log" | head -1)
    if [ -z "$broken" ] && [ -n "$log" ]; then
        tail -5 <<<"$log" >&2
        row "$name" "?" "it failed, and by no invariant"
        failed=1
    elif [ -z "$broken" ]; then
        row "$name" "-" "nothing in $TOLLKEEPER_SIM_SEEDS seeds"
        if [ "$name" != none ]; then failed=1; fi
    else
        row "$name" "${broken% *}" "seed ${broken#* }"
        if [ "$name" = none ]; then failed=1; fi
    fi
}

row fault invariant seed
renew
build none
play none ''
for name in "${within[@]}"; do
    if is_wanted "$name"; then play "$name" "$name"; fi
done
for patch in tests/planted/*.patch; do
    name=$(basename "$patch" .patch)
    is_wanted "$name" || continue
    renew
    (cd "$copy" && patch -p1 -s -F0 <"$OLDPWD/$patch") || die "$patch does not apply any more"
    build "$name"
    play "$name" ''
done
exit "$failed"
