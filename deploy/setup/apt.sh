#!/usr/bin/env bash
# Installs those Debian packages of a list (NAME WHY, one a line) that are missing. No daemon of theirs is started.
#
#   apt.sh LIST
set -euo pipefail
[ $# = 1 ] || { sed -n 's/^#   //p' "$0" >&2; exit 2; }
list=$1
say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

mapfile -t packages < <(grep -vE '^[[:space:]]*(#|$)' "$list" | awk '{print $1}')
missing=()
for p in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null || true)" = installed ] || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || die "these Debian packages are missing and only root can install them: ${missing[*]}"
  for p in "${missing[@]}"; do
    say "will install $p ($(awk -v p="$p" '$1==p {$1=""; sub(/^ +/,""); print}' "$list"))"
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
  apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "${missing[@]}" > "$log" 2>&1 || { tail -n 20 "$log" >&2; die "apt-get install failed"; }
  rm -f "$log"
fi
