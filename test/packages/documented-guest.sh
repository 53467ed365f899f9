#!/bin/bash
# Runs in the machine of documented.sh, as root, under systemd: what the pages tell a sysadmin to type, block by block, with
# looks in between at what came of it. The machine is head node and compute node at once.
# Prints "ok NAME" or "FAIL NAME" per step, and "N passed, N failed".
# shellcheck disable=SC2016 # what eval gets expands there
cd /payload || exit 1
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive HOME=/root
old=$(cat old/version) new=$(cat new/version)
# shellcheck source=test/packages/cluster.sh
. ./cluster.sh
# No network, and nobody to say yes. A slurm.conf that its site has yet to change.
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'APT::Get::Assume-Yes "true";' > /etc/apt/apt.conf.d/90yes
sed -i '/^\(Prolog\|Epilog\|PrologFlags\)=/d' /etc/slurm/slurm.conf
: > /etc/slurm/plugstack.conf
scontrol reconfigure
sed -i 's/^10\.9\.0\.1.*/& head/' /etc/hosts
# Folders of other packages.
mkdir -p /etc/prometheus /etc/grafana/provisioning/{dashboards,datasources} /etc/bash_completion.d /etc/fish/completions /usr/local/share/zsh/site-functions
mkdir /tmp/here
cp old/*.deb /tmp/here/

# block ID: runs it. Where several versions are about, both hosts' packages change at once, since this machine is both.
block() {
  local file=blocks/${1//\//_}
  sed -i -e "s/_NEW_/_${new}_/g" -e "s/_OLD_/_${old}_/g" "$file"
  sed -i -E "s#^(apt install .*)(\./sublet-runtime_([0-9.]+)_\*\.deb)#\1\2 ./sublet-agent_\3_*.deb ./sublet-controller_\3_*.deb#" "$file"
  cat "$file"
  mv "$file" "$file.done"
  (cd /tmp/here && bash -e -o pipefail "/payload/$file.done" < /dev/null)
}
says() { # ID NAME: one step
  one "$1" block "$1"
}
versions() { is "$(dpkg-query -W -f '${Version}\n' sublet-runtime sublet-agent sublet-controller sublet libsublet1 slurm-spank-sublet | sort -u)" "$1"; }
runs() { systemctl is-active sublet-agent sublet-starter sublet-controller && systemctl is-enabled sublet-agent sublet-starter sublet-controller; }
everything > /tmp/before

# As the page says: the uid that is chosen, and the alias by which this host is called.
useradd --system --uid 620 sublet
mkdir -p /etc/sublet/controller.conf.d
echo 'names = ["head"]' > /etc/sublet/controller.conf.d/10-site.toml
says docs/install.md:head-node
show /tmp/log 12
one "the controller runs, now and after a boot" eval 'systemctl is-active sublet-controller && systemctl is-enabled sublet-controller'
one "its uid is the one that was chosen" is "$(id -u sublet)" 620
says docs/install.md:one-compute-node
show /tmp/log 12
one "all daemons run, now and after a boot" runs
says docs/install.md:slurm
cat blocks/docs_install.md:slurm:2 >> /etc/slurm/slurm.conf
mv blocks/docs_install.md:slurm:2{,.done}
says docs/install.md:slurm:3
says docs/install.md:slurm:4
show /tmp/log 40
one "the node is known, in shadow" until_true 60 eval 'sublet nodes --json | grep -q SHADOW'
one "a job starts through prolog and plugin" timeout 120 srun --mem=100 --sublet=no true
sed -i '/^\[lending\]/d; /^mode = /d' /etc/sublet/agent.conf.d/10-site.toml # as the page says
one "the shadow is over" systemctl reload sublet-agent
one "the node lends" until_true 60 eval 'sublet nodes --json | grep -q LENDING_ON'

sed -i 's/^10\.9\.0\.1.*/& vm-ib/' /etc/hosts
says docs/install.md:images-and-diskless-nodes
one "the agent has the unit's word" eval 'sublet-agent --check-config > /dev/null; systemctl show sublet-agent -p Environment | grep -q "SUBLET_AGENT_FABRIC_ADDRESS=vm-ib"'
one "and its address" until_true 60 eval 'sublet status | grep -q "fabric.address *10.9.0.1"'
one "it lends all the same" until_true 60 eval 'sublet nodes --json | grep -q LENDING_ON'

says docs/configuration.md:what-is-in-effect
says docs/logs.md:where-they-go
says docs/logs.md:support-bundle
says docs/cli.md:completion-1
one "the completion is one of bash" bash -n /etc/bash_completion.d/sublet
says docs/metrics.md:prometheus
one "the list of targets has the node" grep -q '"vm:7702".*"partitions": "main"' /etc/prometheus/agents.json
says docs/metrics.md:grafana

# Both versions lie about, as they would.
cp new/*.deb /tmp/here/
starter=$(property sublet-starter MainPID)
says docs/upgrade.md:do-it
show /tmp/log 30
says docs/upgrade.md:do-it:2
one "all have the new version" versions "$new"
one "and run" until_true 60 runs
one "the starter is the old one" is "$(property sublet-starter MainPID)" "$starter"
one "the agent is back" until_true 60 eval 'sublet nodes --json | grep -q LENDING_ON'
says docs/upgrade.md:do-it:3
one "the starter is a new one" eval '[ "$(property sublet-starter MainPID)" != "$starter" ]'
says docs/upgrade.md:back
one "all have the old version" versions "$old"
one "and run again" until_true 60 runs
says docs/install.md:upgrade
one "all have the new version again" versions "$new"
one "the agent is back again" until_true 60 eval 'sublet nodes --json | grep -q LENDING_ON'
says docs/install.md:upgrade:2
one "the node lends again" until_true 60 eval 'sublet nodes --json | grep -q LENDING_ON'

says docs/faq.md:how-do-i-switch-it-off
one "agent and starter are off, and after a boot" eval 'no systemctl is-active sublet-agent sublet-starter && no systemctl is-enabled sublet-agent'
one "jobs start without them" timeout 120 srun --mem=100 true
one "and on again" systemctl enable --now sublet-starter sublet-agent
one "the agent is told that all are drained" until_true 60 eval 'sublet nodes --json | grep -q LENDING_DRAINED'
one "until they are resumed" sublet resume --all
one "which it hears" until_true 60 eval 'sublet nodes --json | grep -q LENDING_ON'
says docs/install.md:off-and-away
one "no package is left" eval 'is "$(dpkg-query -W -f "\${Package} \${db:Status-Status}\n" "sublet*" "libsublet*" "slurm-spank-sublet" 2> /dev/null | grep -v not-installed)" ""'
one "no process is left" no pgrep -f 'sublet-|/usr/lib/sublet'
one "no cgroup is left" eval 'is "$(find /sys/fs/cgroup -name "sublet*")" ""'
one "the node is not drained" node_is idle
one "jobs start" timeout 120 srun --mem=100 true
# What the page names, and what the blocks above wrote into folders of others.
left() {
  everything > /tmp/after
  diff /tmp/before /tmp/after | sed -n 's/^[<>] //p' | grep -v -e '^/etc/sublet' -e '^/etc/slurm/\(prolog\|epilog\|plugstack.conf\).d/' -e '^sublet:' \
    -e '^/etc/prometheus/agents.json' -e '^/etc/systemd/system/sublet-agent.service.d' -e '^/etc/grafana/provisioning/.*/sublet.yml' -e '/_\?sublet\(\.fish\)\?$' > /tmp/left
  cat /tmp/left
  [ ! -s /tmp/left ]
}
one "nothing is left but what was made by hand" left
one "drop-ins are all that is below /etc/sublet" eval 'is "$(find /etc/sublet -type f | grep -v conf.d/)" ""'
one "every block was executed" eval 'is "$(ls blocks | grep -v "\.done$")" ""'
ended
