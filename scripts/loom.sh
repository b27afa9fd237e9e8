#!/usr/bin/env bash
# Explores the concurrency models of src/tests/loom_*.rs with loom.
set -euo pipefail

usage() {
    cat <<'HELP'
Usage: scripts/loom.sh [--list] [NAME...]

Runs the loom models: tests whose path contains `loom_`, built with `--cfg tollkeeper_loom`. With
NAMEs only the models whose path contains one of them. Prints how many models ran, and fails when
that is none. `--list` only names them. Environment:

  LOOM_MAX_PREEMPTIONS    how many preemptions loom explores (3 unless set)
  LOOM_CHECKPOINT_FILE    where loom keeps the failing execution, to replay it
  LOOM_LOG, LOOM_LOCATION more about one failing execution (slow)

See the loom documentation for reading a failure.
HELP
}

list_only=false
names=()
for argument in "$@"; do
    case $argument in
        -h | --help) usage; exit 0 ;;
        --list) list_only=true ;;
        -*) usage >&2; exit 2 ;;
        *) names+=("$argument") ;;
    esac
done

cd "$(dirname "$0")/.."

# A target directory of its own: the flags below would otherwise rebuild every dependency of the
# ordinary tests, and the ordinary tests those of the models.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
export RUSTFLAGS="--cfg tollkeeper_loom -C debug-assertions=on"
export LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-3}"

run() {
    cargo test --release --lib --features ledger -- "$@"
}

# The models by name first: libtest has no "contains both", and a filter that happened to match an
# ordinary test would run it outside a model.
listing=$(run --list --format terse)
models=()
while IFS= read -r path; do
    for name in "${names[@]:-loom_}"; do
        if [[ $path == *"$name"* ]]; then
            models+=("$path")
            break
        fi
    done
done < <(sed -n 's/^\(.*loom_.*\): test$/\1/p' <<<"$listing")

if [ "${#models[@]}" -eq 0 ]; then
    echo "no loom model found${names[*]:+ for: ${names[*]}}; nothing was checked" >&2
    exit 1
fi
if $list_only; then
    printf '%s\n' "${models[@]}"
    exit 0
fi

output=$(mktemp)
trap 'rm -f "$output"' EXIT
status=0
run --exact "${models[@]}" | tee "$output" || status=$?

ran=$(sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed.*/\1 \2/p' "$output" |
    awk '{ total += $1 + $2 } END { print total + 0 }')
printf 'loom: %d of %d models ran, up to %s preemptions each\n' \
    "$ran" "${#models[@]}" "$LOOM_MAX_PREEMPTIONS"
if [ "$ran" -ne "${#models[@]}" ] && [ "$status" -eq 0 ]; then
    echo "some models did not run" >&2
    exit 1
fi
exit "$status"
