#!/bin/bash
# Runs in the machine of machine.sh, as root, under systemd: a node with Slurm, two versions of the packages in old/ and
# new/, a client and its function. Prints "ok NAME" or "FAIL NAME" per step, figures between, and "N passed, N failed".
# shellcheck disable=SC2016,SC2154 # what eval gets expands there; cluster.sh sets job and client
cd /payload || exit 1
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
old=$(cat old/version) new=$(cat new/version)
# shellcheck source=test/packages/cluster.sh
. ./cluster.sh
restarts() { systemctl restart "$1" || { journalctl --no-pager -u "$1" -n 20; return 1; }; }

everything > /tmp/before

# Install.
one "packages install" dpkg -i old/*.deb
show /tmp/log 12
one "nothing is enabled by it" no systemctl is-enabled sublet-agent sublet-starter sublet-controller
one "nothing is started by it" no systemctl is-active sublet-agent sublet-starter sublet-controller
one "no process of ours runs" no pgrep -f /usr/lib/sublet
one "all files are as packed" dpkg --verify sublet-agent sublet-controller sublet-runtime sublet libsublet1 libsublet-dev slurm-spank-sublet
one "version of the command" eval 'is "$(sublet --version)" "$old"'
one "version of the agent" eval 'is "$(sublet-agent --version)" "sublet-agent $old"'
one "version of the controller" eval 'is "$(sublet-controller --version)" "sublet-controller $old"'
one "settings as installed are good" eval 'sublet-agent --set fabric_address=127.0.0.1 --check-config && sublet-controller --check-config'

# Settings of the site: drop-ins, so that no conffile is changed.
mkdir -p /etc/sublet/agent.conf.d /etc/sublet/controller.conf.d
cat > /etc/sublet/agent.conf.d/10-site.toml << CONF
node = "vm"
listen = "127.0.0.1:7701"
metrics_listen = "127.0.0.1:7702"
fabric_address = "10.9.0.1"
controllers = ["127.0.0.1:7700"]
trusted_uids = [0, $(id -u sublet)]
# Here an agent takes long to start, and stands still for its watchdog: the lease outlasts it.
lease_term_ms = 600000
CONF
printf 'poll_interval_ms = 2000\n' > /etc/sublet/controller.conf.d/10-site.toml
for folder in prolog epilog; do install -m 755 prolog.example.sh /etc/slurm/$folder.d/50-sublet; done
install -m 644 plugstack.example.conf /etc/slurm/plugstack.conf.d/sublet.conf
scontrol reconfigure
one "agent, starter and controller start" systemctl start sublet-controller sublet-agent
systemctl enable --quiet sublet-controller sublet-agent sublet-starter
one "the agent is ready" eval '[ "$(property sublet-agent StatusText)" = "node vm at 127.0.0.1:7701" ]'
one "the starter came with it" systemctl is-active sublet-starter
one "the agent found the controller" until_true 60 eval 'sublet --controller 127.0.0.1:7700 nodes --json | grep -q "\"vm\""'
one "srun knows --sublet" eval 'srun --help | grep -q -e --sublet'
one "the doctor finds nothing broken" until_true 60 sublet doctor

# A support bundle, with secrets in the settings, in the files they name, and in the journal.
(
  umask 077
  echo planted-password > /etc/sublet/password
  head -c 48 /dev/urandom | base64 -w 0 > /etc/sublet/dashboard.key
  cat > /etc/sublet/controller.conf.d/90-secret.toml << 'CONF'
[accounting]
url = "mariadb://planted-user@planted-host/planted-base"
password_file = "/etc/sublet/password"
[dashboard.tls]
cert_file = "/etc/sublet/dashboard.pem"
key_file = "/etc/sublet/dashboard.key"
CONF
)
for secret in "$(cat /etc/sublet/password)" "$(cat /etc/sublet/dashboard.key)" mariadb://planted-user@planted-host/planted-base; do
  logger -t sublet-controller "planted: $secret."
done
logger -t sublet-agent "planted: $(munge -n)."
logger -t sublet-agent 'planted: authorization: Bearer planted-bearer-0123456789.'
key=$(cat /etc/sublet/dashboard.key) munge_key=$(base64 -w 0 /etc/munge/munge.key | cut -c 1-40)
journalctl --sync
one "a support bundle" sublet doctor --bundle /tmp/bundle.tgz
tar -xzOf /tmp/bundle.tgz > /tmp/bundle
planted() { is "$(grep -c '[p]lanted: .*(secret)' /tmp/bundle)" 5; }
one "which has the lines with the secrets, without them" planted
one "and none of them" no grep -a -n -F -e planted-password -e planted-user -e planted-host -e planted-bearer -e "$key" -e "$munge_key" -e MUNGE: /tmp/bundle
rm /etc/sublet/controller.conf.d/90-secret.toml /etc/sublet/password /etc/sublet/dashboard.key

one "a batch job runs beside" job_starts
one "a client takes a lease" client_starts
one "and calls on it" goes_on
show /tmp/client 5
first=$(lease)
starter=$(property sublet-starter MainPID)
one "the lease is known" eval 'is "$(leased)" 1'

changed() {
  local version=$1 agent=$2
  one "$3: the new agent runs" eval "[ \$(property sublet-agent MainPID) != $agent ] && until_true 60 systemctl is-active sublet-agent"
  one "$3: version" eval "is \"\$(dpkg-query -W -f '\${Version}' sublet-agent) \$(sublet --version)\" '$version $version'"
  one "$3: the starter is the same process" is "$(property sublet-starter MainPID)" "$starter"
  one "$3: the guest goes on, call by call" goes_on
  one "$3: on the same lease" is "$(lease)" "$first"
  one "$3: the agent knows it" until_true 30 eval '[ "$(leased)" = 1 ]'
  one "$3: the controller is back" until_true 60 eval 'sublet --controller 127.0.0.1:7700 nodes --json | grep -q "\"vm\""'
  one "$3: the job goes on" eval 'is "$(job_state)" RUNNING'
  one "$3: the node is not drained" node_is mixed
}
agent=$(property sublet-agent MainPID)
one "upgrade to $new" dpkg -i new/*.deb
changed "$new" "$agent" upgrade
agent=$(property sublet-agent MainPID)
one "reload is told" systemctl reload sublet-agent
one "the agent that reloaded is the same" eval "[ \$(property sublet-agent MainPID) = $agent ]"
agent=$(property sublet-agent MainPID)
one "downgrade to $old" dpkg -i old/*.deb
changed "$old" "$agent" downgrade

# An agent that stands still is noticed by its watchdog.
printf '[Service]\nWatchdogSec=20s\n' > /run/systemd/system/sublet-agent.service.d/watchdog.conf
systemctl daemon-reload
one "the agent starts with another watchdog" restarts sublet-agent
agent=$(property sublet-agent MainPID)
kill -STOP "$agent"
one "an agent that stands still is replaced" until_true 120 eval "[ \$(property sublet-agent MainPID) != $agent ] && systemctl is-active sublet-agent"
one "and its guest goes on" goes_on
rm /run/systemd/system/sublet-agent.service.d/watchdog.conf
systemctl daemon-reload
one "the agent starts again" restarts sublet-agent

# Daemons that cannot start: tried further and further apart, at once when somebody asks, and well again by themselves.
cannot_start() {
  mkdir -p /run/systemd/system/sublet-"$1".service.d
  printf '[Service]\nEnvironment=%s=%s\n' "$2" "$3" > /run/systemd/system/sublet-"$1".service.d/broken.conf
  systemctl daemon-reload
  no systemctl restart sublet-"$1"
}
mended() { rm /run/systemd/system/sublet-"$1".service.d/broken.conf && systemctl daemon-reload; }
for unit in agent controller; do
  # What no settings are wrong about: an address that this host has not.
  if [ $unit = agent ]; then address=SUBLET_AGENT_LISTEN=192.0.2.1:7701; else address=SUBLET_CONTROLLER_LISTEN=192.0.2.1:7700; fi
  one "$unit: a start that fails is told" cannot_start $unit "${address%%=*}" "${address#*=}"
  sleep 90
  restarts=$(property sublet-$unit NRestarts)
  echo "figure restarts of a broken $unit in 90 s: $restarts"
  one "$unit: is tried again, and seldom" eval "[ $restarts -ge 3 ] && [ $restarts -le 9 ]"
  journalctl --no-pager -u sublet-$unit -t restart-pause -o cat | tail -n 2
  one "$unit: it is pausing" until_true 60 eval "[ \$(property sublet-$unit SubState) = start-pre ]"
  one "$unit: and the journal says so" eval "journalctl --no-pager -u sublet-$unit | grep -q 'starts failed one after the other'"
  mended $unit
  before=$(date +%s)
  one "$unit: a restart by hand works at once" restarts sublet-$unit
  after=$(date +%s)
  # Starts alone take long in a machine that is emulated.
  systemctl restart sublet-$unit
  echo "figure restart by hand of a pausing $unit: $((after - before)) s, of one that runs: $(($(date +%s) - after)) s"
  one "$unit: and has forgotten the failures" eval "is \"\$(cut -d' ' -f1 /run/sublet-$unit/starts)\" 0"
done
one "and the guest went on" goes_on
one "on the same lease" is "$(lease)" "$first"

# Figures.
for unit in starter agent controller; do
  printf 'figure security %s %s\n' $unit "$(systemd-analyze security --no-pager sublet-$unit.service | sed -n 's/^→ Overall exposure level for [^:]*: \([0-9.]*\).*/\1/p')"
done
sleep 60
resident() { awk '/^VmRSS/ {printf "%d", $2 / 1024}' "/proc/$(property "sublet-$1" MainPID)/status"; }
rss=$(resident agent)
echo "figure agent RSS after a minute: $rss MiB"
echo "figure controller RSS: $(resident controller) MiB"
one "the agent's RSS is at most 100 MiB" [ "$rss" -le 100 ]

# A job takes its core back through the installed hook.
touch /tmp/user/progress.stop
one "the client ends in order" wait "$client"
one "a job starts through prolog and plugin" timeout 60 srun --mem=100 true

# Remove: not while slurm.conf names the hook itself.
sed -i 's,^Prolog=.*,Prolog=/usr/lib/sublet/bin/sublet-hook,' /etc/slurm/slurm.conf
one "removal is refused while slurm.conf names the hook" no dpkg --remove sublet-agent
one "and the agent still runs" systemctl is-active sublet-agent
sed -i 's,^Prolog=.*,Prolog=/etc/slurm/prolog.d/*,' /etc/slurm/slurm.conf
one "purge" dpkg --purge sublet-agent sublet-controller sublet libsublet-dev libsublet1 slurm-spank-sublet sublet-runtime
one "no process is left" no pgrep -f 'sublet-|/usr/lib/sublet'
one "no cgroup is left" eval 'is "$(find /sys/fs/cgroup -name "sublet*")" ""'
one "no socket is left" no ls /run/sublet
one "the job goes on" eval 'is "$(job_state)" RUNNING'
one "jobs start, with the examples still in Slurm's folders" timeout 60 srun --mem=100 true
one "the node is not drained" node_is mixed
rm -rf /etc/sublet/agent.conf.d /etc/sublet/controller.conf.d
rmdir /etc/sublet 2> /dev/null
rm -f /etc/slurm/{prolog,epilog}.d/50-sublet /etc/slurm/plugstack.conf.d/sublet.conf
client_is_gone
everything > /tmp/after
one "nothing is left" diff /tmp/before /tmp/after
ended
