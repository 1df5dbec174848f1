#!/usr/bin/env bash
# Measures what the console's pages ask for on many stored runs while jobs fire: a MariaDB and a ZooKeeper of its own, a server, a console, and a
# worker within the program that asks.
#
#   bench-pages.sh    seeds, starts everything, asks, prints a table, ends everything
#
# Environment: ROWS (stored runs, 10000000), FIRES (jobs that fire each second, 1000), ROUNDS (how often each question is asked, 100), POOL (MariaDB's
# buffer pool, 3G), TABLE (a document whose table is to be written), DATA (a folder that keeps the seeded database for the next time; nothing is
# kept unless given), BIN_DIR (binaries that are built already), CALM (a prefix for building and seeding, such as "chrt -i 0 nice -n 19").
#
# Ten million runs take about 4 GB of disk and some minutes to seed. Look at the load average in the table before you believe a figure.

set -euo pipefail
cd "$(dirname "$0")/.."

readonly ROWS=${ROWS:-10000000} FIRES=${FIRES:-1000} ROUNDS=${ROUNDS:-100} POOL=${POOL:-3G}
read -ra calm <<<"${CALM:-}"

say() { printf '%s\n' "$*" >&2; }
die() { say "bench-pages.sh: $*"; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/carillon-pages.XXXXXX")
mariadb=${DATA:+$(realpath -m "$DATA")}
mariadb=${mariadb:-$work/mariadb}
processes=()
clean_up() {
    local code=$? pid
    ((code == 0)) || tail -n 5 "$work"/*.log >&2 || true
    for pid in "${processes[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    wait "${processes[@]}" 2>/dev/null || true
    [[ ! -e $work/zookeeper ]] || tests/services/zookeeper.sh stop "$work/zookeeper" || true
    if [[ -n ${DATA:-} ]]; then
        tests/services/mariadb.sh kill "$mariadb" || true
    elif [[ -e $mariadb ]]; then
        tests/services/mariadb.sh stop "$mariadb" || true
    fi
    rm -rf "$work"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [[ -z ${BIN_DIR:-} ]]; then
    say "building ..."
    # Of the whole workspace: another selection of packages would mean other features, and everything built again.
    "${calm[@]}" cargo build --release --quiet --workspace --bin carillon --example seed_runs --example bench_pages
    BIN_DIR=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release
fi

sql() { tests/services/mariadb.sh sql "$mariadb" carillon; }

# Nothing of the seeding has to survive a crash; what is measured waits for the disk at each commit, as in production.
export MARIADB_OPTIONS="--innodb-buffer-pool-size=$POOL --innodb-log-file-size=1G"
if [[ -e $mariadb/seeded ]]; then
    tests/services/mariadb.sh revive "$mariadb"
    MARIADB_DEADLINE=300 tests/services/mariadb.sh wait "$mariadb"
    say "reading the kept database once, as one that has been running has ..."
    for index in PRIMARY run_of_job run_in_state; do echo "SELECT COUNT(*) FROM run FORCE INDEX ($index)" | sql >/dev/null; done
else
    "${calm[@]}" tests/services/mariadb.sh start "$mariadb" >/dev/null
    echo "SET GLOBAL innodb_flush_log_at_trx_commit = 0" | sql
    say "seeding $ROWS runs ..."
    "${calm[@]}" "$BIN_DIR/examples/seed_runs" "$(tests/services/mariadb.sh url "$mariadb")" "$ROWS" >&2
    echo "SET GLOBAL innodb_flush_log_at_trx_commit = 1" | sql
    touch "$mariadb/seeded"
    # Whoever was started calmly is as quick as anybody from now on.
    if [[ ${#calm[@]} != 0 ]]; then
        chrt --all-tasks --other --pid 0 "$(cat "$mariadb/pid")"
        for task in /proc/"$(cat "$mariadb/pid")"/task/*; do renice -n 0 -p "${task##*/}" >/dev/null || true; done
    fi
fi
stored=$(echo "SELECT COUNT(*) FROM run FORCE INDEX (run_in_state)" | sql)
size=$(du -sm "$mariadb/data" | cut -f1)
say "$stored runs, $size MB on disk"

free_port() {
    local taken port
    taken=" $(awk '$4 == "0A" { sub(".*:", "", $2); print $2 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null | tr '\n' ' ')"
    while true; do
        port=$((20000 + RANDOM % 11000))
        [[ $taken == *" $(printf %04X "$port") "* ]] || { echo "$port" && return; }
    done
}

CARILLON_STORE_URL=$(tests/services/mariadb.sh url "$mariadb")
CARILLON_ZOOKEEPER_CONNECT=$(tests/services/zookeeper.sh start "$work/zookeeper" 1)
CARILLON_CLUSTER_SECRET=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
export CARILLON_STORE_URL CARILLON_ZOOKEEPER_CONNECT CARILLON_CLUSTER_SECRET CARILLON_CLUSTER_ID=101
"$BIN_DIR/carillon" migrate >&2
"$BIN_DIR/carillon" server --id server-1 --room a --listen "127.0.0.1:$(free_port)" >"$work/server.log" 2>&1 &
processes+=($!)
console=127.0.0.1:$(free_port)
"$BIN_DIR/carillon" console --listen "$console" >"$work/console.log" 2>&1 &
processes+=($!)
for _ in {1..300}; do
    ! "$BIN_DIR/carillon" healthcheck --http "$console/livez" >/dev/null 2>&1 || break
    sleep 0.1
done
CARILLON_TOKEN=$("$BIN_DIR/carillon" admin-token 2>/dev/null) || die "no administrator's token"
export CARILLON_TOKEN
say "asking ..."
"$BIN_DIR/examples/bench_pages" "http://$console" --fires "$FIRES" --rounds "$ROUNDS" --stored "$stored" --pid "${processes[1]}" ${TABLE:+--table "$TABLE"}
