#!/usr/bin/env bash
# Runs every suite of the crate on a machine that has Rust and a C compiler, and nothing else.
set -euo pipefail

usage() {
    cat <<'HELP'
Usage: scripts/test-all.sh [--help]

Runs all the suites, one after the other, and prints at the end what ran and what was skipped:

  tests        unit, integration, property and time tests, house rules, fuzz corpus (all features)
  examples     the tests inside the examples
  doc tests    every example in the documentation
  loom         the concurrency models (scripts/loom.sh), explored exhaustively

Needs cargo and a C compiler (the linker, and dependencies that build C). The tests on PostgreSQL
start a server of their own, by the programs on PATH or in /usr/lib/postgresql; those of the status
page start chromium by chromedriver; where there are none they say so and are skipped. Environment:

  PROPTEST_CASES         cases of each property test (proptest's own default: 256)
  TOLLKEEPER_REQUIRE_POSTGRES
                         1: tests on PostgreSQL fail where there is none, instead of being skipped
  TOLLKEEPER_REQUIRE_BROWSER
                         1: the same for the tests in a browser
  TOLLKEEPER_SCREENSHOTS where those put their pictures (under the target directory unless set)
  TOLLKEEPER_SIM_SEEDS   worlds of the simulation (200 unless set)
  LOOM_MAX_PREEMPTIONS   preemptions that loom explores (3 unless set)
  CARGO_TARGET_DIR       where cargo builds (target/ unless set)

Exits 0 when every suite passed, 1 when one failed, 2 when something it needs is missing.
HELP
}

case ${1-} in
    '') ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
esac

cd "$(dirname "$0")/.."
. scripts/steps.sh

if ! command -v cargo >/dev/null; then
    echo "cargo is not on PATH: install Rust first" >&2
    exit 2
fi
if ! command -v "${CC:-cc}" >/dev/null; then
    echo "no C compiler (${CC:-cc}): Rust links with it; install gcc or clang first" >&2
    exit 2
fi

step "tests" cargo test --all-features --lib --bins --tests --no-fail-fast
if compgen -G 'examples/*' >/dev/null; then
    step "examples" cargo test --all-features --examples --no-fail-fast
else
    skip "examples" "there is no examples/"
fi
step "doc tests" cargo test --all-features --doc --no-fail-fast
step "loom" scripts/loom.sh

summary "All suites"
