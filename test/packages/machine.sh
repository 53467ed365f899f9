#!/usr/bin/env bash
# The packages in a Debian machine with systemd and Slurm (deploy/vm, made by mmdebstrap): installed, upgraded and downgraded
# under a guest and a batch job, purged; nothing is left. Ends with "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
next=${version%.*}.$((${version##*.} + 1))
for each in "$version" "$next"; do
  if [ "${1:-}" = --built ]; then continue; fi # by an earlier run
  bash deploy/package/build.sh --version "$each" --into "build/packages-test/$each"
done
# shellcheck source=test/packages/machine-packages.sh
. test/packages/machine-packages.sh
machine=$(bash deploy/vm/build.sh "${machine_packages[@]}")
payload=$(mktemp -d)
trap 'rm -rf "$payload"' EXIT
mkdir "$payload/old" "$payload/new"
cp build/packages-test/"$version"/*.deb "$payload/old/"
cp build/packages-test/"$next"/*.deb "$payload/new/"
echo "$version" > "$payload/old/version"
echo "$next" > "$payload/new/version"
put_cluster "$payload" "$payload/old"
cp deploy/slurm/prolog.example.sh deploy/slurm/plugstack.example.conf "$payload/"
install -m 755 test/packages/guest.sh "$payload/command"
bash deploy/vm/run.sh --systemd --seconds 2400 --memory 3072 "$machine" "$payload"
