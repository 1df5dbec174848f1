#!/usr/bin/env bash
# Runs cases of the fault table against real processes: `make ha CASES=F1,F3 TRIALS=5`.
#
# Needs Linux, root (or the rights to make network and process namespaces), and the Debian packages zookeeper, mariadb-server, nginx, iproute2.
# Everything it starts lives in namespaces that end with it.
#
# `ha.sh bugs` runs a worker that is built with bugs on purpose and succeeds only if the checker catches each of them.
#
# Environment: CASES (names, numbers, quick, all, or list; default quick), TRIALS (1), SEED (drawn), PROFILE (release, or dev for quick builds),
# OUT (target/ha: report and histories of failures), TABLE (a document whose figures are to be written), SOAK_MINUTES (30, for F29), BIN_DIR
# (binaries that are built already).

set -euo pipefail
cd "$(dirname "$0")/.."

profile=${PROFILE:-release}
if [[ -z ${BIN_DIR:-} ]]; then
    # The whole workspace: another selection of packages would mean other features, and everything built again.
    cargo build --quiet --workspace --bins --profile "$profile"
    folder=$profile
    [[ $profile != dev ]] || folder=debug
    BIN_DIR=${CARGO_TARGET_DIR:-target}/$folder
fi
if [[ ${1:-} == bugs ]]; then
    # With the rest of the workspace selected as ever, so that only what links to the worker's library is built again; then back.
    bugs=$(mktemp -d "${TMPDIR:-/tmp}/carillon-bugs.XXXXXX")
    trap 'rm -rf "$bugs"' EXIT
    cargo build --quiet --workspace --bin ledger_worker --features carillon-ha/deliberate-bugs --profile "$profile"
    cp "$BIN_DIR/carillon" "$BIN_DIR/ledger_worker" "$bugs/"
    cargo build --quiet --workspace --bins --profile "$profile"
    export CARILLON_BIN_DIR=$bugs
    for pair in no-dedup:StartedTwice no-tombstone:StartedAfterEdit; do
        echo "== ${pair%:*} must show as ${pair#*:}"
        CARILLON_TEST_BUG=${pair%:*} "$BIN_DIR/ha" --cases F25,F1-owner --quick --out "${OUT:-target/ha-bugs}" --expect "${pair#*:}"
    done
    exit
fi
if [[ ${CASES:-} == list ]]; then exec "$BIN_DIR/ha" --list; fi
options=(--cases "${CASES:-quick}" --trials "${TRIALS:-1}" --out "${OUT:-target/ha}")
[[ -z ${SEED:-} ]] || options+=(--seed "$SEED")
[[ -z ${TABLE:-} ]] || options+=(--table "$TABLE")
[[ -z ${QUICK:-} ]] || options+=(--quick)
exec "$BIN_DIR/ha" "${options[@]}"
