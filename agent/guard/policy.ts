/**
 * The guard's policy: a file of its own (guard.toml), strict, every complaint with its line. Units are in the keys; a
 * contradiction (a leave threshold beyond its enter threshold, a quota beyond the node) is refused like a typing error.
 */
import { z } from "zod";
import { dropInsOf } from "../../src/config/layers.ts";
import { checkLayers, parseToml } from "../../src/config/load.ts";
import { live } from "../../src/config/meta.ts";
import { type Configuration, type FileReader, fileLayers } from "../../src/config/sources.ts";
import type { CpuPriority } from "../cgroup/priority.ts";
import { type ActionName, type SignalName, signalAbout, signalNames, signalTable } from "./table.ts";

export interface SignalPolicy {
  readonly use: boolean;
  readonly enter: number;
  readonly leave: number;
  readonly strongest: ActionName;
}

/** One hold, stronger than the one before; the first is none. */
export interface Rung {
  readonly action: "none" | "throttle" | "freeze";
  /** Of the lease's cores. */
  readonly quotaPercent: number;
}

/** node: all guests that may be the cause at once. guest: the newest and cheapest first, then twice as many, and so on. */
export type Scope = "node" | "guest";

export interface GuardPolicy {
  /** watch: decides, logs and counts, but touches nothing. */
  readonly mode: "act" | "watch" | "off";
  readonly intervalMs: number;
  readonly intervalFastMs: number;
  readonly costMaxPercent: number;
  readonly cpuPriority: CpuPriority;
  /** All guests of the node together; undefined: no limit beyond those of their leases. */
  readonly guestQuotaCores: number | undefined;
  readonly escalateMs: number;
  readonly relaxMs: number;
  readonly relapseMs: number;
  readonly rungs: readonly Rung[];
  readonly throttleScope: Scope;
  readonly freezeScope: Scope;
  readonly freezeMaxMs: number;
  readonly closedMs: number;
  readonly signals: Readonly<Record<SignalName, SignalPolicy>>;
}

/** What a policy is checked against. */
export interface PolicyNode {
  readonly cores: number;
  readonly memoryBytes: number;
}

const unit = "expected a number; its unit is the end of the key's name";
const ms = z.int(unit).min(10).max(86_400_000);
const scope = z.enum(["node", "guest"]);
const mib = 1024 * 1024;

function signalSchema(name: SignalName) {
  const row = signalTable[name];
  const most = row.unit === "percent" ? (row.kind === "bus" ? 10_000 : 100) : 1e9;
  const threshold = z.number(unit).min(0).max(most);
  const [worse, better] = row.bad === "above" ? ["beyond", "below"] : ["below", "above"];
  const shape: Record<string, z.ZodType> = {
    use: z.boolean().default(row.use).describe("whether it is looked at").meta(live),
    [`enter_${row.unit}`]: threshold.default(row.enter).describe(`a job suffers ${worse} this`).meta(live),
    [`leave_${row.unit}`]: threshold.default(row.leave).describe(`all is well ${better} this`).meta(live),
    strongest: z
      .enum(["throttle", "freeze", "shrink", "evict"])
      .default(row.strongest)
      .describe("the last step that it may lead to")
      .meta(live),
  };
  return z.strictObject(shape).prefault({}).describe(signalAbout[name]);
}

const throttle = z
  .strictObject({
    quota_percent: z
      .array(z.number(unit).min(1).max(99, "a hold is less than the whole lease"))
      .max(8)
      .default([50, 10])
      .describe("CPU quota, as parts of the lease's cores, each below the one before")
      .meta(live),
    scope: scope
      .default("node")
      .describe(
        "node: all guests that may be the cause at once; guest: the newest and cheapest first, then two, four, ...",
      )
      .meta(live),
  })
  .prefault({})
  .describe("step 1: less CPU time");

const freeze = z
  .strictObject({
    max_ms: ms
      .default(30_000)
      .describe(
        "a guest that is frozen for longer ends; where no signal may go so far it is thawed, and not frozen again for as long",
      )
      .meta(live),
    scope: scope.default("guest").describe("as in [throttle]").meta(live),
  })
  .prefault({})
  .describe(
    "step 2: frozen; calls wait and end with their deadline, the lease goes on. Not for evacuated and mirrored regions, whose clients would take them for lost",
  );

const evict = z
  .strictObject({
    closed_ms: z
      .int(unit)
      .min(0)
      .max(86_400_000)
      .default(60_000)
      .describe("how long the node lends nothing new after that")
      .meta(live),
  })
  .prefault({})
  .describe(
    "steps 3 and 4, with reason GUARD: the newest region ends (shrink), ephemeral ones first; an evacuated or mirrored one has reclaim.budget_ms to move, and nobody else ends meanwhile. Then the newest and cheapest function lease ends (evict)",
  );

/** What a policy may say on this node. */
export function policySchema(node: PolicyNode) {
  const signals = Object.fromEntries(signalNames.map((name) => [name, signalSchema(name)]));
  const cores = `this node has ${node.cores} cores`;
  return z
    .strictObject({
      mode: z
        .enum(["act", "watch", "off"])
        .default("act")
        .describe(
          "act: hold guests back; watch: decide, log and count, but touch nothing; off: no looks, no holds",
        )
        .meta(live),
      interval_ms: ms
        .default(1000)
        .describe("between two looks at the signals while guests are beside jobs (without, there are none)")
        .meta(live),
      interval_fast_ms: ms
        .default(200)
        .describe("the same while a signal is beyond its threshold or a guest is held back")
        .meta(live),
      cost_max_percent: z
        .number(unit)
        .min(0.01)
        .max(10)
        .default(0.5)
        .describe("what the guard itself may cost, of one core; when a look costs more, looks become rarer")
        .meta(live),
      cpu_priority: z
        .enum(["idle", "lowest", "fair"])
        .default("idle")
        .describe(
          "CPU priority of all guests beside jobs, from their start. idle: they run when nobody else wants the core " +
            "(cpu.idle; kernels before 5.15: lowest); lowest: weight 2 of 1024; fair: like anybody else (only where cores are never shared)",
        )
        .meta(live),
      guest_quota_cores: z
        .number(unit)
        .min(0.01)
        .max(node.cores, `beyond the node: ${cores}`)
        .optional()
        .describe("CPU time of all guests together, in cores; default: what their leases say")
        .meta({ ...live, example: 16 }),
      escalate_ms: ms
        .default(1000)
        .describe(
          "how long a signal stays beyond its enter threshold before a step up is taken, and the least time between two of them",
        )
        .meta(live),
      relax_ms: ms
        .default(5000)
        .describe("how long all signals stay at or better than leave before a step back is taken")
        .meta(live),
      relapse_ms: ms
        .default(60_000)
        .describe(
          "a guest that has to be held again within this waits twice as long the next time (up to 32 times)",
        )
        .meta(live),
      throttle,
      freeze,
      evict,
      ...signals,
    })
    .superRefine((raw, context) => checkSense(raw as Raw, node, context));
}

interface Raw {
  readonly interval_ms: number;
  readonly interval_fast_ms: number;
  readonly escalate_ms: number;
  readonly freeze: { readonly max_ms: number };
  readonly throttle: { readonly quota_percent: readonly number[] };
  readonly [signal: string]: unknown;
}

function thresholds(raw: Raw, name: SignalName): { use: boolean; enter: number; leave: number } {
  const table = raw[name] as Record<string, number | boolean>;
  const { unit: end } = signalTable[name];
  return {
    use: table.use === true,
    enter: Number(table[`enter_${end}`]),
    leave: Number(table[`leave_${end}`]),
  };
}

/** What each key alone cannot say. */
function checkSense(raw: Raw, node: PolicyNode, context: z.RefinementCtx): void {
  const complain = (path: string[], message: string): void =>
    context.addIssue({ code: "custom", path, message });
  for (const name of signalNames) {
    const { unit: end, bad } = signalTable[name];
    const { enter, leave } = thresholds(raw, name);
    if (bad === "above" ? leave >= enter : leave <= enter)
      complain(
        [name, `leave_${end}`],
        `${leave} must be ${bad === "above" ? "below" : "above"} enter_${end} (${enter}), or guests are held and let go in turn`,
      );
    if (name === "node_memory_headroom" && Math.max(enter, leave) * mib > node.memoryBytes)
      complain(
        [name, leave > enter ? `leave_${end}` : `enter_${end}`],
        `beyond the node: it has ${Math.floor(node.memoryBytes / mib)} MiB`,
      );
  }
  const quotas = raw.throttle.quota_percent;
  if (quotas.some((percent, index) => index > 0 && percent >= (quotas[index - 1] ?? 0)))
    complain(["throttle", "quota_percent"], "each step must be below the one before");
  if (raw.interval_fast_ms > raw.interval_ms)
    complain(["interval_fast_ms"], `${raw.interval_fast_ms} is beyond interval_ms ${raw.interval_ms}`);
  if (raw.escalate_ms < raw.interval_fast_ms)
    complain(["escalate_ms"], `${raw.escalate_ms} is below interval_fast_ms ${raw.interval_fast_ms}`);
  if (raw.freeze.max_ms < raw.escalate_ms)
    complain(["freeze", "max_ms"], `${raw.freeze.max_ms} is below escalate_ms ${raw.escalate_ms}`);
}

type Parsed = z.output<ReturnType<typeof policySchema>>;

function compile(raw: Parsed): GuardPolicy {
  const table = raw as unknown as Raw;
  const signal = (name: SignalName): [SignalName, SignalPolicy] => [
    name,
    { ...thresholds(table, name), strongest: (table[name] as { strongest: ActionName }).strongest },
  ];
  return {
    mode: raw.mode,
    intervalMs: raw.interval_ms,
    intervalFastMs: raw.interval_fast_ms,
    costMaxPercent: raw.cost_max_percent,
    cpuPriority: raw.cpu_priority,
    guestQuotaCores: raw.guest_quota_cores,
    escalateMs: raw.escalate_ms,
    relaxMs: raw.relax_ms,
    relapseMs: raw.relapse_ms,
    rungs: [
      { action: "none", quotaPercent: 100 },
      ...raw.throttle.quota_percent.map((percent) => ({
        action: "throttle" as const,
        quotaPercent: percent,
      })),
      { action: "freeze", quotaPercent: raw.throttle.quota_percent.at(-1) ?? 100 },
    ],
    throttleScope: raw.throttle.scope,
    freezeScope: raw.freeze.scope,
    freezeMaxMs: raw.freeze.max_ms,
    closedMs: raw.evict.closed_ms,
    signals: Object.fromEntries(signalNames.map(signal)) as Record<SignalName, SignalPolicy>,
  };
}

/** The policy in a text. @throws SubletError INVALID_ARGUMENT with all complaints, one a line: path, line, reason. */
export function parsePolicy(text: string, path: string, node: PolicyNode): GuardPolicy {
  return compile(parseToml(text, path, policySchema(node)));
}

/** The policy in a file and its drop-ins; the built-in one without. @throws SubletError also FAILED_PRECONDITION (no such file). */
export function loadPolicy(path: string | undefined, node: PolicyNode, read?: FileReader): GuardPolicy {
  return readPolicy(path, node, read).config;
}

/** The same, with the source of each key. */
export function readPolicy(
  path: string | undefined,
  node: PolicyNode,
  read?: FileReader,
): Configuration<GuardPolicy, unknown> {
  const layers = path === undefined ? [] : fileLayers(path, read);
  const subject = path ?? "built-in";
  const loaded = checkLayers(policySchema(node), layers, subject);
  const files = path === undefined ? [] : [path, ...dropInsOf(path)];
  return { config: compile(loaded.raw), read: { ...loaded, files, subject }, computed: {} };
}
