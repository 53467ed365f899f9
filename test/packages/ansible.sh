#!/usr/bin/env bash
# The Ansible role and its rollout.yml in a Debian machine with systemd and Slurm (deploy/vm): a roll-out from nothing, one
# that its canary stops, new settings under a guest and a batch job, the off switch, all of it taken away. Takes the packages of
# build/packages, and builds them where there are none. Skipped, with a word, where Debian's ansible-core is not to be had.
# Ends with "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! [[ $(apt-cache policy ansible-core 2> /dev/null) =~ Candidate:\ *[0-9] ]]; then
  echo "skipped: the mirrors of this machine have no ansible-core"
  exit 0
fi
[ -n "$(compgen -G 'build/packages/*.deb')" ] || bash deploy/package/build.sh
# shellcheck source=test/packages/machine-packages.sh
. test/packages/machine-packages.sh
machine=$(bash deploy/vm/build.sh "${machine_packages[@]}" ansible-core python3-apt)
payload=$(mktemp -d)
trap 'rm -rf "$payload"' EXIT
mkdir "$payload/repository"
cp build/packages/*.deb "$payload/repository/"
(cd "$payload/repository" && dpkg-scanpackages --multiversion . > Packages 2> /dev/null)
put_cluster "$payload" build/packages
cp -rL deploy/ansible "$payload/"
install -m 755 test/packages/ansible-guest.sh "$payload/command"
bash deploy/vm/run.sh --systemd --seconds 7200 --memory 3072 "$machine" "$payload"
