#!/bin/sh
# Prints agents.json: the agents that Prometheus is to scrape, by what Slurm says, each with its partitions as one list, which
# Grafana's variables "partition" and "node" go by. For a timer on a host that Slurm answers:
#   agents.sh > agents.json.new && mv agents.json.new agents.json
# Usage: agents.sh [PORT]; the port is the agents' metrics_listen.
set -eu
nodes=$(sinfo --noheader --Node --format='%N %R')
[ -n "$nodes" ] || { echo "agents.sh: sinfo names no node" >&2; exit 1; }
printf '%s\n' "$nodes" | LC_ALL=C sort -u | awk -v port="${1:-7702}" '
  $1 != last { order[++count] = last = $1; lists[last] = $2; next }
  { lists[last] = lists[last] "," $2 }
  END {
    for (i = 1; i <= count; i++)
      printf "%s{\"targets\": [\"%s:%s\"], \"labels\": {\"partitions\": \"%s\"}}",
        i == 1 ? "[" : ",\n ", order[i], port, lists[order[i]]
    print "]"
  }'
