# Sourced by scripts/test-all.sh and .ci/run: runs named steps, remembers how each ended, and prints
# one table at the end. A failing step never stops the steps after it, and never gets lost:
# `summary` returns 1 if any step failed.

# Warnings, progress and colours are for a log, not for a terminal.
export CARGO_TERM_COLOR=never

STEP_ROWS=()
STEP_FAILURES=0
STEP_LOG=$(mktemp)
trap 'rm -f "$STEP_LOG"' EXIT

heading() {
    printf '\n==== %s\n' "$1"
}

# step NAME COMMAND...: runs the command with its output both shown and kept for the counts below.
# One that exits with 77 could check nothing here, and says why in its last line.
step() {
    local name=$1 started=$SECONDS status=0
    shift
    heading "$name"
    printf '$ %s\n' "$*"
    # `|| status` keeps `set -e` from ending the script; pipefail keeps tee from hiding a failure.
    "$@" 2>&1 </dev/null | tee -a "$STEP_LOG" || status=$?
    if [ "$status" -eq 0 ]; then
        STEP_ROWS+=("ok|$((SECONDS - started)) s|$name|")
    elif [ "$status" -eq 77 ]; then
        skip "$name" "$(tail -n 1 "$STEP_LOG")"
    else
        STEP_FAILURES=$((STEP_FAILURES + 1))
        STEP_ROWS+=("FAILED|$((SECONDS - started)) s|$name|exit code $status")
        printf '==== %s FAILED with exit code %s\n' "$name" "$status"
    fi
}

# skip NAME REASON: a step that cannot run here. It is shown, because a skipped check is no check.
skip() {
    printf '\n==== %s SKIPPED: %s\n' "$1" "$2"
    STEP_ROWS+=("skipped|-|$1|$2")
}

# Adds up every `test result:` line that the steps printed: "N passed, N failed, N skipped".
test_totals() {
    awk '
        /^test result:/ {
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed/) passed += $(i - 1)
                if ($i ~ /^failed/) failed += $(i - 1)
                if ($i ~ /^ignored/) ignored += $(i - 1)
            }
        }
        END { printf "%d passed, %d failed, %d skipped\n", passed, failed, ignored }
    ' "$STEP_LOG"
}

# summary TITLE: the table, the result line of every test binary, and the total as the last line.
summary() {
    heading "$1: what ran"
    local row result took name note
    for row in "${STEP_ROWS[@]}"; do
        IFS='|' read -r result took name note <<<"$row"
        printf '%-8s %7s  %-34s %s\n' "$result" "$took" "$name" "$note"
    done
    printf 'Steps: %d, of which %d failed. Whole run: %d s.\n\n' \
        "${#STEP_ROWS[@]}" "$STEP_FAILURES" "$SECONDS"
    # Indented, so that a run around this one (.ci/run calls test-all.sh) does not count them twice.
    sed -n 's/^test result:/  &/p' "$STEP_LOG"
    test_totals
    [ "$STEP_FAILURES" -eq 0 ]
}
