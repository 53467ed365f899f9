#!/usr/bin/env bash
# The role, outside the gate: lint, syntax, and a run against a copy of this machine's root (an overlay in a mount namespace, so
# nothing here changes): --check first, then for real, then again with nothing to change, then taken away. The packages of
# build/packages (npm run package) come from a repository that the role adds; the daemons' own --check-config reads what it
# wrote. Services are not part of it: there is no systemd in there. Needs root. Ends with "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
tree=$PWD
if [ "${1:-}" != --inside ]; then
  list=$(mktemp)
  if ! dpkg-query -W ansible-core > /dev/null 2>&1 && ! [[ $(apt-cache policy ansible-core 2> /dev/null) =~ Candidate:\ *[0-9] ]]; then
    echo "skipped: the mirrors of this machine have no ansible-core"
    exit 0
  fi
  ls build/packages/*.deb > /dev/null || { echo "no packages: npm run package" >&2; exit 1; }
  printf 'ansible-core  runs the role\nansible-lint  checks it\npython3-apt  for its apt tasks\n' > "$list"
  bash deploy/setup/apt.sh "$list" || exit 1
  rm -f "$list"
  exec unshare --mount --propagation private bash "$tree/deploy/ansible/test.sh" --inside
fi

passed=0 failed=0
note() { # NAME STATUS [LOG]
  if [ "$2" = 0 ]; then passed=$((passed + 1)); echo "ok   $1"; else
    failed=$((failed + 1)); echo "FAIL $1"; [ -z "${3:-}" ] || tail -n 40 "$3"; fi
}
export ANSIBLE_CONFIG=$tree/deploy/ansible/ansible.cfg ANSIBLE_NOCOLOR=1 ANSIBLE_LOCALHOST_WARNING=False LC_ALL=C.UTF-8
log=$(mktemp)
(cd deploy/ansible && ansible-lint --offline --nocolor) > "$log" 2>&1
note "lint" $? "$log"
for play in rollout off; do
  (cd deploy/ansible && ansible-playbook -i inventory.example.yml --syntax-check "$play.yml") > "$log" 2>&1
  note "syntax of $play.yml" $? "$log"
done

# Everything below is on a tmpfs of this namespace, above the machine's own root.
{ mount -t tmpfs none /mnt && mkdir /mnt/upper /mnt/work /mnt/root; } || exit 1
if ! mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root; then echo "no overlay here" >&2; exit 1; fi
root=/mnt/root
mount --rbind /proc $root/proc && mount --rbind /dev $root/dev && mount -t tmpfs none $root/run
rm -rf $root/etc/sublet $root/etc/slurm/prolog.d $root/etc/slurm/epilog.d
# The site's repository is the only one, and what this machine has is all that packages may depend on.
mkdir $root/repository
cp build/packages/*.deb $root/repository/
(cd $root/repository && dpkg-scanpackages . > Packages 2> /dev/null)
rm -rf $root/etc/apt/sources.list $root/etc/apt/sources.list.d/*
cat > $root/play.yml << 'YML'
- hosts: localhost
  connection: local
  roles: [sublet]
YML
cat > $root/vars.yml << 'YML'
sublet_parts: [agent, controller]
sublet_services: false
sublet_repository: "deb [trusted=yes] file:/repository ./"
sublet_agent:
  controllers: ["head:7700"]
  trusted_uids: [0, 620]
  lending: {mode: shadow, hold_out: 0.05}
  consent: {partition: {main: share, "big.mem": "no"}}
sublet_controller:
  admin_gid: 1000
  accounting: {quota: {"*": 36000, physics: 1000000.5}}
sublet_command: {controller: "head:7700"}
YML
play() { # NAME OPTIONS...: runs the play in the root; its recap is in $log
  chroot $root env ANSIBLE_ROLES_PATH="$tree/deploy/ansible/roles" ansible-playbook -i localhost, \
    -e @/vars.yml "$@" /play.yml > "$log" 2>&1
}
changed() { sed -n 's/.* changed=\([0-9]*\) .*/\1/p' "$log"; }

play --check -e '{"sublet_services": true}' # which does not come to starting anything
note "--check of a host that has nothing" $? "$log"
[ ! -e $root/etc/sublet ] && [ ! -e $root/etc/apt/sources.list.d/sublet.list ]
note "--check wrote nothing" $?
play
note "the role" $? "$log"
[ "$(changed)" -gt 0 ]
note "something changed" $? "$log"
play
[ "$(changed)" = 0 ]
note "again: nothing changes" $? "$log"
play --check
[ "$(changed)" = 0 ]
note "--check agrees" $? "$log"
chroot $root dpkg-query -W sublet-agent sublet-controller sublet slurm-spank-sublet > "$log" 2>&1
note "packages are there" $? "$log"
for each in prolog epilog; do
  cmp -s deploy/slurm/prolog.example.sh $root/etc/slurm/$each.d/50-sublet && [ -x $root/etc/slurm/$each.d/50-sublet ]
  note "$each has its drop-in" $?
done
grep -q '^"mode" = "shadow"$' $root/etc/sublet/agent.conf.d/10-site.toml
note "the agent's settings are there" $? $root/etc/sublet/agent.conf.d/10-site.toml
! play -e '{"sublet_agent": {"lending": {"mod": "shadow"}}}' && grep -q 'mode' "$log"
note "a key that is none ends the play, with the nearest one" $? "$log"
grep -q '^"mode" = "shadow"$' $root/etc/sublet/agent.conf.d/10-site.toml
note "and is not written" $?

# The agent that is to be taken away: its socket, and a command that writes down what it was asked.
mkdir -p $root/run/sublet && : > $root/run/sublet/agent.sock
printf '#!/bin/sh\necho "$@" >> /run/asked\n' > $root/usr/bin/sublet
play -e sublet_state=absent
note "taken away" $? "$log"
grep -q "^drain .* --budget 60 --reason removal$" $root/run/asked 2> /dev/null
note "drained before" $?
# shellcheck disable=SC2016 # dpkg's
! chroot $root dpkg-query -W -f '${db:Status-Status}\n' sublet-agent sublet-runtime 2> /dev/null | grep -qx installed
note "packages are gone" $?
[ ! -e $root/etc/slurm/prolog.d/50-sublet ] && [ ! -e $root/etc/sublet ] && [ ! -e $root/etc/apt/sources.list.d/sublet.list ]
note "nothing of it is left" $?
rm -f "$log"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
