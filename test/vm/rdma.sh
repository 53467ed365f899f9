#!/usr/bin/env bash
# Calls and regions over RDMA: builds a machine with soft-RoCE from Debian's packages, runs the tests of the fabric in
# it over verbs, the sandbox's, and a lease of a real agent, and compares there, in turns, a call with fi_pingpong and
# accesses to a region with raw verbs (perftest).
# Figures go to build/bench/rdma.json.
#
#   test/vm/rdma.sh [--rounds N] [--only PROGRAM[,...] [--over PROVIDER] [--times N]] [--backtrace]
#
#   --rounds N       of figures (5; with --only 0); 0: tests only
#   --only ...       these test programs alone, e.g. client_durable_test; `lease`: that of an agent
#   --over PROVIDER  instead of verbs;msg
#   --times N        each of them so often
#   --backtrace      with gdb in the machine, which shows where a program crashed
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds='' only='' over='verbs;msg' times=1 packages=()
usage() { sed -n 's/^#   //p' test/vm/rdma.sh >&2; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    --rounds | --only | --over | --times) [ $# -gt 1 ] || usage ;;&
    --rounds) rounds=$2; shift 2 ;;
    --only) only=${2//,/ }; shift 2 ;;
    --over) over=$2; shift 2 ;;
    --times) times=$2; shift 2 ;;
    --backtrace) packages=(gdb); shift ;;
    *) usage ;;
  esac
done
if [ -z "$rounds" ]; then [ -n "$only" ] && rounds=0 || rounds=5; fi
bash deploy/setup/setup.sh
machine=$(bash deploy/vm/build.sh rdma-core ibverbs-providers libfabric-bin perftest libprotobuf-c1 libcmocka0 libmunge2 munge "${packages[@]}")
payload=$(mktemp -d)
output=$(mktemp)
trap 'rm -rf "$payload" "$output"' EXIT
install -m 755 test/vm/rdma-guest.sh "$payload/command"
# The same places as here, since the programs know where their executor and their functions are.
native=$payload/root$PWD/build/native
mkdir -p "$native"
(cd build/native && cp -a --parents \
  bin/{ofi_test,client_fabric_test,client_fabric_path,client_fabric_lease,sandbox_test} \
  bin/client_{fabric_region,region_access,map,durable}_test bin/client_fabric_region_path \
  bin/sublet-{executor,starter,door,fabric-probe} lib/libsublet.so* \
  test/native/client/client_functions.so test/native/launch/probe "$native")
# shellcheck source=test/vm/daemons.sh
. test/vm/daemons.sh
copy_daemons "$payload"
printf '%s\n' "$PWD" > "$payload/where"
printf '%s=%q\n' rounds "$rounds" only "$only" over "$over" times "$times" > "$payload/options"
status=0
bash deploy/vm/run.sh --seconds 2700 "$machine" "$payload" | tee "$output" | sed -u '/^figure /d' || status=$?
if [ "$rounds" -gt 0 ]; then bash deploy/setup/node24.sh test/vm/rdma-figures.ts < "$output" || status=1; fi
exit $status
