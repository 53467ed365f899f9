# shellcheck shell=bash
# Sourced in the machine, under systemd: a cluster of one node with what Debian has, and what steps ask of it.
# shellcheck disable=SC2016 # what eval gets expands there
# shellcheck source=test/steps.sh
. ./steps.sh
# until SECONDS COMMAND...
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@" > /tmp/until 2>&1; do
    if [ $SECONDS -ge $end ]; then cat /tmp/until; return 1; fi
    sleep 0.5
  done
}
property() { systemctl show --value -p "$2" "$1"; }

# All files and users but what comes and goes by itself.
everything() {
  find / -xdev \( -path /payload -o -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log -o -path /var/lib/dpkg \
    -o -path /var/lib/apt -o -path /var/cache -o -path /var/lib/slurm -o -path /var/spool -o -path /var/lib/systemd/deb-systemd-helper-enabled \) \
    -prune -o -print | grep -v -e '^/etc/.*-$' -e '^/var/lib/systemd/\(random\|timers\|timesync\|catalog\)' | sort
  getent passwd
  getent group
}
node_is() { until_true 60 eval 'is "$(sinfo --noheader --format %T)" '"$1"; }

# A batch job on one core, and a client (hold.c) with a lease on the other.
job_starts() {
  job=$(sbatch --parsable --output=/dev/null --cpus-per-task=1 --mem=200 --wrap 'sleep 3600')
  until_true 60 eval '[ "$(job_state)" = RUNNING ]'
}
job_state() { squeue --noheader --job "$job" --format %T; }
client_starts() {
  useradd --system --no-create-home user
  install -m 755 hold libecho.so /usr/local/lib/
  install -d -o user /tmp/user
  su user -s /bin/sh -c 'exec /usr/local/lib/hold /usr/local/lib/libecho.so /tmp/user/progress' > /tmp/client 2>&1 &
  client=$!
  until_true 240 test -s /tmp/user/progress || { cat /tmp/client; return 1; }
}
client_is_gone() {
  rm -f /usr/local/lib/{hold,libecho.so}
  userdel user
}
# Prepared executors come and go with demand; what counts is that of the lease.
lease() { cut -d' ' -f1 /tmp/user/progress; }
calls() { cut -d' ' -f2 /tmp/user/progress; }
goes_on() { local before; before=$(calls); until_true 30 eval "[ \$(calls) -gt $((before + 5)) ]" && kill -0 "$client"; }
leased() { sublet leases --json | grep -c "\"$(lease)\""; }

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
