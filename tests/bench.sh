#!/usr/bin/env bash
# Runs the benchmarks on SQLite and on a MariaDB of its own; figures go to ./bench-results and to the screen.
#
#   bench.sh [ARGUMENT...]     the arguments go to the benchmark program; --help lists them

set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d "${TMPDIR:-/tmp}/carillon-bench.XXXXXX")
clean_up() {
    local code=$?
    [[ ! -e $work/mariadb ]] || tests/services/mariadb.sh stop "$work/mariadb" || true
    rm -rf "$work"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cargo build --release --quiet -p carillon -p carillon-examples -p carillon-ha --bins
CARILLON_TEST_MYSQL=${CARILLON_TEST_MYSQL:-$(tests/services/mariadb.sh start "$work/mariadb")}
export CARILLON_TEST_MYSQL
target/release/carillon-bench "$@"
