#!/usr/bin/env bash
# Builds a virtual machine from Debian's packages and prints the folder it lies in: root.img (ext4), vmlinuz, initrd.
#
#   build.sh [PACKAGE...]
#
# Beside the packages named there are a kernel, systemd, and what deploy/vm/init needs. The result is cached in
# build/vm, keyed by a hash of everything that goes into it; the two newest are kept. Needs root, for the first build
# the Debian mirrors; what the build itself needs (qemu, mmdebstrap) it installs, since only these tests use it.
set -euo pipefail
cd "$(dirname "$0")/../.."
suite=bookworm
say() { printf 'vm: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

base=(linux-image-amd64 systemd-sysv dbus udev kmod busybox-static iproute2 procps)
mapfile -t packages < <(printf '%s\n' "${base[@]}" "$@" | sort -u)
key=$({ printf '%s\n' "$suite" "${packages[@]}"; cat deploy/vm/build.sh deploy/vm/init; } | sha256sum | cut -c1-16)
folder=build/vm/$key
mkdir -p build/vm
exec 9> build/vm/lock
flock -w 900 9 || die "another build holds build/vm/lock"
if [ -f "$folder/ready" ]; then
  touch "$folder/ready"
  printf '%s\n' "$folder"
  exit 0
fi

[ "$(id -u)" = 0 ] || die "only root can build a root file system"
missing=()
for p in qemu-system-x86 mmdebstrap e2fsprogs cpio; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2> /dev/null || true)" = installed ] || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq &&
    apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}"; } > "$log" 2>&1 ||
    { tail -n 20 "$log" >&2; die "apt-get failed"; }
  rm -f "$log"
fi

say "building a machine of ${#packages[@]} packages (about a minute, cached in $folder)"
work=$(mktemp -d "$PWD/build/vm/making-XXXXXX")
root=$work/root
# What is mounted in there must be gone before anything walks the tree: in a container mmdebstrap may leave /proc behind.
unmount() { awk -v root="$root/" 'index($2, root) == 1 {print $2}' /proc/mounts | sort -r | xargs -r umount -l; }
trap 'unmount; rm -rf --one-file-system "$work"' EXIT
list=$(IFS=,; echo "${packages[*]}")
# No documentation, no translations: a third of the size. INITRD: none but ours, below; Debian makes its own twice.
INITRD=No mmdebstrap --quiet --mode=root --variant=minbase --include="$list" \
  --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$root" > "$work/log" 2>&1 9>&- ||
  { tail -n 30 "$work/log" >&2; die "mmdebstrap failed: are the Debian mirrors reachable?"; }
unmount
install -m 755 deploy/vm/init "$root/sbin/vm-init"
echo vm > "$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 vm\n' > "$root/etc/hosts"
cat > "$root/etc/systemd/system/vm-init.service" << 'UNIT'
[Unit]
ConditionKernelCommandLine=vm.command
After=basic.target
[Service]
Type=oneshot
ExecStart=/sbin/vm-init under-systemd
UNIT
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s ../vm-init.service "$root/etc/systemd/system/multi-user.target.wants/vm-init.service"

# The initramfs: busybox, and the modules that the way to the root file system needs, in the order of their use.
kernel=$(basename "$(ls -d "$root"/lib/modules/*)")
first=$work/initramfs
mkdir -p "$first"/{bin,dev,proc,root,modules}
cp "$root/bin/busybox" "$first/bin/busybox"
for module in virtio_pci virtio_blk ext4 crc32c_generic; do
  chroot "$root" modprobe --set-version "$kernel" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ {print $2}' > "$work/modules"
number=100
while read -r file; do
  cp "$root$file" "$first/modules/$((number++))-$(basename "$file")"
done < "$work/modules"
cat > "$first/init" << 'INIT'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox mount -t proc none /proc
for module in /modules/*; do /bin/busybox insmod "$module"; done
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 200 ]; do /bin/busybox usleep 50000; tries=$((tries + 1)); done
/bin/busybox mount -t ext4 -o rw,noatime /dev/vda /root || /bin/busybox poweroff -f
init=/sbin/vm-init
for word in $(/bin/busybox cat /proc/cmdline); do case $word in vm.init=*) init=${word#vm.init=} ;; esac; done
/bin/busybox umount /proc
/bin/busybox mount -o move /dev /root/dev
exec /bin/busybox switch_root /root "$init"
INIT
chmod 755 "$first/init"
mkdir "$work/out"
(cd "$first" && find . | cpio --quiet -o -H newc | gzip -1) > "$work/out/initrd"
cp "$root"/boot/vmlinuz-* "$work/out/vmlinuz"
rm -rf "${root:?}"/boot/* "${root:?}"/var/cache/apt/* "${root:?}"/var/lib/apt/lists/*
megabytes=$(($(du -sm "$root" | cut -f1) * 5 / 4 + 300))
mke2fs -q -t ext4 -O ^has_journal -d "$root" "$work/out/root.img" "${megabytes}M" > "$work/log"
touch "$work/out/ready"
rm -rf "$folder"
mv "$work/out" "$folder"
find build/vm -mindepth 2 -maxdepth 2 -name ready -printf '%T@ %h\n' | sort -rn | tail -n +3 | cut -d' ' -f2 | xargs -r rm -rf
printf '%s\n' "$folder"
