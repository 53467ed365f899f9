# shellcheck shell=bash
# Sourced in the machine, under systemd: how a step is told, and a cluster of one node with what Debian has.
# shellcheck disable=SC2016 # what eval gets expands there
passed=0 failed=0
show() { sed 's/^/    /' "$1" | tail -n "${2:-25}"; }
one() {
  local name=$1
  shift
  if "$@" > /tmp/log 2>&1; then passed=$((passed + 1)); echo "ok   $name"; else failed=$((failed + 1)); echo "FAIL $name: $*"; show /tmp/log; fi
}
# until SECONDS COMMAND...
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@" > /tmp/until 2>&1; do
    if [ $SECONDS -ge $end ]; then cat /tmp/until; return 1; fi
    sleep 0.5
  done
}
no() { ! "$@"; }
is() { [ "$1" = "$2" ] || { echo "$1, expected $2"; return 1; }; }
property() { systemctl show --value -p "$2" "$1"; }

# A cluster of one node. Slurm resolves names only where there is an address beside the loopback's.
ip link add sublet0 type dummy
ip address add 10.9.0.1/24 dev sublet0
ip link set sublet0 up
sed -i 's/^127.0.1.1/10.9.0.1/' /etc/hosts
cat > /etc/slurm/slurm.conf << 'CONF'
ClusterName=packages
SlurmctldHost=vm
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/lib/slurm/slurmd
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup,task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
Prolog=/etc/slurm/prolog.d/*
Epilog=/etc/slurm/epilog.d/*
PrologFlags=Alloc
NodeName=vm CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=vm Default=YES MaxTime=INFINITE State=UP
CONF
printf 'CgroupPlugin=cgroup/v2\nConstrainCores=yes\nConstrainRAMSpace=yes\n' > /etc/slurm/cgroup.conf
echo 'include /etc/slurm/plugstack.conf.d/*' > /etc/slurm/plugstack.conf
mkdir -p /etc/slurm/{prolog,epilog,plugstack.conf}.d /var/lib/slurm/{slurmctld,slurmd}
for folder in prolog epilog; do printf '#!/bin/sh\nexit 0\n' > /etc/slurm/$folder.d/10-site; chmod 755 /etc/slurm/$folder.d/10-site; done
systemctl restart munge slurmctld slurmd
one "Slurm of Debian runs" until_true 120 eval 'sinfo --noheader --format %T | grep -qx idle'

# An emulated machine is slow.
for unit in agent controller; do
  mkdir -p /run/systemd/system/sublet-$unit.service.d
  printf '[Service]\nTimeoutStartSec=600s\nWatchdogSec=300s\n' > /run/systemd/system/sublet-$unit.service.d/slow.conf
done
systemctl daemon-reload
