#!/usr/bin/env bash
# How jobs are found, reclaim and guard with a real Slurm and its cgroup/v2 plugin under systemd, in a virtual machine made of
# Debian's packages: the testbed and the suites of test/cluster, as they are, on a unified hierarchy. Ends with "N passed,
# N failed". Not part of the gate: the machine is emulated.
#
#   test/vm/slurm.sh [SUITE...]
#
# SUITE: a test file's name without .test.ts; without one all those below.
set -euo pipefail
cd "$(dirname "$0")/../.."
suites=(slurm guard-slurm)
# What of the suites with a Slurm is not run here, and why.
left_out() {
  cat << 'LIST'
left out: reclaim (name it to run it): a quarter of an hour on a machine that is busy itself
left out: shared, spank (name them to run them): no run without KVM has come to their end so far
left out: test/faults: its bounds on prologs and jobs are times that an emulated machine does not keep
left out: the rest of test/cluster: what it asks does not depend on the kind of cgroups
LIST
}
[ $# = 0 ] || suites=("$@")
files=()
for suite in "${suites[@]}"; do
  file=test/cluster/$suite.test.ts
  [ -f "$file" ] || file=test/vm/$suite.test.ts
  [ -f "$file" ] || { echo "slurm.sh: no suite $suite" >&2; exit 2; }
  files+=("$file")
done
bash deploy/setup/setup.sh
# The compiler is for the client of the reclaim suite.
machine=$(bash deploy/vm/build.sh slurmctld slurmd slurm-client slurm-wlm-basic-plugins libpmix-dev munge libmunge2 \
  libprotobuf-c1 libfabric1 libseccomp2 gcc libc6-dev)
payload=$(mktemp -d)
trap 'rm -rf "$payload"' EXIT
chmod 755 "$payload" # jobs and guests read it
# shellcheck source=test/vm/daemons.sh
. test/vm/daemons.sh
copy_daemons "$payload"
cp -r --parents deploy/testbed functions/include test/cluster test/faults test/vm build/dashboard build/native/lib "$payload"
cp --parents build/native/bin/{sublet-*,options-job,durable-job} build/native/functions/*.so "$payload"
install -m 755 test/vm/slurm-guest.sh "$payload/command"
printf '%s\n' "$PWD" > "$payload/built-in"
printf '%s\n' "${files[@]}" > "$payload/suites"
left_out > "$payload/left-out"
printf '%s\n' "${SUBLET_TEST_SLOWNESS:-12}" > "$payload/slowness" # more on a machine that is busy itself
bash deploy/vm/run.sh --systemd --seconds 3600 --memory 5120 "$machine" "$payload"
