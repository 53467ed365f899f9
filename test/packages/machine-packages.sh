# shellcheck shell=bash
# Sourced: what the machine has, so that ours install without a network, and a Slurm.
# shellcheck disable=SC2034 # for who sources it
machine_packages=(munge libmunge2 libprotobuf-c1 libprotobuf-c-dev libstdc++6 slurmctld slurmd slurm-client)
