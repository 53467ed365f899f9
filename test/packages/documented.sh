#!/usr/bin/env bash
# The commands of the pages, as they are written there, in a Debian machine with systemd and Slurm (deploy/vm): installation,
# upgrade, way back, off switch, removal. Which blocks those are says test/unit/docs/blocks.ts. Takes the packages that
# machine.sh has built, and builds them where there are none. Ends with "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
next=${version%.*}.$((${version##*.} + 1))
for each in "$version" "$next"; do
  [ -n "$(compgen -G "build/packages-test/$each/*.deb")" ] ||
    bash deploy/package/build.sh --version "$each" --into "build/packages-test/$each"
done
# shellcheck source=test/packages/machine-packages.sh
. test/packages/machine-packages.sh
machine=$(bash deploy/vm/build.sh "${machine_packages[@]}")
payload=$(mktemp -d)
trap 'rm -rf "$payload"' EXIT
mkdir "$payload/old" "$payload/new" "$payload/blocks"
cp build/packages-test/"$version"/*.deb "$payload/old/"
cp build/packages-test/"$next"/*.deb "$payload/new/"
echo "$version" > "$payload/old/version"
echo "$next" > "$payload/new/version"
bash deploy/setup/node24.sh test/unit/docs/export.ts machine "$payload/blocks"
put_cluster "$payload" "$payload/old"
install -m 755 test/packages/documented-guest.sh "$payload/command"
bash deploy/vm/run.sh --systemd --seconds 2400 --memory 3072 "$machine" "$payload"
