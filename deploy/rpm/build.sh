#!/usr/bin/env bash
# Builds the rpms of this tree into build/rpm. On Debian, too (package rpm, with --nodeps): such rpms need Debian's
# libraries, so that is a test of the spec.
#
#   build.sh [OPTION OF RPMBUILD...]
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8 TZ=UTC
unset CMAKE_C_COMPILER_LAUNCHER CFLAGS CPPFLAGS LDFLAGS
top=$PWD/build/rpm
rm -rf "$top"
mkdir -p "$top/SOURCES" "$top/work"
tree=$top/work/sublet-$version
mkdir "$tree"
git ls-files -co --exclude-standard -z | while IFS= read -r -d '' file; do
  if [ -e "$file" ]; then printf '%s\0' "$file"; fi
done | cpio --quiet -0 -pdm "$tree"
ln -s "$PWD/node_modules" "$tree/node_modules"
tar -C "$top/work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -czf \
  "$top/SOURCES/sublet-$version.tar.gz" "sublet-$version"
rpmbuild --quiet -bb "$@" --define "_topdir $top" --define "sublet_version $version" deploy/rpm/sublet.spec \
  > "$top/log" 2>&1 || { tail -n 30 "$top/log" >&2; exit 1; }
find "$top/RPMS" -name '*.rpm' | sort
