#!/usr/bin/env bash
# Builds spank_sublet.so against the Slurm of this machine; needs a C compiler and Slurm's headers (Debian: libslurm-dev,
# RHEL: slurm-devel), nothing else. The plugin carries that Slurm's version: build it again for each release.
# Usage: build-spank.sh [OUTPUT [FOLDER WITH slurm/spank.h]]
set -euo pipefail
here=$(cd "$(dirname "$0")/../../scheduler-plugin" && pwd)
out=${1:-spank_sublet.so}
include=${2:+-I$2}
# shellcheck disable=SC2086 # flags of the site, if any, are words
"${CC:-cc}" ${CFLAGS:--O2 -g} -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -fvisibility=hidden -fPIC -shared -pthread ${include:+"$include"} \
  "$here"/spank/{plugin,settings,consent,step,bounded,cores}.c "$here"/hook/{tell,ask,empty}.c \
  -Wl,--version-script="$here"/spank/spank_sublet.map -Wl,-z,nodelete -o "$out.new"
mv "$out.new" "$out" # Slurm may be loading the old one
