#!/usr/bin/env bash
# Calls and regions over RDMA: builds a machine with soft-RoCE from Debian's packages, runs the tests of the fabric in
# it over verbs, and compares a call with fi_pingpong there. Figures go to build/bench/rdma.json.
#
#   test/vm/rdma.sh [--no-bench]
set -euo pipefail
cd "$(dirname "$0")/../.."
bash deploy/setup/setup.sh
machine=$(bash deploy/vm/build.sh rdma-core ibverbs-providers libfabric-bin libprotobuf-c1 libcmocka0)
payload=$(mktemp -d)
trap 'rm -rf "$payload"' EXIT
cp test/vm/rdma-guest.sh "$payload/command"
printf '%s\n' "$@" > "$payload/options"
# The same places as here, since the programs know where their executor and their functions are.
mkdir -p "$payload/root$PWD"
(cd build/native && find bin functions lib test -type f \( -perm -u+x -o -name '*.so*' \) -print0) |
  tar -C build/native -cf - --null -T - | { mkdir -p "$payload/root$PWD/build/native" && tar -C "$payload/root$PWD/build/native" -xf -; }
printf '%s\n' "$PWD" > "$payload/where"
mkdir -p build/bench
status=0
bash deploy/vm/run.sh --seconds 400 "$machine" "$payload" | tee "$payload/output" | sed -u '/^{/,/^}/d' || status=$?
if [ $status = 0 ] && grep -q '^{' "$payload/output"; then
  sed -n '/^{/,/^}/p' "$payload/output" > build/bench/rdma.json
fi
exit $status
