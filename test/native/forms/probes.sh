#!/usr/bin/env bash
# Every probe of base/probes.h is in the notes of its file. Usage: probes.sh sublet-executor libsublet.so
set -euo pipefail
has() {
  local file=$1 notes name
  shift
  notes=$(readelf -n "$file" | awk '/Provider: sublet$/ { ours = 1; next } ours && /Name:/ { print $2; ours = 0 }')
  for name in "$@"; do
    grep -qx "$name" <<< "$notes" || { echo "$file has no probe $name"; exit 1; }
  done
}
has "$1" call_start call_end worker_sleep worker_wake
has "$2" client_start client_end client_sleep client_wake
