#!/usr/bin/env bash
# The rpms of build/rpm in a Debian root of mmdebstrap (that of machine.sh), without a boot, by Debian's rpm and without their
# dependencies, which are no rpms there: installed, asked, their scriptlets, settings that an administrator changed through an
# upgrade, removal refused while slurm.conf names the hook, erased with nothing left. Ends with "N passed, N failed". Needs root.
# shellcheck disable=SC2016 # what bash -c gets expands there
set -euo pipefail
cd "$(dirname "$0")/../.."
shopt -s nullglob
rpms=("$PWD"/build/rpm/RPMS/*/*.rpm)
[ ${#rpms[@]} -gt 0 ] || { echo "rpm.sh: no rpms in build/rpm: deploy/rpm/build.sh --nodeps makes them" >&2; exit 2; }
shopt -u nullglob
# shellcheck source=test/packages/root-image.sh
. test/packages/root-image.sh

ours=()
for file in "${rpms[@]}"; do ours+=("$(rpm -qp --queryformat '%{NAME}' "$file")"); done
# What it says is kept for the step behind it.
in_root() {
  local rc=0
  timeout 120 rpm --root "$root" "$@" > "$work/said" 2>&1 || rc=$?
  cat "$work/said"
  return $rc
}
quiet() { no grep -i -e warning -e error -e failed "$work/said"; }
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
# Users stay with rpms, as Fedora has it: files of theirs may be left somewhere. /run/systemd is what systemd-analyze writes.
everything() { all_of_root -path ./var/lib/rpm -o -path ./root/.rpmdb -o -path ./run/systemd | grep -v '^sublet:'; }
said() { [ "$("${@:2}")" = "$1" ]; }

in_root --initdb
# Folders that are other packages' in a distribution of rpms, and not there in Debian.
mkdir -p "$root"/usr/lib64/{cmake,pkgconfig,slurm} "$root"/usr/share/man/man{1,5,7,8}
everything > "$work/before"
one "rpms install" in_root -i --nodeps "${rpms[@]}"
one "without a word" quiet
one "all files are as packed" in_root -V --nodeps "${ours[@]}"
one "no file belongs to two" bash -c '[ -z "$(rpm --root "$1" -qal | sort | uniq -d | while read -r path; do [ -d "$1$path" ] || echo "$path"; done)" ]' two "$root"
one "nothing is enabled" bash -c '! ls "$1"/etc/systemd/system/*/sublet* 2> /dev/null' none "$root"
one "systemd takes the units" inside systemd-analyze verify --man=no /usr/lib/systemd/system/sublet-{agent,starter,controller}.service
one "the controller has its user, who cannot log in" grep -q '^sublet:.*:/var/lib/sublet:/sbin/nologin$' "$root/etc/passwd"
for program in sublet-agent sublet-controller; do one "$program says its version" said "$program $version" inside "$program" --version; done
one "sublet says its version" said "$version" inside sublet --version
one "the agent takes its settings" inside sublet-agent --set fabric_address=127.0.0.1 --check-config
one "the controller takes its settings" inside sublet-controller --check-config
one "the hook ends with 0 where no agent is" inside /usr/lib/sublet/bin/sublet-hook prolog

echo '# of the site' >> "$root/etc/sublet/agent.toml"
one "the same once more, as an upgrade does it" in_root -U --nodeps --replacepkgs "${rpms[@]}"
one "what the site has changed stays" grep -q '^# of the site$' "$root/etc/sublet/agent.toml"

mkdir -p "$root/etc/slurm"
echo 'Prolog=/usr/lib/sublet/bin/sublet-hook' > "$root/etc/slurm/slurm.conf"
one "removal is refused while slurm.conf names the hook" no in_root -e sublet-agent
one "and says why" grep -q '/etc/slurm/slurm.conf names the hook' "$work/said"
one "the agent is still there" in_root -q sublet-agent
echo '#Prolog=/usr/lib/sublet/bin/sublet-hook' > "$root/etc/slurm/slurm.conf"
one "erased" in_root -e "${ours[@]}"
rm "$root/etc/slurm/slurm.conf"
rmdir "$root/etc/slurm" 2> /dev/null || true # was not there before
one "changed settings are saved" grep -q '^# of the site$' "$root/etc/sublet/agent.toml.rpmsave"
rm -f "$root/etc/sublet/agent.toml.rpmsave"
rmdir "$root/etc/sublet" 2> /dev/null || true # rpm leaves it to what is saved in it
everything > "$work/after"
one "nothing is left" diff "$work/before" "$work/after"
ended
