#!/bin/bash
# Runs in the machine of ansible.sh, as root, under systemd: Ansible rolls Sublet out on a cluster that has nothing of it. The
# machine is three hosts of the inventory: controller, canary, and a node of the partition behind the canary.
# Prints "ok NAME" or "FAIL NAME" per step, and "N passed, N failed".
# shellcheck disable=SC2016,SC2154 # what eval gets expands there; cluster.sh sets job
cd /payload || exit 1
export LC_ALL=C.UTF-8 HOME=/tmp/home PYTHONDONTWRITEBYTECODE=1 ANSIBLE_NOCOLOR=1 ANSIBLE_PIPELINING=1 ANSIBLE_REMOTE_TMP=/tmp/ansible
# shellcheck source=test/packages/cluster.sh
. ./cluster.sh
# No network: only the site's repository, which the role adds. And a slurm.conf that its site has yet to change.
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
sed -i 's/^\(Prolog\|Epilog\)=/#&/' /etc/slurm/slurm.conf
scontrol reconfigure
cat > inventory.yml << 'YML'
all:
  vars:
    ansible_connection: local
    ansible_become: false
    ansible_python_interpreter: /usr/bin/python3
    sublet_repository: "deb [trusted=yes] file:/payload/repository ./"
    sublet_command: {controller: "127.0.0.1:7700"}
sublet_controllers:
  hosts:
    head:
  vars:
    sublet_parts: [controller]
    sublet_controller: {poll_interval_ms: 2000}
sublet_nodes:
  vars:
    sublet_parts: [agent]
    sublet_agent:
      node: vm
      listen: 127.0.0.1:7701
      metrics_listen: "127.0.0.1:{{ metrics_port | default(7702) }}"
      fabric_address: 10.9.0.1
      controllers: ["127.0.0.1:{{ controller_port | default(7700) }}"]
      trusted_uids: [0, 620]
      # Here an agent takes long to start: the lease outlasts it.
      lease_term_ms: 600000
      log: {level: "{{ level | default('info') }}"}
  children:
    canary:
      hosts:
        n1:
    main:
      hosts:
        n2:
sublet_logins: {}
YML
play() { (cd ansible && ansible-playbook -i ../inventory.yml "$@"); }
rollout() { play rollout.yml "$@"; }
kept() { cp "$log" "/tmp/$1"; }
# recap LOG HOST WORD: of that host in the log's last lines, say "changed"; nothing if it was not met.
recap() { sed -n "s/^$2 .* $3=\([0-9]*\) .*/\1/p" "/tmp/$1"; }
# task LOG NAME: what the log has of that task.
task() { sed -n "/^TASK \[$2\]/,/^\$/p" "/tmp/$1"; }
runs() { systemctl is-active sublet-agent sublet-starter sublet-controller && systemctl is-enabled sublet-agent sublet-starter sublet-controller; }
drained() { sublet nodes --json | grep -q LENDING_DRAINED; }
undisturbed() { goes_on && is "$(lease)" "$first" && is "$(job_state)" RUNNING; }

everything > /tmp/before
# The site chooses the uid that agents trust.
useradd --system --uid 620 --home-dir /var/lib/sublet --no-create-home --shell /usr/sbin/nologin sublet
everything > /tmp/with-user

# From nothing.
one "--check of hosts that have nothing" rollout --check --diff
kept check
one "would change controller and canary" eval '[ "$(recap check head changed)" -gt 0 ] && [ "$(recap check n1 changed)" -gt 0 ]'
everything > /tmp/after
one "and changes nothing" diff /tmp/with-user /tmp/after
one "a roll-out whose canary fails its doctor ends there" no rollout
kept first
show /tmp/first 20
one "it says why" eval 'task first "sublet : Nothing is wrong with this node" | grep -q "no Prolog is set"'
one "controller and canary have it" eval 'is "$(recap first head failed) $(recap first n1 failed)" "0 1"'
one "the partition behind the canary was not touched" is "$(recap first n2 ok)" ""
one "agent, starter and controller run, now and after a boot" runs
one "the files of the packages are as packed" dpkg --verify sublet-agent sublet-controller sublet-runtime sublet libsublet1 slurm-spank-sublet
one "the controller knows the node" until_true 60 eval 'sublet nodes --json | grep -q "\"vm\""'
one "and its accounting answers" sublet usage

# The site mends it.
sed -i 's/^#\(Prolog\|Epilog\)=/\1=/' /etc/slurm/slurm.conf
scontrol reconfigure
one "the roll-out goes through" rollout
kept second
one "doctors of canary and partition find nothing wrong" eval 'is "$(recap second n1 failed) $(recap second n2 failed)" "0 0"'
one "it changes nothing more" is "$(recap second head changed) $(recap second n1 changed) $(recap second n2 changed)" "0 0 0"
one "a job starts through prolog and plugin" timeout 120 srun --mem=100 --sublet=no true

# New settings, under a batch job and a guest.
one "a batch job runs" job_starts
one "a client takes a lease" client_starts
one "and calls on it" goes_on
first=$(lease)
agent=$(property sublet-agent MainPID)
starter=$(property sublet-starter MainPID)
one "a setting that a reload changes" rollout --limit canary --tags settings -e level=debug
one "is in force" until_true 60 eval 'journalctl -u sublet-agent -o export | grep -a "^SUBLET_CHANGED=log.level: .*debug"'
one "in the same agent" is "$(property sublet-agent MainPID)" "$agent"
one "guest and job go on" undisturbed
one "a setting that wants a restart" rollout --limit canary --tags settings -e level=debug -e metrics_port=7712
one "has another agent" eval '[ "$(property sublet-agent MainPID)" != "$agent" ] && systemctl is-active sublet-agent'
one "which serves as it says" eval '(exec 3<> /dev/tcp/127.0.0.1/7712)'
one "and the same starter" is "$(property sublet-starter MainPID)" "$starter"
one "guest and job go on over it" undisturbed
agent=$(property sublet-agent MainPID)
cp /etc/sublet/agent.conf.d/10-site.toml /tmp/settings
one "a setting that is none ends the roll-out" no rollout --limit canary --tags settings -e level=debugg
kept wrong
one "which names it" grep -q 'log\.level' /tmp/wrong
one "and leaves the old ones" cmp /tmp/settings /etc/sublet/agent.conf.d/10-site.toml
one "with the same agent" is "$(property sublet-agent MainPID)" "$agent"

one "a canary that reaches no controller ends the roll-out" no rollout --limit canary --tags settings -e level=debug -e metrics_port=7712 -e controller_port=7799
kept alone
show /tmp/alone 20
one "whose doctor says so" eval 'task alone "sublet : Nothing is wrong with this node" | grep -q "fail *controller"'
one "and only warns when nobody requires one" eval 'sublet doctor | grep "^warn *controller"'
one "guest and job go on without it" undisturbed
one "with the right one it passes" rollout --limit canary --tags settings -e level=debug -e metrics_port=7712

# Off, and away.
one "the off switch" play off.yml
one "ends the lease" until_true 30 eval 'is "$(leased)" 0'
one "whose client is told" eval '! wait "$client" && cat /tmp/client && grep -q "^hold: call: .*lease" /tmp/client'
one "the job goes on" is "$(job_state)" RUNNING
one "daemons restart" systemctl restart sublet-controller sublet-agent
one "and the node is off as before" until_true 60 drained
one "all of it is taken away" rollout -e sublet_state=absent
kept absent
one "the node drained before" eval 'task absent "sublet : Drain" | grep -q "^changed: \[n1\]"'
one "no package is left" eval 'is "$(dpkg-query -W -f "\${Package} \${db:Status-Status}\n" "sublet*" "libsublet*" "slurm-spank-sublet" 2> /dev/null | grep -v not-installed)" ""'
one "no process is left" no pgrep -f 'sublet-|/usr/lib/sublet'
one "no cgroup is left" eval 'is "$(find /sys/fs/cgroup -name "sublet*")" ""'
one "no socket is left" no ls /run/sublet
one "the job goes on without it" is "$(job_state)" RUNNING
one "jobs start without it" timeout 120 srun --mem=100 true
one "the node is not drained" node_is mixed
client_is_gone
everything > /tmp/after
one "no file and no user is left" diff /tmp/before /tmp/after
ended
