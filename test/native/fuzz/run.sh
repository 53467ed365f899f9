#!/usr/bin/env bash
# Builds the libFuzzer targets with clang and runs them. Ends with "N passed, N failed".
set -uo pipefail
usage() {
  cat << 'TXT'
usage: npm run fuzz [-- OPTIONS] [TARGET...]

  --runs N     executions in all, shared evenly by the targets (default 2000000; with --nightly 100000000)
  --nightly    the long form. It can be ended at any time and goes on where it was, but for targets that were built
               anew since; build/fuzz/nightly.txt says what was done. After one that is whole the next begins
  --help       this text

What an earlier run learned is kept in build/fuzz/corpus and used again; a finding is kept in build/fuzz/findings
and shown: repeat it with build/fuzz/bin/TARGET FILE. Targets: fuzz_control, fuzz_stream, fuzz_ring, ...
(test/native/fuzz/*.c).

Thousands of executions in a second of one core, with a young corpus (an old one has longer inputs, and is slower):
code 17, control 41, ofi_calls 19, region 11, region_fabric 20, ring 40, settings 240, stream 25, symbols 290; and
per second of processor time on a busy machine, where code came to 6 and ring to 7: door 6, client_agent 1.7,
client_region 1 (with and without a fabric), client_stream 1, client_fabric 0.7, client_ring 0.6. So --nightly takes
many hours, most of them for client_*.
TXT
}
runs=
nightly=
targets=()
while [ $# -gt 0 ]; do
  case "$1" in
    --runs)
      runs=${2:-none}
      shift
      ;;
    --nightly) nightly=yes ;;
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
runs=${runs:-${nightly:+100000000}}
runs=${runs:-2000000}
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
ended=
trap 'ended=yes' INT TERM
# A nightly run's file per target: the program's hash, executions, seconds, edges, and how it stands.
state=build/fuzz/nightly
[ -z "$nightly" ] || mkdir -p "$state"
[ -z "$nightly" ] || [ -f "$state/.begun" ] || date --utc '+%F %T' > "$state/.begun"
note() { if [ -n "$nightly" ]; then echo "$*" > "$state/.$target" && mv "$state/.$target" "$state/$target"; fi; }
summary() {
  local name hash count seconds edges how
  echo "# npm run fuzz -- --nightly: $runs executions wanted, begun $(cat "$state/.begun"), as of $(date --utc '+%F %T') UTC"
  echo "# commit $(git describe --always --dirty 2> /dev/null || echo unknown), $(nproc) cores"
  printf '%-20s %12s %9s %9s %7s  %s\n' target executions seconds a_second edges state
  for name in "${targets[@]}"; do
    read -r hash count seconds edges how 2> /dev/null < "$state/$name" || read -r hash count seconds edges how <<< "- 0 0 - waits"
    printf '%-20s %12d %9d %9d %7s  %s\n' "$name" "$count" "$seconds" $((count / (seconds > 0 ? seconds : 1))) "$edges" "$how"
  done
}
for target in "${targets[@]}"; do
  [ -z "$ended" ] || break
  program=build/fuzz/bin/$target
  if [ ! -x "$program" ]; then
    echo "fuzz: there is no target $target; see test/native/fuzz" >&2
    exit 2
  fi
  corpus=build/fuzz/corpus/$target
  mkdir -p "$corpus"
  bash test/native/fuzz/seeds.sh "$target" "$corpus" || exit 1
  done_runs=0
  took=0
  hash=$(sha256sum < "$program" | cut -c 1-16)
  if [ -n "$nightly" ] && [ "$(cut -d ' ' -f 1 "$state/$target" 2> /dev/null)" = "$hash" ]; then
    read -r _ done_runs took _ how < "$state/$target"
    if [ "$how" = found ]; then
      failed=$((failed + 1))
      echo "FAIL $target: what was found in this very program is not mended, see build/fuzz/findings"
      continue
    fi
  fi
  log=$(mktemp)
  begin=$((SECONDS - took))
  rc=0
  while [ "$done_runs" -lt $each ] && [ $rc = 0 ] && [ -z "$ended" ]; do
    now=$((each - done_runs < chunk ? each - done_runs : chunk))
    "$program" "-runs=$now" -max_len=4096 -timeout=20 -rss_limit_mb=2048 -verbosity=1 -print_final_stats=1 \
      "-artifact_prefix=build/fuzz/findings/$target-" "$corpus" > "$log" 2>&1 || rc=$?
    [ -z "$ended" ] || break
    ran=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    done_runs=$((done_runs + ${ran:-$now}))
    took=$((SECONDS - begin))
    cover=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    how=begun
    [ "$done_runs" -lt $each ] || how="done"
    [ $rc = 0 ] || how=found
    note "$hash" "$done_runs" "$took" "${cover:--}" $how
    [ -t 2 ] && printf '\r%s: %d of %d executions' "$target" "$done_runs" $each >&2
  done
  [ -t 2 ] && printf '\r\033[K' >&2
  if [ -n "$ended" ]; then
    echo "ended in $target"
  elif [ $rc = 0 ]; then
    passed=$((passed + 1))
    echo "ok   $target: $done_runs executions in $took s, ${cover:-?} edges, $(find "$corpus" -type f | wc -l) inputs kept"
  else
    failed=$((failed + 1))
    echo "FAIL $target (exit status $rc)"
    tail -n 60 "$log"
  fi
  rm -f "$log"
  [ -z "$nightly" ] || summary > build/fuzz/nightly.txt
done
if [ -n "$nightly" ]; then
  echo "build/fuzz/nightly.txt:"
  cat build/fuzz/nightly.txt
  [ -n "$ended" ] || [ $failed != 0 ] || rm -rf "$state"
fi
if [ -n "$ended" ]; then
  echo "ended before it was whole${nightly:+; the same command goes on from here}"
  exit 130
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]
