#!/usr/bin/env bash
# Builds the web pages into web/dist, from where the next build of the binary embeds them. Quick when nothing has changed.
#
# Needs Node.js 20.19 or later and npm. Where they are missing: on Debian as root they are installed; otherwise it says what to install and
# leaves the pages out, since the binary works without them (API, command line).

set -euo pipefail
cd "$(dirname "$0")"

readonly STAMP=dist/.built
readonly INPUTS=(src public index.html package-lock.json vite.config.ts postcss.config.cjs scripts build.sh)

say() { echo "web/build.sh: $*" >&2; }

leave_out() {
    say "$1"
    say "the pages are left out; install Node.js 20.19 or later and npm (Debian 13: apt-get install nodejs npm), then build again"
    exit 0
}

is_fresh() { [[ -e $STAMP ]] && [[ -z $(find "${INPUTS[@]}" -newer "$STAMP" -print -quit) ]]; }

install_node() {
    command -v apt-get >/dev/null && [[ $(id -u) == 0 ]] || leave_out "node and npm are not there"
    say "installing nodejs and npm"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm; } >/dev/null 2>&1 ||
        leave_out "could not install nodejs and npm"
}

main() {
    ! is_fresh || return 0
    command -v node >/dev/null && command -v npm >/dev/null || install_node
    node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
        leave_out "node $(node --version) is too old"
    if [[ ! -d node_modules || package-lock.json -nt node_modules/.package-lock.json ]]; then
        npm ci --no-audit --no-fund --silent || leave_out "npm could not fetch what the pages are made of"
    fi
    # Types are checked by the tests.
    node_modules/.bin/vite build --logLevel warn
    node scripts/compress.mjs
    touch "$STAMP"
}

main
