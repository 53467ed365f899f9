#!/usr/bin/env bash
# Runs a command in a virtual machine that build.sh has made, shows what it prints and ends with its exit status.
#
#   run.sh [--seconds N] [--memory MIB] [--systemd] FOLDER PAYLOAD
#
# PAYLOAD is a folder with an executable `command`; it is copied in as /payload. Nothing that happens in the machine
# stays: its root file system is a snapshot, its memory is gone with it. No network. Without KVM: one that is there may
# hang, and these are tests of function. Exit status 124: out of time; 125: the machine broke down (its console is shown).
set -euo pipefail
seconds=300 memory=2048 init=/sbin/vm-init
usage() { sed -n 's/^#   //p' "$0" >&2; exit 2; }
while [[ ${1:-} == --* ]]; do
  case $1 in
    --seconds | --memory) [ $# -gt 1 ] || usage ;;&
    --seconds) seconds=$2; shift 2 ;;
    --memory) memory=$2; shift 2 ;;
    --systemd) init=/sbin/init; shift ;;
    *) usage ;;
  esac
done
[ $# = 2 ] || usage
machine=$1 payload=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -C "$payload" -cf "$work/payload.tar" .
truncate -s %512 "$work/payload.tar"
timeout --foreground --kill-after=5 "$seconds" qemu-system-x86_64 -nodefaults -no-reboot -display none \
  -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m "$memory" \
  -kernel "$machine/vmlinuz" -initrd "$machine/initrd" \
  -append "console=ttyS0 quiet loglevel=3 panic=-1 tsc=reliable vm.command vm.init=$init" \
  -drive "file=$machine/root.img,format=raw,if=virtio,snapshot=on" \
  -drive "file=$work/payload.tar,format=raw,if=virtio,readonly=on" \
  -serial "file:$work/console" -serial stdio -monitor none < /dev/null > "$work/output" 2> "$work/errors" &
qemu=$!
trap 'kill $qemu 2> /dev/null || true; wait $qemu 2> /dev/null || true; rm -rf "$work"' EXIT
tail -q --pid=$qemu -n +1 -F "$work/output" 2> /dev/null | sed -u '/^\x1evm-status /d' &
shown=$!
status=0
wait $qemu || status=$?
wait $shown || true
said=$(sed -n 's/^\x1evm-status \([0-9]*\)$/\1/p' "$work/output" | tail -n 1)
if [ -n "$said" ]; then exit "$said"; fi
if [ $status = 124 ]; then
  echo "vm: no end after $seconds s" >&2
else
  status=125
  echo "vm: the machine ended without a word of its command" >&2
fi
{ cat "$work/errors"; tail -n 40 "$work/console"; } >&2 || true
exit $status
