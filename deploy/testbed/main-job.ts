/** `npm start`: a real Slurm cluster on this machine, the main job on it, a report; then it stays up until Ctrl-C. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { startCluster } from "./cluster.ts";
import { reportText } from "./main-job/report.ts";
import { runMainJob } from "./main-job/run.ts";
import { stage } from "./main-job/stage.ts";
import { dashboardUrl } from "./sublet-conf.ts";

const command = new Command("npm start --")
  .description("Brings up a Slurm cluster on this machine and runs the main job on it.")
  .option("--once", "end after the report; exit status 0 only if every check held")
  .option("--json", "print the report as JSON")
  .option("--rounds <n>", "rounds of job B, 2 million options each", "30")
  .option("--steps <n>", "time steps of job A", "1500")
  .option("--cycles <n>", "how often company comes to A and goes again", "3")
  .parse();
const flags = command.opts<{
  once?: boolean;
  json?: boolean;
  rounds: string;
  steps: string;
  cycles: string;
}>();

function count(text: string, name: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1 || value > 100_000)
    command.error(`--${name} wants a number from 1 to 100000, not ${text}`);
  return value;
}
const rounds = count(flags.rounds, "rounds");
const steps = count(flags.steps, "steps");
const noiseCycles = count(flags.cycles, "cycles");

const startedMs = performance.now();
const progress = (message: string) =>
  process.stderr.write(`${((performance.now() - startedMs) / 1000).toFixed(1).padStart(6)} s  ${message}\n`);

const cluster = await startCluster({ progress });
let failed = true;
try {
  const base = await stage(join(cluster.stateDir, "opt"));
  const report = await runMainJob(cluster, base, { rounds, steps, noiseCycles, progress });
  const folder = fileURLToPath(new URL("../../build", import.meta.url));
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "main-job.json"), `${JSON.stringify(report, undefined, 2)}\n`);
  process.stdout.write(`${flags.json ? JSON.stringify(report, undefined, 2) : reportText(report)}\n`);
  failed = report.checks.some((check) => !check.held);
} catch (error) {
  process.stderr.write(`main job: ${error instanceof Error ? error.message : String(error)}\n`);
}
if (flags.once || failed) {
  progress("taking the cluster down");
  await cluster.stop();
  process.exit(failed ? 1 : 0);
}
process.stdout.write(`
The cluster is up until Ctrl-C. Its dashboard: ${dashboardUrl}
Try:
  npm run testbed -- status
  npm run testbed -- exec n1 -- sinfo
  curl ${cluster.metricsUrl("controller")}/metrics
${cluster.layout.nodes.map((node) => `  curl ${cluster.metricsUrl(`agent-${node.name}`)}/metrics`).join("\n")}
`);
await new Promise(() => setInterval(() => {}, 2 ** 30));
