/**
 * `npm run bench:harm`: what Sublet costs the batch job beside it. Two real applications run again and again in one job on
 * n1: LAMMPS (computes) and HPCC (HPL, PTRANS, STREAM, RandomAccess, FFT: half of it is bound to memory). What is beside them
 * changes from run to run, in an order that is drawn anew each round; runs alone (hold-out: no agent on the node) are
 * mixed in twice a round, and each figure is a ratio to those of its own round.
 *
 *   npm run bench:harm [-- --rounds N] [--only NAME,...]
 *   npm run docs:harm < build/bench/harm.json       puts the figures into docs/harm.md
 *
 * The job has a core of its own. The guest has another one, which on a machine of two cores it shares with its own client
 * and with this program: what is shown here is what guests cost through caches, memory and the kernel.
 */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { metricValues } from "../../deploy/testbed/main-job/figures.ts";
import { keepOffTheJob } from "../../deploy/testbed/main-job/noise.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { pause, run, until } from "../../deploy/testbed/shell.ts";
import { treeRoot } from "../../deploy/testbed/sublet-conf.ts";
import { type Bed, submit, withBed } from "./bed.ts";
import { thisMachine } from "./machine.ts";
import { plotSvg } from "./path/plot.ts";
import {
  jsonRows,
  medianInterval,
  medianOf,
  percentileOf,
  type Row,
  summaryText,
  tableText,
} from "./table.ts";

type App = "lammps" | "hpcc";

interface Beside {
  readonly name: string;
  readonly what: string;
  /** Kind and rate of sublet-harm-load; none: only the agent, or nothing at all. */
  readonly load?: readonly [kind: string, rate: number];
  readonly agent: boolean;
  readonly guard: boolean;
  /** At most this ratio of the median, and of the 95th percentile. */
  readonly mark?: number;
  readonly markP95?: number;
}

const alone: Beside = { name: "alone", what: "alone, no agent", agent: false, guard: true };
const kinds: readonly Beside[] = [
  alone,
  { ...alone, name: "again" },
  { name: "agent", what: "an idle agent", agent: true, guard: true, mark: 1.005 },
  { name: "lease", what: "an idle lease", load: ["idle", 1], agent: true, guard: true, mark: 1.005 },
  {
    name: "cpu",
    what: "a guest that computes",
    load: ["cpu", 1],
    agent: true,
    guard: true,
    mark: 1.02,
    markP95: 1.04,
  },
  {
    name: "hog",
    what: "a guest that streams memory",
    load: ["hog", 1],
    agent: true,
    guard: true,
    mark: 1.05,
  },
  { name: "hog-free", what: "the same without guard", load: ["hog", 1], agent: true, guard: false },
  { name: "region-100", what: "a region, 100 MB/s", load: ["region", 100], agent: true, guard: true },
  { name: "region-500", what: "a region, 500 MB/s", load: ["region", 500], agent: true, guard: true },
  {
    name: "region-1000",
    what: "a region, 1 GB/s",
    load: ["region", 1000],
    agent: true,
    guard: true,
    mark: 1.05,
  },
  { name: "churn", what: "50 leases a second come and go", load: ["churn", 50], agent: true, guard: true },
];

const apps: readonly App[] = ["lammps", "hpcc"];
const lammpsSteps = 250;
/** Pages of what was beside before go back meanwhile, and a daemon that has just started has compiled what it needs. */
const settleMs = 1000;
const startMs = 6000;
/** A long time for one run: then something is wrong. */
const runTimeoutMs = 120_000;
const out = fileURLToPath(new URL("../../build/bench/", import.meta.url));
const say = (message: string): void => void process.stderr.write(`harm: ${message}\n`);

/** Runs what the pipe names, one line a run, and writes "ID SECONDS" for each. */
function serviceScript(base: string): string {
  return `#!/bin/bash
export OMPI_MCA_btl=self,vader OMPI_MCA_hwloc_base_binding_policy=none OMP_NUM_THREADS=1
cd '${base}/harm' && exec 3<>pipe
while read -r id app <&3; do
  rm -f hpccoutf.txt
  if [ "$app" = lammps ]; then lmp -in '${base}/melt.in' -var steps ${lammpsSteps} -log none > out 2>&1; seconds=$(sed -n 's/^Loop time of \\([0-9.e+-]*\\) .*/\\1/p' out)
  else a=$(date +%s%N); hpcc > out 2>&1; b=$(date +%s%N); seconds=$(awk "BEGIN { print ($b - $a) / 1e9 }"); grep -q '^Success=1' hpccoutf.txt || seconds=; fi
  echo "$id \${seconds:-failed}" >> results
done
`;
}

/** HPCC's input for one process and a small problem: some five seconds. */
function hpccInput(): string {
  const lines = readFileSync("/usr/share/doc/hpcc/examples/_hpccinf.txt", "utf8").split("\n");
  for (const [index, line] of [
    [5, "2000         Ns"],
    [10, "1            Ps"],
    [11, "1            Qs"],
  ] as const)
    lines[index] = line;
  return lines.join("\n");
}

class Service {
  readonly #folder: string;
  #next = 1;

  private constructor(bed: Bed) {
    this.#folder = join(bed.base, "harm");
  }

  static async start(bed: Bed): Promise<Service> {
    const service = new Service(bed);
    mkdirSync(service.#folder, { recursive: true });
    writeFileSync(join(service.#folder, "hpccinf.txt"), hpccInput());
    writeFileSync(join(service.#folder, "results"), "");
    await run(["mkfifo", join(service.#folder, "pipe")]);
    await run(["chmod", "-R", "a+rwX", service.#folder]);
    const id = await submit(bed, "n1", serviceScript(bed.base));
    await bed.cluster.waitState(id, ["RUNNING"]);
    return service;
  }

  /** Seconds that the application took. */
  async run(app: App): Promise<number> {
    const id = `${this.#next++}`;
    await writeFile(join(this.#folder, "pipe"), `${id} ${app}\n`);
    const result = await until(
      `${app} ends`,
      runTimeoutMs,
      () => {
        const line = readFileSync(join(this.#folder, "results"), "utf8")
          .split("\n")
          .find((each) => each.startsWith(`${id} `));
        return line?.split(" ")[1];
      },
      200,
    );
    if (!(Number(result) > 0)) {
      const text = readFileSync(join(this.#folder, "out"), "utf8").slice(-1000);
      throw new Error(`${app} failed: ${text}`);
    }
    return Number(result);
  }
}

const agentName = "agent-n1";

async function setAgent(bed: Bed, wanted: boolean): Promise<void> {
  const alive = bed.cluster.daemons().find(({ name }) => name === agentName)?.alive === true;
  if (alive && !wanted) await bed.cluster.killDaemon(agentName, "SIGTERM");
  if (alive || !wanted) return;
  await bed.cluster.startDaemon(agentName);
  await pause(startMs);
}

/** The policy of the guard of n1, as the site's file. Its defaults are those that are shipped. */
async function setGuard(bed: Bed, guard: boolean): Promise<void> {
  writeFileSync(join(bed.cluster.stateDir, "etc", "guard.toml"), guard ? "" : 'mode = "off"\n');
  const agent = bed.cluster.daemons().find(({ name }) => name === agentName);
  if (agent?.alive === true) process.kill(agent.pid, "SIGHUP");
}

async function startLoad(bed: Bed, [kind, rate]: readonly [string, number]): Promise<number> {
  const program = join(bed.base, "bin/sublet-harm-load");
  const library = join(bed.base, "functions/libbench.so");
  const id = await submit(bed, "n3", `#!/bin/bash\nsrun '${program}' n1 ${kind} ${rate} '${library}'\n`);
  await until(`a guest (${kind})`, 60_000, async () =>
    (await bed.cluster.outputOf(id)).includes("ready") ? true : undefined,
  );
  return id;
}

async function guardActions(bed: Bed): Promise<number> {
  const values = metricValues(
    await page(`${bed.cluster.metricsUrl(agentName)}/metrics`),
    "sublet_guard_actions_total",
  );
  return [...values.values()].reduce((sum, value) => sum + value, 0);
}

interface Seconds {
  readonly kind: string;
  readonly round: number;
  readonly app: App;
  readonly seconds: number;
}

async function measure(bed: Bed, service: Service, beside: Beside, round: number): Promise<Seconds[]> {
  if (beside.agent) {
    await setAgent(bed, true);
    await setGuard(bed, beside.guard);
  } else await setAgent(bed, false);
  const load = beside.load === undefined ? undefined : await startLoad(bed, beside.load);
  await pause(settleMs);
  const taken: Seconds[] = [];
  try {
    for (const app of apps) taken.push({ kind: beside.name, round, app, seconds: await service.run(app) });
    if (load !== undefined) {
      const job = await bed.cluster.job(load);
      if (job.state !== "RUNNING")
        throw new Error(`the load ${beside.name} ended: ${(await bed.cluster.outputOf(load)).slice(-500)}`);
    }
  } finally {
    if (load !== undefined) {
      await bed.cluster.run(["scancel", `${load}`]);
      await bed.cluster.waitJob(load, 30_000);
    }
  }
  return taken;
}

function shuffled<T>(list: readonly T[]): T[] {
  return list
    .map((value) => ({ value, key: Math.random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ value }) => value);
}

function rowsOf(found: readonly Seconds[], chosen: readonly Beside[]): Row[] {
  const rounds = [...new Set(found.map(({ round }) => round))];
  const of = (kind: string, app: App, round: number): number =>
    found.find((each) => each.kind === kind && each.app === app && each.round === round)?.seconds ??
    Number.NaN;
  const base = (app: App, round: number): number => (of("alone", app, round) + of("again", app, round)) / 2;
  const rows: Row[] = [];
  for (const app of apps) {
    const baseline = medianOf(rounds.map((round) => base(app, round)));
    const spread = rounds.map((round) => of("again", app, round) / of("alone", app, round));
    rows.push({
      what: `${app}, alone against alone (noise)`,
      value: medianOf(rounds.map((round) => of("again", app, round))),
      unit: "s",
      baseline: { what: "alone", value: medianOf(rounds.map((round) => of("alone", app, round))) },
      ratio: medianOf(spread),
      interval: medianInterval(spread),
      note: `worst of ${rounds.length}: ${((percentileOf(spread, 0.95) - 1) * 100).toFixed(1)} %`,
    });
    for (const beside of chosen.filter(({ agent }) => agent)) {
      const ratios = rounds.map((round) => of(beside.name, app, round) / base(app, round));
      const p95 = percentileOf(ratios, 0.95);
      rows.push({
        what: `${app}, ${beside.what}`,
        value: medianOf(rounds.map((round) => of(beside.name, app, round))),
        unit: "s",
        baseline: { what: "alone", value: baseline },
        ratio: medianOf(ratios),
        interval: medianInterval(ratios),
        ...(beside.mark === undefined ? {} : { mark: beside.mark }),
        issue: "4.9",
        note: `worst of ${rounds.length}: ${((p95 - 1) * 100).toFixed(1)} %${
          beside.markP95 === undefined
            ? ""
            : ` (mark ${((beside.markP95 - 1) * 100).toFixed(0)} %: ${p95 <= beside.markP95 ? "met" : "NOT met"})`
        }`,
      });
    }
  }
  return rows;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "15" },
      only: { type: "string" },
      help: { type: "boolean" },
    },
  });
  const rounds = Number(values.rounds);
  const only = values.only?.split(",");
  const unknown = only?.filter((name) => !kinds.some((kind) => kind.name === name)) ?? [];
  if (values.help === true || !(Number.isInteger(rounds) && rounds >= 1) || unknown.length > 0) {
    console.error("usage: npm run bench:harm [-- --rounds N] [--only NAME,...]");
    for (const { name, what } of kinds) console.error(`  ${name.padEnd(12)} ${what}`);
    process.exit(values.help === true ? 0 : 2);
  }
  const chosen = kinds.filter(({ name, agent }) => !agent || only === undefined || only.includes(name));
  mkdirSync(out, { recursive: true });
  const machine = thisMachine();
  const found: Seconds[] = [];
  let actions = 0;
  await withBed({ agentSettings: { lease_here_first: false } }, async (bed) => {
    cpSync(join(treeRoot, "build/native/bin/sublet-harm-load"), join(bed.base, "bin/sublet-harm-load"));
    await keepOffTheJob(bed.cluster);
    const service = await Service.start(bed);
    say("both applications once, not counted");
    for (const app of apps) await service.run(app);
    for (let round = 0; round < rounds; round++)
      for (const [index, beside] of shuffled(chosen).entries()) {
        say(`round ${round + 1} of ${rounds}, ${index + 1} of ${chosen.length}: ${beside.what}`);
        found.push(...(await measure(bed, service, beside, round)));
        if (beside.agent) actions = Math.max(actions, await guardActions(bed));
      }
    await bed.cluster.cancelAll();
  });
  const rows = rowsOf(found, chosen);
  const subtitle = `${machine.cores} cores, ${machine.model}; ${rounds} rounds`;
  const title = `harm: what guests cost the job beside them (${subtitle})`;
  const svg = join(out, "harm.svg");
  const json = join(out, "harm.json");
  writeFileSync(
    json,
    `${JSON.stringify({ machine, rounds, rows: jsonRows(rows), guardActions: actions, runs: found }, undefined, 2)}\n`,
  );
  writeFileSync(svg, plotSvg("Sublet: what guests cost the job beside them", subtitle, rows));
  console.log(
    `${tableText(title, rows)}\n${summaryText(rows)}\nmost guard actions of one agent's life: ${actions}\n${json}\n${svg}`,
  );
}

await main();
