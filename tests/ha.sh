#!/usr/bin/env bash
# Runs cases of the fault table against real processes: `make ha CASES=F1,F3 TRIALS=5`.
#
#   ha.sh             runs them
#   ha.sh bugs        runs programs that are built with bugs on purpose and succeeds only if the checker catches each of them
#   ha.sh cost        measures what 1,000 idle shards cost, and kills a server among them (and writes TABLE)
#   ha.sh report      tells the figures of all results that are kept (and writes TABLE)
#
# Needs Linux, root (or the rights to make network and process namespaces), a C compiler, and the Debian packages zookeeper, mariadb-server,
# nginx, iproute2. Everything it starts lives in namespaces that end with it.
#
# Environment: CASES (names, numbers, quick, all, or list; default quick), TRIALS (1), JOBS (installations beside each other, 1), RESUME=1 (only
# the trials that OUT does not have of this commit), SEED (drawn), QUICK=1 (short outages), KEEP=1 (every history), PROFILE (release, or dev for quick builds), OUT
# (target/ha: results, histories of failures, logs), TABLE (a document whose figures are to be written), SOAK_MINUTES (30, for F29), BIN_DIR
# (binaries that are built already).

set -euo pipefail
cd "$(dirname "$0")/.."

profile=${PROFILE:-release}
binaries=(--bin carillon --bin ha --bin ledger_worker)
if [[ -z ${BIN_DIR:-} ]]; then
    # Of the whole workspace: another selection of packages would mean other features, and everything built again.
    cargo build --quiet --workspace "${binaries[@]}" --profile "$profile"
    folder=$profile
    [[ $profile != dev ]] || folder=debug
    BIN_DIR=${CARGO_TARGET_DIR:-target}/$folder
    # Results say which commit they are of, also those of binaries that are used again later.
    git describe --always --abbrev=10 --exclude '*' --dirty=-changed >"$BIN_DIR/ha.commit" 2>/dev/null || rm -f "$BIN_DIR/ha.commit"
fi
CARILLON_HA_COMMIT=$(cat "$BIN_DIR/ha.commit" 2>/dev/null || true)
export CARILLON_HA_COMMIT
out=${OUT:-target/ha}
options=()
[[ -z ${TABLE:-} ]] || options+=(--table "$TABLE")
case ${1:-} in
    bugs)
        # With the rest of the workspace selected as ever, so that only what links to the changed libraries is built again; then back.
        bugs=$(mktemp -d "${TMPDIR:-/tmp}/carillon-bugs.XXXXXX")
        trap 'rm -rf "$bugs"' EXIT
        cargo build --quiet --workspace "${binaries[@]}" --features carillon-ha/deliberate-bugs,carillon/deliberate-bugs --profile "$profile"
        cp "$BIN_DIR/carillon" "$BIN_DIR/ledger_worker" "$bugs/"
        cargo build --quiet --workspace "${binaries[@]}" --profile "$profile"
        export CARILLON_BIN_DIR=$bugs
        for bug in no-dedup:StartedTwice:F25,F1-owner no-tombstone:StartedAfterEdit:F25,F1-owner "no-compare:Lost|Unexpected|StartedAfterEdit|WentBack:F21-slow-mysql,F25"; do
            IFS=: read -r name fault cases <<<"$bug"
            echo "== $name must show as $fault"
            CARILLON_TEST_BUG=$name "$BIN_DIR/ha" --cases "$cases" --trials 2 --quick --out "$out-bugs" --expect "$fault"
        done
        exit
        ;;
    cost) exec "$BIN_DIR/ha" cost ${TABLE:+"$TABLE"} ;;
    report) exec "$BIN_DIR/ha" report "$out/results" "${options[@]}" ;;
esac
if [[ ${CASES:-} == list ]]; then exec "$BIN_DIR/ha" --list; fi
options+=(--cases "${CASES:-quick}" --trials "${TRIALS:-1}" --jobs "${JOBS:-1}" --out "$out")
[[ -z ${SEED:-} ]] || options+=(--seed "$SEED")
[[ -z ${QUICK:-} ]] || options+=(--quick)
[[ -z ${KEEP:-} ]] || options+=(--keep)
[[ -z ${RESUME:-} ]] || options+=(--resume)
exec "$BIN_DIR/ha" "${options[@]}"
