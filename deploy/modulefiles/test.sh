#!/usr/bin/env bash
# Loads and unloads both modulefiles with Lmod (installed from Debian if it is missing) and looks at the paths they set.
# Not in the gate. Ends with "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
list=$(mktemp)
work=$(mktemp -d)
trap 'rm -rf "$work" "$list"' EXIT
printf 'lmod  loads the modulefiles\ntcl  reads the Tcl one\n' > "$list"
bash deploy/setup/apt.sh "$list" || exit 1
passed=0 failed=0
check() {
  if [ "$2" = "$3" ]; then passed=$((passed + 1)); echo "ok   $1"; else
    failed=$((failed + 1)); echo "FAIL $1: '$2', not '$3'"; fi
}
prefix=$work/prefix
mkdir -p "$prefix/lib64" && : > "$prefix/lib64/libsublet.so.1"
lmod=$(find /usr/share/lmod -name lmod -path '*libexec*' | head -n 1)
[ -n "$lmod" ] || { echo "lmod is not where Debian has it" >&2; exit 1; }

# One flavour at a time: VARIABLES after load, after load and unload.
for file in 0.1.0 0.1.0.lua; do
  mkdir -p "$work/$file/sublet"
  cp "deploy/modulefiles/sublet/$file" "$work/$file/sublet/"
  after() { # COMMANDS VARIABLE
    # shellcheck disable=SC2016 # for the inner shell
    env -i PATH="$PATH" HOME="$work" LUA_PATH="${LUA_PATH:-;;}" SUBLET_PREFIX="$prefix" MODULEPATH="$work/$file" \
      LIBRARY_PATH=/before LMOD_CMD="$lmod" LMOD_PKG="$(dirname "$(dirname "$lmod")")" LMOD_IGNORE_CACHE=1 bash -c '
        for each in $1; do eval "$("$LMOD_CMD" bash "$each" sublet)" || exit 1; done
        echo "${!2:-}"' _ "$1" "$2"
  }
  check "$file: SUBLET_ROOT" "$(after load SUBLET_ROOT)" "$prefix"
  check "$file: headers" "$(after load CPATH)" "$prefix/include"
  check "$file: library, before what was there" "$(after load LIBRARY_PATH)" "$prefix/lib64:/before"
  check "$file: run-time path" "$(after load LD_LIBRARY_PATH)" "$prefix/lib64"
  check "$file: pkg-config" "$(after load PKG_CONFIG_PATH)" "$prefix/lib64/pkgconfig"
  check "$file: CMake" "$(after load CMAKE_PREFIX_PATH)" "$prefix"
  check "$file: unloaded, nothing stays" "$(after 'load unload' SUBLET_ROOT)$(after 'load unload' LIBRARY_PATH)" /before
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
