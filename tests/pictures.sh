#!/usr/bin/env bash
# Takes pictures of the web pages with Chromium, from the running program.
#
#   pictures.sh tour    those of docs/tour, from a cluster of its own
#   pictures.sh look    every page in both themes and languages, at a desk's and a phone's width, from `carillon dev`; LOOK_FOLDER says where to
#                       (default web/test-results/look)
#
# Needs what the step `pages` of run-all.sh needs, and builds the binaries first; installs a Chinese font where there is none (Debian, root).

set -euo pipefail
cd "$(dirname "$0")/.."

[[ ${1:-} == tour || ${1:-} == look ]] || { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 2; }
# Without a font that has Chinese, Chromium draws boxes.
if [[ -z $(fc-list :lang=zh 2>/dev/null) ]]; then
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || { echo "pictures in Chinese need a font (Debian package: fonts-noto-cjk); please install it" >&2; exit 1; }
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends fontconfig fonts-noto-cjk; } >&2
fi
web/build.sh
cargo build --quiet --workspace --bins
binaries=$(realpath "${CARGO_TARGET_DIR:-target}/debug")
cd web
CARILLON_BIN=$binaries/carillon CARILLON_WORKER_BIN=$binaries/samples npx playwright test --config "playwright.$1.config.ts"
