/**
 * The main job: three batch jobs on a real Slurm cluster, in two acts.
 *
 * First: A with company that comes and goes (noise.ts); B without functions; B with one function core and nothing else
 * running; round trips.
 * Together: A on a part of n1, B on n3 with functions beside A and on the idle n2 and a table in lent memory; then C
 * arrives and needs n2 and the lent cores.
 */
import { SubletError } from "../../../src/common/errors.ts";
import type { Cluster } from "../cluster.ts";
import { until } from "../shell.ts";
import {
  type Check,
  latenciesOf,
  loopTimeOf,
  metricValues,
  optionsRunOf,
  parseEvents,
  utilisationOf,
} from "./figures.ts";
import { meltScript, type OptionsJob, optionsScript, regionMib, visitorScript } from "./jobs.ts";
import { keepOffTheJob, measureNoise, slowdown } from "./noise.ts";
import type { Report } from "./report.ts";
import { page, startSampler } from "./sampler.ts";

export interface MainJobOptions {
  /** Rounds of job B; each prices 2 million options. */
  readonly rounds: number;
  /** Steps of job A. */
  readonly steps: number;
  /** How often company comes to A and goes again. */
  readonly noiseCycles: number;
  readonly progress: (message: string) => void;
}

const names = ["n1", "n2", "n3"] as const;
const small = ["--ntasks=1", "--mem=1024"];

async function melt(cluster: Cluster, base: string, steps: number): Promise<number> {
  return await cluster.sbatch({
    args: ["--job-name=A", "--nodelist=n1", ...small],
    script: meltScript(base, steps),
  });
}

async function options(cluster: Cluster, base: string, node: string, job: OptionsJob): Promise<number> {
  return await cluster.sbatch({
    args: ["--job-name=B", `--nodelist=${node}`, ...small],
    script: optionsScript(base, job),
  });
}

/** Waits for a job that must succeed; its output. */
async function outputOf(cluster: Cluster, id: number, timeoutMs: number): Promise<string> {
  const job = await cluster.waitJob(id, timeoutMs);
  const text = await cluster.outputOf(id);
  if (job.state !== "COMPLETED")
    throw new SubletError("INTERNAL", `job ${id} ended as ${job.state}; its output:\n${text.slice(-2000)}`);
  return text;
}

async function pages(cluster: Cluster): Promise<string[]> {
  return await Promise.all(names.map((name) => page(`${cluster.metricsUrl(`agent-${name}`)}/metrics`)));
}

const total = (text: string, name: string) =>
  [...metricValues(text, name).values()].reduce((sum, value) => sum + value, 0);

/** What the agents' pages say of two moments. */
function agentsBetween(before: readonly string[], after: readonly string[], seconds: number) {
  return names.map((node, i) => {
    const [old = "", now = ""] = [before[i], after[i]];
    const rise = (name: string) => total(now, name) - total(old, name);
    const count = rise("sublet_reclaim_seconds_count");
    return {
      node,
      cpuShare: rise("process_cpu_seconds_total") / seconds,
      rssBytes: total(now, "process_resident_memory_bytes"),
      prologs:
        (metricValues(now, "sublet_hook_calls_total").get('event="prolog"') ?? 0) -
        (metricValues(old, "sublet_hook_calls_total").get('event="prolog"') ?? 0),
      reclaims: count,
      meanMs: count === 0 ? 0 : (rise("sublet_reclaim_seconds_sum") / count) * 1000,
      missed:
        (metricValues(now, "sublet_reclaims_total").get('messenger="cgroup"') ?? 0) -
        (metricValues(old, "sublet_reclaims_total").get('messenger="cgroup"') ?? 0),
    };
  });
}

/** First act: each thing by itself. */
async function alone(cluster: Cluster, base: string, settings: MainJobOptions) {
  const { progress, rounds } = settings;
  const noise = await measureNoise(cluster, base, { cycles: settings.noiseCycles, progress });
  progress("B without functions");
  const localOnly = optionsRunOf(
    parseEvents(await outputOf(cluster, await options(cluster, base, "n1", { rounds, leases: 0 }), 300_000)),
  );
  progress(`B took ${localOnly.seconds.toFixed(2)} s; B with one function core beside it`);
  const withFunctions = optionsRunOf(
    parseEvents(
      await outputOf(
        cluster,
        await options(cluster, base, "n1", { rounds, leases: 1, lendNode: "n1" }),
        300_000,
      ),
    ),
  );
  progress(`B took ${withFunctions.seconds.toFixed(2)} s; round trips on one node and across nodes`);
  const latencies = [];
  for (const [node, probe] of [
    ["n1", "n1:1"],
    ["n3", "n1:2"],
  ] as const) {
    const id = await options(cluster, base, node, { rounds: 0, leases: 0, probe });
    latencies.push(...latenciesOf(parseEvents(await outputOf(cluster, id, 120_000))));
  }
  return { noise, localOnly, withFunctions, latencies };
}

/** Second act: all three jobs. */
async function together(cluster: Cluster, base: string, settings: MainJobOptions) {
  const { progress, rounds, steps } = settings;
  const before = await pages(cluster);
  const startedMs = performance.now();
  const jobA = await melt(cluster, base, steps);
  await cluster.waitState(jobA, ["RUNNING"]);
  progress("A runs on n1; B starts on n3 with leases beside A and on the idle n2");
  const urls = names.map((name) => `${cluster.metricsUrl(`agent-${name}`)}/metrics`);
  const sampler = startSampler(urls, 1000);
  const jobB = await options(cluster, base, "n3", { rounds, leases: 2, exclude: "n3", regionMib });
  const runOf = async () => optionsRunOf(parseEvents(await cluster.outputOf(jobB)));
  await until(
    "B has leases and has priced a few rounds with functions",
    60_000,
    async () => {
      const [run, job] = await Promise.all([runOf(), cluster.job(jobB)]);
      if (!["PENDING", "RUNNING", "CONFIGURING"].includes(job.state))
        throw new SubletError(
          "INTERNAL",
          `B ended early as ${job.state}:\n${(await cluster.outputOf(jobB)).slice(-2000)}`,
        );
      return run.leases.length >= 1 && run.rounds.filter((round) => round.remote > 0).length >= 3
        ? true
        : undefined;
    },
    500,
  );
  progress("B works on lent cores; C arrives and wants n2 and the lent core of n1");
  const submittedMs = performance.now();
  const jobC = await cluster.sbatch({
    args: ["--job-name=C", "--nodelist=n1,n2", "--nodes=2", "--ntasks-per-node=1", "--mem=1024"],
    script: visitorScript(3),
  });
  await cluster.waitState(jobC, ["RUNNING", "COMPLETED"], 60_000);
  const pendingS = (performance.now() - submittedMs) / 1000;
  progress(`C runs ${pendingS.toFixed(1)} s after it was submitted; B goes on with what is left`);
  const endC = await cluster.waitJob(jobC, 60_000);
  const outputB = await outputOf(cluster, jobB, 300_000);
  const samples = await sampler.stop();
  progress("B is done; waiting for A");
  const outputA = await outputOf(cluster, jobA, 300_000);
  const seconds = (performance.now() - startedMs) / 1000;
  const after = await pages(cluster);
  return {
    main: optionsRunOf(parseEvents(outputB)),
    loopS: loopTimeOf(outputA),
    jobC: { pendingS, state: endC.state },
    samples,
    agents: agentsBetween(before, after, seconds),
    seconds,
  };
}

/** Runs everything and returns the report. @throws SubletError when a job could not even run. */
export async function runMainJob(cluster: Cluster, base: string, settings: MainJobOptions): Promise<Report> {
  const controllerUrl = `${cluster.metricsUrl("controller")}/metrics`;
  const startedMs = performance.now();
  const callsBefore = total(await page(controllerUrl), "sublet_slurm_rpcs_total");
  await keepOffTheJob(cluster);
  const first = await alone(cluster, base, settings);
  const second = await together(cluster, base, settings);
  await until("every lease has ended", 20_000, async () =>
    (await pages(cluster)).every((text) => total(text, "sublet_leases") === 0) ? true : undefined,
  );
  const controllerPage = await page(controllerUrl);
  const { main } = second;
  const same = (run: { checksum: string | undefined }) =>
    run.checksum !== undefined && run.checksum === first.localOnly.checksum;
  const checks: Check[] = [
    {
      name: "same result with functions",
      held: same(first.withFunctions),
      detail: first.withFunctions.checksum ?? "none",
    },
    {
      name: "same result with leases taken back",
      held: same(main),
      detail: `${main.checksum}, local only ${first.localOnly.checksum}`,
    },
    {
      name: "functions did a part of the work",
      held: main.remote > 0 && first.withFunctions.remote > 0,
      detail: `${main.remote} batches`,
    },
    {
      name: "every byte of the table",
      held: main.region?.wrongPieces === 0 && main.region.bytes === regionMib * 2 ** 20,
      detail: main.region === undefined ? "no region" : `${main.region.bytes} bytes on ${main.region.node}`,
    },
    {
      name: "B saw its leases taken back",
      held: main.ended.some((end) => end.revoked),
      detail:
        main.ended
          .map((end) => `${end.node}: ${end.revoked ? "REVOKED" : "ended"} ${end.reason}`)
          .join(", ") || "none",
    },
    { name: "C got what it asked for", held: second.jobC.state === "COMPLETED", detail: second.jobC.state },
    {
      name: "A ended as it should",
      held: second.loopS !== undefined,
      detail: `loop time ${second.loopS?.toFixed(2)} s`,
    },
    {
      name: "A was measured with and without functions beside it",
      held: slowdown(first.noise, "functions", "alone").cycles > 0,
      detail: `${slowdown(first.noise, "functions", "alone").cycles} of ${settings.noiseCycles} times`,
    },
    {
      name: "no prolog was missed",
      held: second.agents.every((agent) => agent.missed === 0),
      detail: `${second.agents.reduce((sum, agent) => sum + agent.missed, 0)} found by the cgroup witness`,
    },
    { name: "no lease left", held: true, detail: "0" },
  ];
  return {
    machine: {
      cores: cluster.layout.cores.length,
      layout: cluster.layout.nodes.map((node) => `${node.name} has ${node.cpus.join(",")}`).join("; "),
      limits: cluster.layout.caveats,
    },
    noise: first.noise,
    together: { loopS: second.loopS },
    localOnly: first.localOnly,
    withFunctions: first.withFunctions,
    main,
    latencies: first.latencies,
    cores: utilisationOf(second.samples, "cores"),
    memory: utilisationOf(second.samples, "memoryBytes"),
    reclaims: second.agents,
    jobC: second.jobC,
    slurm: {
      ours: total(controllerPage, "sublet_slurm_rpcs_total") - callsBefore,
      seconds: (performance.now() - startedMs) / 1000,
    },
    agents: second.agents,
    checks,
  };
}
