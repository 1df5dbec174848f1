#!/usr/bin/env bash
# Takes pictures of the web pages with Chromium, from the running program.
#
#   pictures.sh tour    those of docs/tour, from a cluster of its own
#   pictures.sh look    every page in both themes and languages, at a desk's and a phone's width, from `carillon dev`; LOOK_FOLDER says where to
#                       (default web/test-results/look)
#
# Needs what the step `pages` of run-all.sh needs, and builds the binaries first.

set -euo pipefail
cd "$(dirname "$0")/.."

[[ ${1:-} == tour || ${1:-} == look ]] || { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 2; }
web/build.sh
cargo build --quiet --workspace --bins
binaries=$(realpath "${CARGO_TARGET_DIR:-target}/debug")
cd web
CARILLON_BIN=$binaries/carillon CARILLON_WORKER_BIN=$binaries/samples npx playwright test --config "playwright.$1.config.ts"
