# shellcheck shell=bash
# Sourced: how a step of a test is told, and words for steps. What a step prints is in the file $log, and shown when it fails.
passed=0 failed=0
: "${log:=/tmp/log}"
show() { sed 's/^/    /' "$1" | tail -n "${2:-25}"; }
# one NAME COMMAND...
one() {
  local name=$1
  shift
  if "$@" > "$log" 2>&1; then passed=$((passed + 1)); echo "ok   $name"; else failed=$((failed + 1)); echo "FAIL $name: $*"; show "$log" 40; fi
}
no() { ! "$@"; }
is() { [ "$1" = "$2" ] || { echo "$1, expected $2"; return 1; }; }
# Says how it went, and is its exit status.
ended() {
  echo "$passed passed, $failed failed"
  [ $failed = 0 ]
}
