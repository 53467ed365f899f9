#!/usr/bin/env bash
# What `npm run bench:path` needs beyond the project itself: Debian packages (packages.txt beside this file) and two
# small programs that use them. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/../.."
die() { printf 'bench: %s\n' "$*" >&2; exit 1; }

bash deploy/setup/apt.sh test/bench/packages.txt

# build PROGRAM COMPILER OPTION...: when a source is newer than the program.
build() {
  local program=build/bench/bin/$1 compiler=$2 source=functions/bench/$1.c
  shift 2
  if [ "$program" -nt "$source" ] && [ "$program" -nt functions/bench/measure.c ]; then return; fi
  mkdir -p build/bench/bin
  "$compiler" -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Ifunctions "$source" functions/bench/measure.c -o "$program" "$@" ||
    die "cannot build $program"
}
build mpi_bench mpicc
build redis_bench cc -lhiredis
