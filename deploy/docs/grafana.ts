/**
 * deploy/grafana/sublet.json: the Grafana dashboard, as data. Variables: datasource, cluster, partition, node.
 *
 * Agents do not know their partitions: their series have the label `partitions` from the list of targets (agents.sh). The
 * pattern of "All" matches series without it, too, so that a list without labels costs no more than the choice.
 */

interface Target {
  readonly expr: string;
  readonly legend: string;
}

const onCluster = 'cluster=~"$cluster"';
/** A series is of all partitions of its nodes, as one list. */
const onPartition = `${onCluster}, partitions=~"(.*,)?($partition)(,.*)?"`;
/** With "All" nodes this is what keeps to the partition. */
const onNode = `${onPartition}, instance=~"$node"`;

/** Each of several controllers tells the whole cluster's. */
const ofPartitions = (expr: string, by = ""): string =>
  `sum${by === "" ? "" : ` by (${by})`} (max by (cluster, partitions${by === "" ? "" : `, ${by}`}) (${expr}))`;

const waitedOn = (name: string, resource: string, mode: string): string =>
  `sum(rate(sublet_${name}_total{${onPartition}, resource="${resource}"}[15m]) ` +
  `and on (cluster, instance) sublet_lending_mode{mode="${mode}"} == 1)`;

function panel(
  id: number,
  title: string,
  description: string,
  unit: string,
  at: { readonly x: number; readonly y: number; readonly w?: number; readonly h?: number },
  targets: readonly Target[],
  kind: "timeseries" | "stat" = "timeseries",
  stacked = false,
): object {
  return {
    id,
    title,
    description,
    type: kind,
    datasource: { type: "prometheus", uid: "$datasource" },
    gridPos: { h: at.h ?? 8, w: at.w ?? 12, x: at.x, y: at.y },
    fieldConfig: {
      defaults: {
        unit,
        min: 0,
        ...(kind === "timeseries"
          ? {
              custom: {
                fillOpacity: stacked ? 60 : 10,
                lineWidth: 1,
                stacking: { mode: stacked ? "normal" : "none", group: "A" },
              },
            }
          : {}),
      },
      overrides: [],
    },
    options: kind === "stat" ? { reduceOptions: { calcs: ["lastNotNull"] } } : { tooltip: { mode: "multi" } },
    targets: targets.map(({ expr, legend }, i) => ({
      refId: String.fromCharCode(65 + i),
      datasource: { type: "prometheus", uid: "$datasource" },
      expr,
      legendFormat: legend,
    })),
  };
}

const held = (metric: string, which: string): string =>
  ofPartitions(`${metric}{${onPartition}, state="${which}"}`);
const state = (metric: string, which: string): Target => ({ expr: held(metric, which), legend: which });

function panels(): object[] {
  let id = 0;
  const next = (): number => ++id;
  return [
    panel(
      next(),
      "Lent now",
      "Share of the cores that leases hold",
      "percentunit",
      { x: 0, y: 0, w: 6, h: 4 },
      [
        {
          expr: `${held("sublet_partition_cores", "leased")} / ${held("sublet_partition_cores", "total")}`,
          legend: "lent",
        },
      ],
      "stat",
    ),
    panel(
      next(),
      "Core-hours lent, 24 h",
      "What Slurm alone would have left idle",
      "short",
      { x: 6, y: 0, w: 6, h: 4 },
      [
        {
          expr: `${ofPartitions(`increase(sublet_partition_lease_core_seconds_total{${onPartition}}[1d])`)} / 3600`,
          legend: "core-hours",
        },
      ],
      "stat",
    ),
    panel(
      next(),
      "GiB-hours lent, 24 h",
      "",
      "short",
      { x: 12, y: 0, w: 6, h: 4 },
      [
        {
          expr: `${ofPartitions(`increase(sublet_partition_lease_byte_seconds_total{${onPartition}}[1d])`)} / 3600 / 1073741824`,
          legend: "GiB-hours",
        },
      ],
      "stat",
    ),
    panel(
      next(),
      "Reclaim, p99",
      "From the notice until the last guest is verified gone; whole clusters",
      "s",
      { x: 18, y: 0, w: 6, h: 4 },
      [
        {
          expr: `max(sublet:reclaim_seconds:p99_15m{${onCluster}})`,
          legend: "p99",
        },
      ],
      "stat",
    ),
    panel(
      next(),
      "Cores",
      "By what holds them",
      "short",
      { x: 0, y: 4 },
      ["jobs", "leased", "spare"].map((each) => state("sublet_partition_cores", each)),
      "timeseries",
      true,
    ),
    panel(
      next(),
      "Memory",
      "By what holds it",
      "bytes",
      { x: 12, y: 4 },
      ["jobs", "leased", "spare"].map((each) => state("sublet_partition_memory_bytes", each)),
      "timeseries",
      true,
    ),
    panel(next(), "Calls", "Answered by executors", "ops", { x: 0, y: 12 }, [
      {
        expr: ofPartitions(`rate(sublet_partition_invocations_total{${onPartition}}[5m])`, "outcome"),
        legend: "{{outcome}}",
      },
    ]),
    panel(next(), "Leases ended", "By outcome and reason; whole clusters", "ops", { x: 12, y: 12 }, [
      {
        expr: `sum by (outcome, reason) (max by (cluster, outcome, reason) (rate(sublet_cluster_leases_ended_total{${onCluster}}[5m])))`,
        legend: "{{outcome}} {{reason}}",
      },
    ]),
    panel(next(), "Guard", "What it did, per hour", "short", { x: 0, y: 20 }, [
      {
        expr: `${ofPartitions(`rate(sublet_partition_guard_actions_total{${onPartition}}[1h])`, "action")} * 3600`,
        legend: "{{action}}",
      },
    ]),
    panel(
      next(),
      "Jobs waiting",
      "Part of their core-time, on nodes that lend and on nodes that are held out",
      "percentunit",
      { x: 12, y: 20 },
      ["cpu", "memory"].flatMap((resource) =>
        ["on", "hold_out"].map((mode) => ({
          expr: `${waitedOn("job_waited_core_seconds", resource, mode)} / (${waitedOn("job_core_seconds", resource, mode)} > 0)`,
          legend: `${resource}, ${mode}`,
        })),
      ),
    ),
    panel(next(), "What agents cost", "Share of a core, by node", "percentunit", { x: 0, y: 28 }, [
      {
        expr: `topk(10, rate(process_cpu_seconds_total{${onNode}, job="sublet-agent"}[5m]))`,
        legend: "{{instance}}",
      },
    ]),
    panel(
      next(),
      "Slurm",
      "Requests of ours to slurmctld, and the age of what is known; whole clusters",
      "short",
      { x: 12, y: 28 },
      [
        { expr: `sum(rate(sublet_slurm_rpcs_total{${onCluster}}[5m])) * 60`, legend: "requests a minute" },
        { expr: `max(sublet_snapshot_age_seconds{${onCluster}})`, legend: "age in seconds" },
      ],
    ),
    panel(
      next(),
      "Node: cores",
      "Of the nodes and partitions chosen above",
      "short",
      { x: 0, y: 36 },
      [{ expr: `sum by (state) (sublet_cores{${onNode}, state=~"jobs|leased|spare"})`, legend: "{{state}}" }],
      "timeseries",
      true,
    ),
    panel(
      next(),
      "Node: memory",
      "Of the nodes and partitions chosen above",
      "bytes",
      { x: 12, y: 36 },
      [
        {
          expr: `sum by (state) (sublet_memory_bytes{${onNode}, state=~"jobs|leased|spare"})`,
          legend: "{{state}}",
        },
      ],
      "timeseries",
      true,
    ),
  ];
}

export function grafanaDashboard(): string {
  const query = (name: string, label: string, text: string): object => ({
    name,
    label,
    type: "query",
    datasource: { type: "prometheus", uid: "$datasource" },
    query: { query: text, refId: name },
    includeAll: true,
    allValue: ".*",
    multi: true,
    refresh: 2,
    current: { text: "All", value: "$__all" },
  });
  return `${JSON.stringify(
    {
      uid: "sublet",
      title: "Sublet",
      tags: ["slurm", "sublet"],
      schemaVersion: 39,
      editable: true,
      time: { from: "now-24h", to: "now" },
      refresh: "30s",
      templating: {
        list: [
          { name: "datasource", label: "Data source", type: "datasource", query: "prometheus" },
          query("cluster", "Cluster", "label_values(sublet_cluster_cores, cluster)"),
          query(
            "partition",
            "Partition",
            'label_values(sublet_partition_nodes{cluster=~"$cluster"}, partition)',
          ),
          query("node", "Node", `label_values(sublet_cores{${onPartition}}, instance)`),
        ],
      },
      panels: panels(),
    },
    undefined,
    2,
  )}\n`;
}
