#!/usr/bin/env bash
# Checks the models of the data path with spin: all interleavings of each, and that each known mistake is found.
# Ends with "N passed, N failed". Needs spin and a C compiler (deploy/setup/packages.txt).
set -uo pipefail
cd "$(dirname "$0")" || exit 1
passed=0
failed=0

# model NAME clean|found SPIN-FLAGS...: "found" = the checker must report an error.
model() {
  local name=$1 expected=$2 dir log errors
  shift 2
  dir=$(mktemp -d)
  log=$dir/log
  cp "$name.pml" "$dir/model.pml"
  cp -- *.inc "$dir"
  # No partial order reduction: it is not sound with `unless`, and the models are small.
  if (cd "$dir" && spin -a "$@" model.pml && cc -w -O1 -DSAFETY -DNOREDUCE -DMEMLIM=2048 -o pan pan.c && timeout 300 ./pan -m1000000) \
    > "$log" 2>&1; then
    errors=$(sed -n 's/.*errors: \([0-9]*\)$/\1/p' "$log" | tail -n 1)
  else
    errors=unknown
  fi
  if grep -q 'Search not completed\|max search depth too small\|out of memory' "$log" && [ "$expected" = clean ]; then errors=unfinished; fi
  if { [ "$expected" = clean ] && [ "$errors" = 0 ]; } || { [ "$expected" = found ] && [ "${errors:-0}" = 1 ]; }; then
    passed=$((passed + 1))
    echo "ok   $name $* ($(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$log") states, $expected)"
  else
    failed=$((failed + 1))
    echo "FAIL $name $*: expected $expected, errors: ${errors:-none reported}"
    tail -n 40 "$log"
  fi
  rm -rf "$dir"
}

model ring_wake clean
model ring_wake clean -DFUTEX
model ring_wake found -DNO_FENCE
model ring_wake found -DNO_FENCE -DFUTEX
model ring_wake found -DNO_SECOND_LOOK
model ring_wake found -DNO_SECOND_LOOK -DFUTEX
model ring_reuse clean
model ring_reuse found -DPLAIN_BIT
model ring_reuse found -DSEQUENCE_FIRST
model ring_reuse found -DNOT_WITHDRAWN
model ring_reuse found -DNO_CLAIM
model fabric_credits clean
model fabric_credits clean -DMANUAL
model fabric_credits clean -DMANUAL -DSLOTS=4
model fabric_credits clean -DPLAIN
model fabric_credits found -DEARLY_FREE
model fabric_credits found -DMANUAL -DSLOTS=4 -DNO_DRAIN
model fabric_credits found -DNO_STALL_END
model fabric_credits found -DFEW_RECEIVES
model fabric_credits found -DOVERPROMISED
model fabric_credits found -DPLAIN -DOVERTAKES
model call_owner clean
model call_owner found -DLATE_ANNOUNCE
model call_owner found -DNO_THIRD_LOOK
model call_owner found -DSTALE_NOTE
model call_owner found -DNO_FIRST_LOOK -DNO_GIVE_BACK
model call_owner found -DNO_GIVE_BACK
model client_leaves clean
model client_leaves found -DENDS_ANSWERING
model client_leaves found -DNO_CLOSED_LOOK
model client_leaves found -DNO_SWAP
model stream_memory clean
model stream_memory found -DNO_TURNS
model stream_memory found -DNO_ORDER
model stream_memory found -DNO_TRIM
model stream_memory found -DNO_STALL
model stream_memory found -DNO_DROP
model stream_memory found -DBY_PIECES
model stream_memory found -DDEAF
model worker_memory clean
model worker_memory found -DNO_END
model worker_memory found -DNO_TURNS
model worker_memory found -DNO_STEP_BACK
model worker_memory found -DNO_STALL
echo "$passed passed, $failed failed"
[ $failed = 0 ]
