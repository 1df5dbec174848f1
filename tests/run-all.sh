#!/usr/bin/env bash
# Runs every test there is, on a fresh machine, too.
#
#   run-all.sh          fmt clippy web workspace docs ha pages (stories in Chromium, against one process and against a cluster behind nginx) faults
#                       (the quick selection of the fault table); the workspace's tests include model and simulation
#   run-all.sh STEP...  only these; and sim (the simulation alone, with SEEDS of your choice)
#
# Installs the services the tests need where it may (Debian, as root), otherwise says what to install. Starts a ZooKeeper
# ensemble and a MariaDB of its own on free ports in a temporary folder and stops them whatever happens. Every step's own
# summary is printed; the last lines say which steps passed.
#
# Environment: SEEDS (seeds of the simulation's modes safety and liveness each, default 2000; a tenth and a twentieth of it of the other
# two), THREADS (default 1), TWICE (each so many'th seed is run twice, default 10), CARILLON_TEST_ZOOKEEPER and CARILLON_TEST_MYSQL (services that run
# already, used instead of own ones; the tests that stop ZooKeeper's nodes need CARILLON_TEST_ZOOKEEPER_DIR as well).

set -euo pipefail
cd "$(dirname "$0")/.."

readonly ALL=(fmt clippy web workspace docs ha pages faults) STEPS=(fmt clippy web workspace docs sim ha pages faults)
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto} RUST_BACKTRACE=${RUST_BACKTRACE:-1}

work=$(mktemp -d "${TMPDIR:-/tmp}/carillon-test.XXXXXX")
own_zookeeper= own_mariadb=
passed=() failed=()

say() { printf '\n== %s\n' "$*"; }
die() { printf 'run-all.sh: %s\n' "$*" >&2; exit 1; }

clean_up() {
    local code=$?
    [[ -z $own_zookeeper ]] || tests/services/zookeeper.sh stop "$work/zookeeper" || true
    [[ -z $own_mariadb ]] || tests/services/mariadb.sh stop "$work/mariadb" || true
    rm -rf "$work"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The Debian packages behind the commands that are missing.
missing_packages() {
    [[ -e /usr/share/java/zookeeper.jar ]] && command -v java >/dev/null || echo zookeeper
    command -v mariadbd >/dev/null || [[ -x /usr/sbin/mariadbd ]] || echo mariadb-server
    command -v nginx >/dev/null || [[ -x /usr/sbin/nginx ]] || echo nginx
    command -v chromium >/dev/null || echo chromium
    command -v ip >/dev/null || [[ -x /usr/sbin/ip ]] || echo iproute2
}

install_services() {
    local packages
    packages=$(missing_packages | tr '\n' ' ')
    [[ -n ${packages// /} ]] || return 0
    if command -v apt-get >/dev/null && [[ $(id -u) == 0 ]]; then
        say "installing $packages"
        export DEBIAN_FRONTEND=noninteractive
        # A package's own service must not start: the tests start theirs.
        # shellcheck disable=SC2086
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends $packages; } >"$work/apt.log" 2>&1 ||
            { tail -n 20 "$work/apt.log" >&2; die "could not install $packages"; }
    else
        die "the tests need these Debian packages: ${packages}(as root: apt-get install --no-install-recommends ${packages% })"
    fi
}

start_services() {
    install_services
    if [[ -z ${CARILLON_TEST_ZOOKEEPER:-} ]]; then
        say "starting ZooKeeper (three nodes)"
        own_zookeeper=yes
        CARILLON_TEST_ZOOKEEPER=$(tests/services/zookeeper.sh start "$work/zookeeper")
        CARILLON_TEST_ZOOKEEPER_DIR=$work/zookeeper
    fi
    if [[ -z ${CARILLON_TEST_MYSQL:-} ]]; then
        say "starting MariaDB"
        own_mariadb=yes
        CARILLON_TEST_MYSQL=$(tests/services/mariadb.sh start "$work/mariadb")
    fi
    export CARILLON_TEST_ZOOKEEPER CARILLON_TEST_ZOOKEEPER_DIR=${CARILLON_TEST_ZOOKEEPER_DIR:-} CARILLON_TEST_MYSQL
    export CARILLON_REQUIRE_SERVICES=1
}

step_fmt() { cargo fmt --all --check; }
step_clippy() { cargo clippy --workspace --all-targets -- -D warnings; }

# The web pages: lints, types against the API, their own tests, the size of the entry. Built here, for the binary that the later steps run.
step_web() {
    # The script does without pages where it cannot build them; the tests do not.
    web/build.sh && [[ -e web/dist/index.html ]] && (cd web && npm run --silent check && npm run --silent size)
}

# Everything but the tests with real processes, which are a step of their own: they need the binaries, and the machine for themselves.
step_workspace() { cargo test --workspace --exclude carillon-ha --no-fail-fast; }
step_docs() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items; }
step_sim() {
    CARILLON_SIM_SEEDS=${SEEDS:-2000} CARILLON_SIM_THREADS=${THREADS:-1} CARILLON_SIM_TWICE=${TWICE:-10} \
        cargo test --profile sim -p carillon-core --test simulation a_long_run -- --ignored --nocapture
}

step_ha() {
    # The whole workspace each time: another selection of packages would mean other features, and everything built again.
    cargo build --workspace --bins &&
        cargo test --workspace --no-fail-fast --lib --test first_run --test end_to_end --test crash --test failover -- --test-threads=1
}

# The pages' stories in Chromium, against `carillon dev`, then against a cluster behind nginx that they break. A debug build reads the pages from web/dist.
step_pages() {
    install_services
    local binaries=${CARGO_TARGET_DIR:-$PWD/target}/debug
    web/build.sh && [[ -e web/dist/index.html ]] && cargo build --workspace --bins &&
        (
            cd web
            export CARILLON_BIN=$binaries/carillon CARILLON_WORKER_BIN=$binaries/samples
            # The second ones even if the first ones fail: what they break is something else.
            local failed=0
            npx playwright test || failed=1
            npx playwright test --config playwright.cluster.config.ts || failed=1
            exit "$failed"
        )
}

# The quick selection of the fault table: one trial each, on services of its own in namespaces that end with it.
step_faults() {
    install_services
    cargo build --workspace --bins && "${CARGO_TARGET_DIR:-target}/debug/ha" --cases quick
}

run_step() {
    say "$1"
    local began=$SECONDS
    if "step_$1"; then
        passed+=("$1 ($((SECONDS - began)) s)")
    else
        failed+=("$1")
    fi
}

main() {
    local steps=("$@") step
    [[ ${#steps[@]} -gt 0 ]] || steps=("${ALL[@]}")
    for step in "${steps[@]}"; do
        [[ " ${STEPS[*]} " == *" $step "* ]] || die "there is no step '$step'; the steps are ${STEPS[*]}"
    done
    # Formatting and lints first: they need no services and fail fastest.
    if [[ " ${steps[*]} " =~ \ (workspace|ha)\  ]]; then start_services; fi
    for step in "${steps[@]}"; do run_step "$step"; done
    say "summary"
    [[ ${#passed[@]} -eq 0 ]] || printf 'passed: %s\n' "${passed[@]}"
    [[ ${#failed[@]} -eq 0 ]] || { printf 'FAILED: %s\n' "${failed[@]}"; exit 1; }
}

main "$@"
