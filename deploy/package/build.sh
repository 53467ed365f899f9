#!/usr/bin/env bash
# Builds the Debian packages of this tree into build/packages. `npm run package` is this.
#
#   build.sh [--version VERSION] [--into FOLDER]
#
# The tree is copied (what git knows or would add), deploy/debian becomes debian/, and dpkg-buildpackage does the rest. The
# same commit gives the same bytes, whenever and wherever: times are the commit's, paths are mapped away. A version other
# than package.json's is for tests of upgrades.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
into=build/packages
usage() { sed -n 's/^#   //p' deploy/package/build.sh >&2; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    --version | --into) [ $# -gt 1 ] || usage ;;&
    --version) version=$2; shift 2 ;;
    --into) into=$2; shift 2 ;;
    *) usage ;;
  esac
done
say() { printf 'package: %s\n' "$*" >&2; }

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2> /dev/null || stat -c %Y package.json)}
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8 TZ=UTC
mkdir -p "$into"
into=$(cd "$into" && pwd)
work=$into/work
rm -rf "$work"
tree=$work/sublet-$version
mkdir -p "$tree"
git ls-files -co --exclude-standard -z | while IFS= read -r -d '' file; do
  if [ -e "$file" ]; then printf '%s\0' "$file"; fi
done | cpio --quiet -0 -pdm "$tree"
ln -s "$root/node_modules" "$tree/node_modules"
sed -i "s/^  \"version\": \".*\",\$/  \"version\": \"$version\",/" "$tree/package.json"
cp -r "$tree/deploy/debian" "$tree/debian"
cat > "$tree/debian/changelog" << CHANGELOG
sublet ($version) unstable; urgency=medium

  * See CHANGELOG.md.

 -- Sublet maintainers <maintainers@sublet.invalid>  $(date -R -d "@$SOURCE_DATE_EPOCH")
CHANGELOG

say "building $version (about a minute; log in ${work#"$root"/}/log)"
export DEB_BUILD_OPTIONS=${DEB_BUILD_OPTIONS:-noautodbgsym parallel=$(nproc)}
# Compilers of a developer's machine stay out of it.
unset CMAKE_C_COMPILER_LAUNCHER CFLAGS CPPFLAGS LDFLAGS
(cd "$tree" && dpkg-buildpackage --build=binary --no-sign) > "$work/log" 2>&1 || { tail -n 25 "$work/log" >&2; exit 1; }
rm -f "$into"/*.deb
mv "$work"/*.deb "$into/"
mv "$work"/*.buildinfo "$work"/*.changes "$into/" 2> /dev/null || true
say "packages are in ${into#"$root"/}:"
for package in "$into"/*.deb; do
  printf '%8s KiB installed  %s\n' "$(dpkg-deb -f "$package" Installed-Size)" "$(basename "$package")"
done
