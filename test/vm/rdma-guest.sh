#!/bin/bash
# Runs in the machine of deploy/vm: two interfaces of one node, soft-RoCE on them, then tests and figures.
where=$(cat where)
mkdir -p "$(dirname "$where")"
ln -sfn "$PWD/root$where" "$where"
cd "$where/build/native" || exit 125
modprobe -a configfs rdma_rxe rdma_ucm ib_uverbs veth || exit 125 # without configfs, rdma_ucm fails and says nothing
ip link add d0 type veth peer name d1
ip addr add 10.9.0.1/24 dev d0
ip addr add 10.9.0.2/24 dev d1
for end in d0 d1; do
  ip link set $end up
  sysctl -qw net.ipv4.conf.$end.accept_local=1 net.ipv4.conf.$end.rp_filter=0
done
sysctl -qw net.ipv4.conf.all.rp_filter=0
rdma link add rxe0 type rxe netdev d0 || exit 125
export SUBLET_FABRIC_PROVIDER='verbs;ofi_rxm' SUBLET_TEST_ADDRESS=10.9.0.1
failed=0
run() {
  local began=$SECONDS
  if timeout 120 "$@" > /tmp/output 2>&1; then
    echo "ok   $(basename "$1") over verbs, soft-RoCE ($((SECONDS - began)) s)"
    grep '^skipped' /tmp/output
  else
    cat /tmp/output
    echo "FAIL $(basename "$1")"
    failed=1
  fi
}
run bin/ofi_test
exit $failed
