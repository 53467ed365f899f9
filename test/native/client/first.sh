#!/usr/bin/env bash
# The first program of docs/programmer.md, by the commands that stand below it, against an installation in a prefix of its own.
# Usage: first.sh SOURCE_DIR BUILD_DIR. Exit status 77: it was not run, and why is said.
set -euo pipefail
[ -z "$(command -v mpicc || true)" ] && { echo "not run: there is no mpicc"; exit 77; }
source=$1 build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
DESTDIR='' cmake -DCMAKE_INSTALL_PREFIX="$work/prefix" -P "$build/functions/client/cmake_install.cmake" > /dev/null
export PKG_CONFIG_PATH
PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name sublet.pc)")
cd "$work"
# A block of C begins with its file's name; the block of the shell that calls mpicc has the commands.
awk -v folder="$work" '
  /^```c$/ { block = 1; next }
  /^```sh$/ { block = 2; text = ""; next }
  /^```$/ { if (block == 2 && text ~ /mpicc/) printf "%s", text > (folder "/commands"); block = 0; file = ""; next }
  block == 1 && file == "" && /^\/\* [a-z]+\.c: / { file = folder "/" substr($2, 1, length($2) - 1) }
  block == 1 { if (file != "") print > file }
  block == 2 { text = text $0 "\n" }' "$source/docs/programmer.md"
grep -v '^srun ' commands > build.sh
[ "$(grep -c . build.sh)" = 2 ]
bash -eux build.sh
# Wherever pkg-config says that it is.
LD_LIBRARY_PATH=$(pkg-config --variable=libdir sublet)
export LD_LIBRARY_PATH SUBLET_AGENT_SOCKET=/nonexistent
[ "$LD_LIBRARY_PATH" = "$(dirname "$PKG_CONFIG_PATH")" ]
./first > out 2> err
cat out err
grep -qx 'rank 0: 0 items on leased cores, 400 here' out
grep -q '^sum -\?[0-9.]\+$' out
grep -q '^rank 0 works alone: no agent answers at /nonexistent' err
