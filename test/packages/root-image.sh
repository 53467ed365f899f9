# shellcheck shell=bash
# Sourced: an overlay of the root of machine.sh's machine in $root, gone at the exit; $work is a folder for more; steps.sh.
# shellcheck source=test/packages/machine-packages.sh
. test/packages/machine-packages.sh
machine=$(bash deploy/vm/build.sh "${machine_packages[@]}")
work=$(mktemp -d)
root=$work/root
end_root() {
  awk -v work="$work/" 'index($2, work) == 1 {print $2}' /proc/mounts | sort -r | xargs -r umount -l
  rm -rf --one-file-system "$work"
}
trap end_root EXIT
mkdir "$work"/{image,layer,root}
mount -o loop,ro,noload "$machine/root.img" "$work/image"
mount -t tmpfs none "$work/layer"
mkdir "$work"/layer/{upper,work}
mount -t overlay -o "lowerdir=$work/image,upperdir=$work/layer/upper,workdir=$work/layer/work" none "$root"
mount -t proc none "$root/proc"

# shellcheck disable=SC2034 # for steps.sh
log=$work/log
# shellcheck source=test/steps.sh
. test/steps.sh
inside() { timeout 120 chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
# all_of_root PATHS-OF-FIND: every file but what comes and goes by itself and these, and the users.
all_of_root() {
  (cd "$root" && find . \( -path ./proc -o -path ./var/log -o -path ./var/cache -o "$@" \) -prune -o -print |
    grep -v -e '^\./etc/.*-$' | sort)
  cat "$root/etc/passwd" "$root/etc/group"
}
