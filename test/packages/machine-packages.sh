# shellcheck shell=bash
# Sourced: what the machine has, so that ours install without a network, and a Slurm.
# shellcheck disable=SC2034 # for who sources it
machine_packages=(munge libmunge2 libprotobuf-c1 libprotobuf-c-dev libstdc++6 slurmctld slurmd slurm-client)

# put_cluster PAYLOAD FOLDER: cluster.sh with what it takes, among it the client, built from what the packages libsublet-dev
# and libsublet1 of FOLDER install.
put_cluster() {
  local payload=$1 tree pc package
  tree=$(mktemp -d)
  for package in "$2"/libsublet*.deb; do dpkg-deb -x "$package" "$tree"; done
  pc=$(dirname "$(find "$tree" -name sublet.pc)")
  read -ra flags <<< "$(PKG_CONFIG_PATH=$pc pkg-config --define-variable=prefix="$tree/usr" --cflags --libs sublet)"
  cc -std=gnu11 -Wall -Wextra -Werror -O2 -o "$payload/hold" test/packages/hold.c "${flags[@]}"
  rm -r "$tree"
  cp build/native/functions/libecho.so test/steps.sh test/packages/cluster.sh "$payload/"
}
