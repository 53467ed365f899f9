/** The report of the main job as text: every figure was measured in this run. */
import type { Check, Latency, OptionsRun, Utilisation } from "./figures.ts";
import { type Company, type Noise, slowdown } from "./noise.ts";

export interface Report {
  readonly machine: { readonly cores: number; readonly layout: string; readonly limits: readonly string[] };
  readonly noise: Noise;
  readonly together: { readonly loopS: number | undefined };
  readonly localOnly: OptionsRun;
  /** Job B on one core with one function core beside it, nothing else running. */
  readonly withFunctions: OptionsRun;
  /** Job B while A runs and C arrives. */
  readonly main: OptionsRun;
  readonly latencies: readonly Latency[];
  readonly cores: Utilisation;
  readonly memory: Utilisation;
  readonly reclaims: readonly {
    readonly node: string;
    readonly prologs: number;
    readonly reclaims: number;
    readonly meanMs: number;
  }[];
  readonly jobC: { readonly pendingS: number; readonly state: string };
  readonly slurm: { readonly ours: number; readonly seconds: number };
  readonly agents: readonly { readonly node: string; readonly cpuShare: number; readonly rssBytes: number }[];
  readonly checks: readonly Check[];
}

const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
const perS = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB/s`;
const us = (value: number) => (value < 1000 ? `${value.toFixed(2)} µs` : `${(value / 1000).toFixed(2)} ms`);

/** Rows of label and value, the values aligned. */
function rows(entries: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...entries.map(([label]) => label.length));
  return entries.map(([label, value]) => `  ${label.padEnd(width)}  ${value}`);
}

function noiseRows(noise: Noise, loopS: number | undefined): string[] {
  const signed = (share: number) => `${share >= 0 ? "+" : ""}${percent(share)}`;
  const against = (company: Company, other: Company) => {
    const { median, least, most, cycles } = slowdown(noise, company, other);
    return cycles === 0
      ? "unknown"
      : `${signed(median)} (${signed(least)} to ${signed(most)} in ${cycles} cycles); CPU time of a step ${signed(slowdown(noise, company, other, "cpuMs").median)}`;
  };
  const shown = (company: Company) =>
    noise[company]
      .map((step) =>
        step === undefined
          ? "?"
          : `${step.wallMs.toFixed(2)} ms (${((step.waitedMs / step.wallMs) * 100).toFixed(0)} % of it waiting for its core)`,
      )
      .join(", ");
  return rows([
    ["alone", shown("alone")],
    ["beside an ordinary job", against("job", "alone")],
    ["beside that job and its functions", against("functions", "alone")],
    ["what functions add to the ordinary job", against("functions", "job")],
    ["whole run while B and C ran", loopS === undefined ? "unknown" : `${loopS.toFixed(2)} s`],
  ]);
}

export function reportText(report: Report): string {
  const { localOnly, withFunctions, main } = report;
  const lines: string[] = ["", "Job B: 2 million options a round, and a table in lent memory"];
  lines.push(
    ...rows([
      ["local only", `${localOnly.seconds.toFixed(2)} s`],
      [
        "with one function core",
        `${withFunctions.seconds.toFixed(2)} s, ${(localOnly.seconds / withFunctions.seconds).toFixed(2)} times as fast`,
      ],
      [
        "while A runs and C arrives",
        `${main.seconds.toFixed(2)} s; batches by functions ${main.remote}, here ${main.local}, run again ${main.retried}`,
      ],
      [
        "leases",
        `${main.leases.map((lease) => `${lease.node} in ${us(lease.requestUs)}`).join(", ") || "none"}; taken back: ${main.ended.map((end) => end.node).join(", ") || "none"}`,
      ],
      ["result, local only", localOnly.checksum ?? "none"],
      ["result, with functions", main.checksum ?? "none"],
      [
        "table in a region",
        main.region === undefined
          ? "none"
          : `${main.region.bytes / 2 ** 20} MiB on ${main.region.node}: put ${perS(main.region.putBytesPerS)}, get in random order ${perS(main.region.getBytesPerS)}, wrong pieces ${main.region.wrongPieces}`,
      ],
    ]),
  );
  lines.push("", "Job A: LAMMPS, time of a step while company on another core came and went");
  lines.push(...noiseRows(report.noise, report.together.loopS));
  lines.push("", "Utilisation while A and B ran");
  lines.push(
    ...rows([
      [
        "cores, Slurm alone / with Sublet",
        `${percent(report.cores.slurmAlone)} / ${percent(report.cores.withSublet)}`,
      ],
      [
        "memory, Slurm alone / with Sublet",
        `${percent(report.memory.slurmAlone)} / ${percent(report.memory.withSublet)}`,
      ],
    ]),
  );
  lines.push("", "Latency (p50 / p99)");
  lines.push(
    ...rows(
      report.latencies.map((entry) => [
        `${entry.what}, ${entry.path}`,
        `${us(entry.p50Us)} / ${us(entry.p99Us)}  (${entry.count} times)`,
      ]),
    ),
  );
  lines.push("", "What Slurm saw");
  lines.push(
    ...rows([
      ...report.reclaims.map(
        (entry) =>
          [
            `reclaim on ${entry.node}`,
            `${entry.reclaims} by ${entry.prologs} prologs, mean ${entry.meanMs.toFixed(1)} ms until the prolog was answered`,
          ] as const,
      ),
      ["job C", `${report.jobC.state} ${report.jobC.pendingS.toFixed(1)} s after it was submitted`] as const,
      [
        "our calls to slurmctld",
        `${report.slurm.ours} in ${report.slurm.seconds.toFixed(0)} s, whatever the number of nodes`,
      ] as const,
      ...report.agents.map(
        (entry) =>
          [
            `agent on ${entry.node}`,
            `${percent(entry.cpuShare)} of a core, ${(entry.rssBytes / 2 ** 20).toFixed(0)} MiB`,
          ] as const,
      ),
    ]),
  );
  lines.push("", `This machine: ${report.machine.cores} cores; ${report.machine.layout}`);
  lines.push(...report.machine.limits.map((limit) => `  not shown here: ${limit}`));
  lines.push("", "Checks");
  lines.push(
    ...report.checks.map((check) => `  ${check.held ? "ok  " : "FAIL"} ${check.name}: ${check.detail}`),
  );
  return lines.join("\n");
}
