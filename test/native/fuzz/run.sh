#!/usr/bin/env bash
# Builds the libFuzzer targets with clang and runs them. Ends with "N passed, N failed".
set -uo pipefail
usage() {
  cat << 'TXT'
usage: npm run fuzz [-- OPTIONS] [TARGET...]

  --runs N     executions in all, shared evenly by the targets (default 2000000)
  --nightly    the long form: --runs 100000000
  --help       this text

What an earlier run learned is kept in build/fuzz/corpus and used again; a finding is kept in build/fuzz/findings
and shown: repeat it with build/fuzz/bin/TARGET FILE. Targets: fuzz_control, fuzz_stream, fuzz_ring, ...
(test/native/fuzz/*.c).
TXT
}
runs=2000000
targets=()
while [ $# -gt 0 ]; do
  case "$1" in
    --runs)
      runs=${2:-}
      shift
      ;;
    --nightly) runs=100000000 ;;
    --help | -h)
      usage
      exit 0
      ;;
    -*)
      echo "fuzz: unknown option $1; see --help" >&2
      exit 2
      ;;
    *) targets+=("$1") ;;
  esac
  shift
done
case $runs in
  '' | *[!0-9]* | 0*)
    echo "fuzz: --runs takes a whole number above 0, not '$runs'" >&2
    exit 2
    ;;
esac
cd "$(dirname "$0")/../../.." || exit 1
all=()
for source in test/native/fuzz/fuzz_*.c; do all+=("$(basename "$source" .c)"); done
NINJA_TARGETS="${all[*]}" CC=clang bash deploy/setup/build.sh build/fuzz -DSUBLET_FUZZ=ON || exit 1
[ ${#targets[@]} -gt 0 ] || targets=("${all[@]}")
each=$(((runs + ${#targets[@]} - 1) / ${#targets[@]}))
passed=0
failed=0
# 500,000 executions a process: what a target leaks in the kernel or in itself stays bounded.
chunk=500000
mkdir -p build/fuzz/findings
for target in "${targets[@]}"; do
  program=build/fuzz/bin/$target
  if [ ! -x "$program" ]; then
    echo "fuzz: there is no target $target; see test/native/fuzz" >&2
    exit 2
  fi
  corpus=build/fuzz/corpus/$target
  mkdir -p "$corpus"
  log=$(mktemp)
  done_runs=0
  begin=$SECONDS
  rc=0
  while [ $done_runs -lt $each ] && [ $rc = 0 ]; do
    now=$((each - done_runs < chunk ? each - done_runs : chunk))
    "$program" "-runs=$now" -max_len=4096 -timeout=20 -rss_limit_mb=2048 -verbosity=1 -print_final_stats=1 \
      "-artifact_prefix=build/fuzz/findings/$target-" "$corpus" > "$log" 2>&1 || rc=$?
    ran=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    done_runs=$((done_runs + ${ran:-$now}))
    [ -t 2 ] && printf '\r%s: %d of %d executions' "$target" $done_runs $each >&2
  done
  [ -t 2 ] && printf '\r\033[K' >&2
  took=$((SECONDS - begin))
  if [ $rc = 0 ]; then
    passed=$((passed + 1))
    cover=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    echo "ok   $target: $done_runs executions in $took s, ${cover:-?} edges, $(find "$corpus" -type f | wc -l) inputs kept"
  else
    failed=$((failed + 1))
    echo "FAIL $target (exit status $rc)"
    tail -n 60 "$log"
  fi
  rm -f "$log"
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
