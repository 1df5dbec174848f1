#!/usr/bin/env bash
# Measures on SQLite and on a MariaDB of its own, on this machine; everything that was said is kept in ./bench-results.
#
#   bench.sh          B1 and B2 (fires at 1,000 and 10,000 a second, all on the same second), B4 (trigger by request), B5 (a million subtasks)
#   bench.sh small    the same with little of each: shows that it works, measures nothing
#
# Each benchmark is one process with server, embedded coordinator and workers; the database runs beside it. Lateness is from the fire time to
# the moment a handler would be called. Look at the load average before you believe a figure, and compare within one run.

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

seconds=20 rates=(1000 10000) subtasks=1000000
[[ ${1:-} != small ]] || { seconds=3 rates=(100) subtasks=1000; }

cargo build --release --quiet -p carillon-server --examples
examples=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/examples
mysql=$(tests/services/mariadb.sh start "$work/mariadb")
# Each case has a database of its own.
database() {
    echo "CREATE DATABASE $1; GRANT ALL ON $1.* TO PUBLIC" | tests/services/mariadb.sh sql "$work/mariadb" >/dev/null
    echo "${mysql%/*}/$1"
}

mkdir -p bench-results
report=bench-results/$(date -u +%Y%m%dT%H%M%SZ).txt
{
    echo "machine: $(nproc) processors, load $(cut -d' ' -f1-3 /proc/loadavg), $(uname -sr), $(rustc --version)"
    for rate in "${rates[@]}"; do
        for store in sqlite mariadb; do
            echo; echo "== B1 B2 B4: $rate fires a second on $store"
            url=()
            [[ $store == sqlite ]] || url=(--store "$(database "fires_$rate")")
            "$examples/bench_fires" --jobs "$rate" --seconds "$seconds" "${url[@]}"
        done
    done
    echo; echo "== B5: $subtasks subtasks on sqlite"
    "$examples/bench_map" "$subtasks"
    echo; echo "== B5: $subtasks subtasks on mariadb"
    "$examples/bench_map" "$subtasks" "$(database map)"
    echo; echo "load at the end: $(cut -d' ' -f1-3 /proc/loadavg)"
} 2>&1 | tee "$report"
echo "kept in $report"
