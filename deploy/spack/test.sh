#!/usr/bin/env bash
# The recipe without Spack, which Debian has not: its own code, with a stand-in for what it imports (stand_in/), runs cmake, ninja
# and the installation as Spack's phases would; then a program is built against what lies in the prefix. What only Spack
# can show (concretizing, its compilers, its dependencies) is not shown. Ends with "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck disable=SC2034 # for steps.sh
log=$work/log
# shellcheck source=test/steps.sh
. test/steps.sh
# The sources as a checkout has them: nothing that a build has left.
mkdir "$work/source"
git ls-files -co --exclude-standard -z | while IFS= read -r -d '' file; do
  if [ -e "$file" ]; then printf '%s\0' "$file"; fi
done | xargs -0 cp --parents -t "$work/source"
one "the recipe's phases" env PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=deploy/spack/stand_in \
  python3 deploy/spack/stand_in/phases.py deploy/spack/packages/sublet/package.py "$work/source" "$work/build" "$work/prefix"
pc=$(dirname "$(find "$work/prefix" -name sublet.pc 2> /dev/null)")
cat > "$work/client.c" << 'C'
#include <sublet/sublet.h>
#include <stdio.h>
int main(void) { return printf("%s\n", sublet_status_text(SUBLET_OK)) < 0; }
C
read -ra flags <<< "$(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs sublet)"
one "a program is built against the prefix" cc -Wall -Wextra -Werror -o "$work/client" "$work/client.c" "${flags[@]}"
one "and runs with its library" env LD_LIBRARY_PATH="$(PKG_CONFIG_PATH=$pc pkg-config --variable=libdir sublet)" "$work/client"
one "nothing names the folder of the build" no grep -rlF "$work/build" "$work/prefix"
ended
