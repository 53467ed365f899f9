#!/usr/bin/env bash
# The packages of build/packages in a Debian root of mmdebstrap (that of machine.sh), without a boot: installed, their daemons
# and the command asked, removed, installed again, purged with nothing left. Ends with "N passed, N failed". Needs root.
# shellcheck disable=SC2016 # what bash -c gets expands in the root
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=test/packages/root-image.sh
. test/packages/root-image.sh
mkdir "$root/payload"
cp build/packages/*.deb "$root/payload/"

everything() { all_of_root -path ./payload -o -path ./var/lib/dpkg; }
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
ours=(sublet-agent sublet-controller sublet libsublet-dev libsublet1 slurm-spank-sublet sublet-runtime)

everything > "$work/before"
one "packages install" inside bash -c 'dpkg -i /payload/*.deb'
one "nothing is enabled" bash -c '! ls "$1"/etc/systemd/system/*/sublet* 2> /dev/null' none "$root"
one "the controller has its user" grep -q ^sublet: "$root/etc/passwd"
one "all files are as packed" inside dpkg --verify "${ours[@]}"
for program in sublet-agent sublet-controller; do
  one "$program says its version" bash -c '[ "$("${@:2}")" = "$1" ]' version "$program $version" \
    timeout 60 chroot "$root" "/usr/sbin/$program" --version
done
one "sublet says its version" bash -c '[ "$("${@:2}")" = "$1" ]' version "$version" timeout 60 chroot "$root" /usr/bin/sublet --version
one "the agent takes its settings" inside sublet-agent --set fabric_address=127.0.0.1 --check-config
one "the controller takes its settings" inside sublet-controller --check-config
one "the hook ends with 0 where no agent is" inside /usr/lib/sublet/bin/sublet-hook prolog
# Without root, in a folder of one's own: what the command uses lies there, too.
unpack() {
  for package in sublet-runtime sublet-agent sublet; do inside bash -c "dpkg-deb -x /payload/${package}_*.deb /payload/home" || return; done
}
one "packages are unpacked" unpack
mv "$root/usr/lib/sublet" "$root/usr/lib/sublet.away"
one "the unpacked command says its version" bash -c '[ "$("${@:2}")" = "$1" ]' version "$version" \
  timeout 60 chroot --userspec=65534:65534 "$root" /payload/home/usr/bin/sublet --version
one "by a link as well" bash -c 'ln -s /payload/home/usr/bin/sublet "$1/payload/link" && [ "$("${@:3}")" = "$2" ]' \
  link "$root" "$version" timeout 60 chroot --userspec=65534:65534 "$root" /payload/link --version
pilot() {
  local script main
  script=$(timeout 60 chroot --userspec=65534:65534 "$root" /payload/home/usr/bin/sublet pilot --print)
  main=$(grep -o "'/[^']*agent/pilot/main.js'" <<< "$script" | tr -d "'")
  echo "$script"
  [ -f "$root$main" ] && [[ $main == /payload/home/* && $script == *"'/payload/home/usr/lib/sublet/bin/node'"* ]]
}
one "its pilot runs the unpacked programs" pilot
mv "$root/usr/lib/sublet.away" "$root/usr/lib/sublet"
mkdir -p "$root/etc/slurm"
echo 'Prolog=/usr/lib/sublet/bin/sublet-hook' > "$root/etc/slurm/slurm.conf"
one "removal is refused while slurm.conf names the hook" no inside dpkg --remove sublet-agent
rm "$root/etc/slurm/slurm.conf"
rmdir "$root/etc/slurm" 2> /dev/null || true # was not there before
one "packages are removed" inside dpkg --remove "${ours[@]}"
one "settings stay until the purge" test -f "$root/etc/sublet/agent.toml"
one "packages install again" inside bash -c 'dpkg -i /payload/*.deb'
one "purge" inside dpkg --purge "${ours[@]}"
everything > "$work/after"
one "nothing is left" diff "$work/before" "$work/after"
ended
