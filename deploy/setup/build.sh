#!/usr/bin/env bash
# Builds the native code (functions/, scheduler-plugin/) when sources changed.
# Usage: build.sh [FOLDER [CMAKE OPTION...]]; the folder is build/native if not named. NINJA_TARGETS: only these.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:-build/native}
[ $# = 0 ] || shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() { "$@" > "$log" 2>&1 || { tail -n 60 "$log" >&2; echo "setup: native build failed: $*" >&2; exit 1; }; }
if [ ! -f "$folder/build.ninja" ]; then
  echo "setup: configuring the native build" >&2
  run cmake -S . -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo "$@"
fi
read -ra targets <<< "${NINJA_TARGETS:-all}"
run ninja -C "$folder" -j 2 "${targets[@]}"
bash deploy/setup/node24.sh deploy/setup/dashboard.ts
