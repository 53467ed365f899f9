/** A cluster that exists in figures only, in the shapes of src/dashboard/api.ts. The same seed gives the same cluster. */
import type {
  AccountRow,
  Gain,
  History,
  LeaseRow,
  NodeChanges,
  NodeDetail,
  NodeTable,
  ReclaimRow,
  Reclaims,
  Shares,
  Summary,
  WaitingComparison,
} from "../../../src/dashboard/api.ts";

const gib = 2 ** 30;
const hourMs = 3_600_000;

/** From 0 to 1 (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface FakeOptions {
  readonly nodes: number;
  readonly seed?: number;
  /** Names, users, notices as somebody hostile would choose them. */
  readonly hostile?: boolean;
  /** A cluster on its first day: no history, no leases, no reclaims. */
  readonly empty?: boolean;
  /** What is older than 31 days comes from Prometheus. */
  readonly longHistory?: boolean;
}

export const hostileText = `<img src=x onerror="document.title='owned'">`;
const nodeCores = 64;
const nodeMib = 256 * 1024;

export class FakeCluster {
  readonly table: NodeTable;
  version = "0.1.0";
  /** What Prometheus does wrong. */
  trouble: string | null = null;
  readonly #options: FakeOptions;
  readonly #random: () => number;
  #invocations = 48_210_553;

  constructor(options: FakeOptions) {
    this.#options = options;
    this.#random = random(options.seed ?? 7);
    this.table = this.#makeTable();
  }

  name(index: number): string {
    if (this.#options.hostile && index === 0) return hostileText;
    return `n${String(index + 1).padStart(String(this.#options.nodes).length, "0")}`;
  }

  #makeTable(): NodeTable {
    const count = this.#options.nodes;
    const column = () => new Array<number>(count).fill(0);
    const table: NodeTable = {
      atMs: Date.now(),
      revision: 1,
      names: Array.from({ length: count }, (_, index) => this.name(index)),
      slurmState: column(),
      slurmStates: ["IDLE", "MIXED", "ALLOCATED", "DRAINED", "DOWN"],
      lending: column(),
      lendings: ["none", "on", "shadow", "hold-out", "drained"],
      partitions: Array.from({ length: count }, (_, index) => [index % 10 < 7 ? 0 : index % 10 < 9 ? 1 : 2]),
      partitionNames: ["normal", "long", "gpu"],
      cores: new Array<number>(count).fill(nodeCores),
      coresAllocated: column(),
      coresLent: column(),
      coresSpare: column(),
      memoryMib: new Array<number>(count).fill(nodeMib),
      memoryAllocatedMib: column(),
      memoryLentMib: column(),
      memorySpareMib: column(),
      leases: column(),
    };
    for (let index = 0; index < count; index++) this.#fill(table, index);
    return table;
  }

  /** Puts a node into a state of its own; neighbours are alike, as jobs that span nodes make them. */
  #fill(table: NodeTable, index: number): void {
    const chance = this.#random();
    const block = Math.sin(Math.floor(index / 16) * 1.7 + table.revision / 90) * 0.5 + 0.5;
    const off = chance > 0.985;
    const state = off ? (chance > 0.992 ? 4 : 3) : block > 0.45 ? 2 : block > 0.2 ? 1 : 0;
    const allocated = state === 2 ? nodeCores : state === 1 ? 8 * Math.ceil(this.#random() * 6) : 0;
    const open = off ? 0 : nodeCores - 4 - allocated;
    const unused = state === 2 ? Math.floor(this.#random() * 12) : 0;
    const lendable = Math.max(0, open) + unused;
    const lent = this.#options.empty ? 0 : Math.min(lendable, Math.floor(lendable * this.#random() * 1.3));
    const memoryLendable = off ? 0 : Math.floor(lendable * 3.2 * 1024);
    const memoryLent = Math.floor(memoryLendable * (lent / Math.max(1, lendable)) * 0.8);
    table.slurmState[index] = state;
    table.lending[index] = off ? (state === 3 ? 4 : 0) : index % 40 === 7 ? 3 : index % 97 === 5 ? 2 : 1;
    table.coresAllocated[index] = allocated;
    table.coresLent[index] = lent;
    table.coresSpare[index] = lendable - lent;
    table.memoryAllocatedMib[index] = Math.floor((allocated / nodeCores) * nodeMib * 0.85);
    table.memoryLentMib[index] = memoryLent;
    table.memorySpareMib[index] = memoryLendable - memoryLent;
    table.leases[index] = lent === 0 ? 0 : Math.ceil(lent / 8);
  }

  /** Lets some nodes change; what then is sent. */
  step(nodes: number): NodeChanges {
    const table = this.table;
    const fromRevision = table.revision++;
    table.atMs = Date.now();
    const indexes = new Set(
      Array.from({ length: nodes }, () => Math.floor(this.#random() * table.names.length)),
    );
    this.#invocations += 3100;
    const rows = [...indexes].map((index) => {
      this.#fill(table, index);
      return {
        index,
        slurmState: table.slurmStates[table.slurmState[index] ?? 0] ?? "",
        lending: table.lendings[table.lending[index] ?? 0] ?? "none",
        values: [
          table.cores,
          table.coresAllocated,
          table.coresLent,
          table.coresSpare,
          table.memoryMib,
          table.memoryAllocatedMib,
          table.memoryLentMib,
          table.memorySpareMib,
          table.leases,
        ].map((values) => values[index] ?? 0),
      };
    });
    return { atMs: table.atMs, fromRevision, revision: table.revision, rows };
  }

  #shares(
    values: { all: number[]; allocated: number[]; lent: number[]; spare: number[] },
    unit: number,
  ): Shares {
    const sum = (numbers: number[]) => numbers.reduce((all, value) => all + value, 0) * unit;
    const [total, allocated, lent, spare] = [values.all, values.allocated, values.lent, values.spare].map(
      sum,
    ) as [number, number, number, number];
    const heldUnused = Math.round(allocated * 0.13);
    const rest = total - allocated - lent - spare;
    const used = rest < 0 ? allocated - heldUnused + rest : allocated - heldUnused;
    return { total, used, heldUnused, lent, spare, closed: Math.max(0, rest) };
  }

  gain(days: number): Gain {
    const hours = days * 24;
    const { cores, memoryBytes } = this.#now();
    const of = (shares: Shares, unit: number) => ({
      total: shares.total * hours * unit,
      slurmAlone: (shares.used + shares.heldUnused) * hours * unit,
      lent: shares.lent * hours * unit * 0.93,
      beyondPacking: shares.lent * hours * unit * 0.21,
      perfectPacking: (shares.spare + shares.lent + shares.closed * 0.5) * hours * unit,
    });
    const now = Date.now();
    return {
      fromMs: now - hours * hourMs,
      toMs: now,
      covered: this.#options.empty ? 0.02 : days > 1 ? 0.97 : 1,
      coreHours: of(cores, 1),
      gibHours: of(memoryBytes, 1 / gib),
      money: { value: cores.lent * hours * 0.011, currency: "EUR" },
      cost: {
        guardActions: 212 * days,
        leasesReclaimed: 1840 * days,
        cpuPressurePercent: 0.31,
        memoryPressurePercent: 0.02,
        holdOutDifferencePercent: this.#options.empty ? null : -0.04,
        holdOut: {
          cpu: this.#waiting(0.41, -0.04, 0.11, days),
          memory: this.#waiting(0.02, 0, 0.01, days),
        },
        receipts: 9120 * days,
      },
    };
  }

  /** On nodes that lend, the difference, and half of its interval. */
  #waiting(waitedPercent: number, difference: number, half: number, days: number): WaitingComparison {
    const { empty } = this.#options;
    const hours = this.table.coresAllocated.reduce((sum, cores) => sum + cores, 0) * 24 * days;
    return {
      lending: { waitedPercent, nodes: 0.9 * this.table.names.length, jobCoreHours: 0.9 * hours },
      heldOut: {
        waitedPercent: waitedPercent - difference,
        nodes: empty ? 1 : 0.05 * this.table.names.length,
        jobCoreHours: empty ? 2 : 0.05 * hours,
      },
      differencePercent: empty ? null : difference,
      lowPercent: empty ? null : difference - half,
      highPercent: empty ? null : difference + half,
    };
  }

  #now(): { cores: Shares; memoryBytes: Shares } {
    const t = this.table;
    return {
      cores: this.#shares(
        { all: t.cores, allocated: t.coresAllocated, lent: t.coresLent, spare: t.coresSpare },
        1,
      ),
      memoryBytes: this.#shares(
        { all: t.memoryMib, allocated: t.memoryAllocatedMib, lent: t.memoryLentMib, spare: t.memorySpareMib },
        2 ** 20,
      ),
    };
  }

  #before(fromMs: number): Pick<History, "before"> {
    const toMs = Date.now() - 31 * 24 * hourMs;
    return this.#options.longHistory === true && fromMs < toMs
      ? { before: { toMs, trouble: this.trouble } }
      : {};
  }

  summary(): Summary {
    const t = this.table;
    const lending = (word: string) => t.lending.filter((index) => t.lendings[index] === word).length;
    const leases = t.leases.reduce((all, value) => all + value, 0);
    const off = t.slurmState.filter((state) => t.slurmStates[state] === "DOWN").length;
    const empty = this.#options.empty === true;
    return {
      atMs: Date.now(),
      cluster: this.#options.hostile ? hostileText : "alps",
      version: this.version,
      ...this.#now(),
      nodes: {
        total: t.names.length,
        reporting: t.names.length - off,
        lending: lending("on"),
        drained: lending("drained"),
        shadow: lending("shadow"),
        holdOut: lending("hold-out"),
      },
      leases: { functions: Math.round(leases * 0.8), regions: Math.round(leases * 0.2), draining: 3 },
      invocations: empty ? { total: 0, perSecond: 0 } : { total: this.#invocations, perSecond: 3122 },
      reclaim: empty ? { total: 0, p50Ms: null, p99Ms: null } : { total: 55_211, p50Ms: 8.4, p99Ms: 61 },
      guardActions: { throttle: 181, freeze: 22, shrink: 2, evict: 7 },
      gain: { today: this.gain(1), month: this.gain(30) },
      timeZone: "Europe/Zurich",
      longHistory: this.#options.longHistory === true,
      snapshot: { valid: true, ageMs: 1800 },
      notices: this.#notices(off),
    };
  }

  #notices(off: number): Summary["notices"] {
    if (this.#options.hostile) return [{ level: "error", text: hostileText, doc: hostileText }];
    if (this.#options.empty) return [];
    return [
      { level: "warn", text: `${off} nodes do not report since 09:12`, doc: "docs/sysadmin.md" },
      { level: "info", text: "Prices are set: money is shown in EUR", doc: "" },
    ];
  }

  history(fromMs: number, toMs: number, points: number): History {
    const count = this.#options.empty ? 0 : Math.min(points, 2000);
    const stepMs = Math.max(1000, Math.round((toMs - fromMs) / Math.max(1, count)));
    const atMs = Array.from({ length: count }, (_, index) => fromMs + index * stepMs);
    const { cores, memoryBytes } = this.#now();
    const wave = (ms: number) => {
      const day = (ms / (24 * hourMs)) * 2 * Math.PI;
      return Math.sin(day) * 0.5 + Math.sin(day * 7.3) * 0.2 + Math.sin(ms / 900_000) * 0.08;
    };
    const gap = (index: number) => index > count * 0.31 && index < count * 0.33;
    const split = (shares: Shares): History["cores"] => {
      const rows = atMs.map((ms, index): Shares | undefined => {
        if (gap(index)) return undefined;
        const lift = wave(ms);
        const closed = shares.closed * (1 + lift * 0.05);
        const allocated = Math.min(shares.total - closed, shares.total * (0.72 + lift * 0.18));
        const free = Math.max(0, shares.total - closed - allocated);
        const heldUnused = allocated * (0.16 - lift * 0.04);
        const lent = free * (0.55 + lift * 0.2) + heldUnused * 0.3;
        return {
          total: shares.total,
          used: allocated - heldUnused,
          heldUnused: heldUnused * 0.7,
          lent,
          spare: Math.max(0, shares.total - closed - allocated - lent + heldUnused * 0.3),
          closed,
        };
      });
      const column = (key: keyof Shares) =>
        rows.map((row) => (row === undefined ? null : Math.round(row[key])));
      return {
        total: column("total"),
        used: column("used"),
        heldUnused: column("heldUnused"),
        lent: column("lent"),
        spare: column("spare"),
        closed: column("closed"),
      };
    };
    const rate = (middle: number) =>
      atMs.map((ms, index) => (gap(index) ? null : Math.max(0, middle * (1 + wave(ms)))));
    return {
      fromMs,
      toMs,
      stepMs,
      atMs,
      cores: split(cores),
      memoryBytes: split(memoryBytes),
      invocationsPerSecond: rate(3000),
      reclaimsPerHour: rate(76),
      guardActionsPerHour: rate(9),
      ...this.#before(fromMs),
    };
  }

  lease(number: number): LeaseRow {
    const draw = random(number * 77 + 3);
    const region = draw() > 0.8;
    const node = Math.floor(draw() * this.table.names.length);
    const users = ["ada", "grace", "linus", "barbara", "edsger", "katherine"];
    const which = Math.floor(draw() * users.length);
    return {
      id: `${number.toString(16).padStart(4, "0")}-7f3a9c`,
      kind: region ? "region" : "function",
      state: draw() > 0.03 ? "ACTIVE" : "DRAINING",
      reason: "",
      node: this.name(node),
      class: (["idle", "unallocated", "shared"] as const)[Math.floor(draw() * 3)] ?? "idle",
      cores: region ? 0 : 1 + Math.floor(draw() * 15),
      memoryBytes: Math.round((region ? 8 : 1) * gib * (0.5 + draw() * 4)),
      uid: 1000 + which,
      user: this.#options.hostile ? hostileText : (users[which] ?? ""),
      account: this.#options.hostile
        ? hostileText
        : ["cfd", "climate", "qcd"][which % 3] === "cfd"
          ? "cfd"
          : "climate",
      jobId: 4_410_000 + Math.floor(draw() * 9000),
      fromNode: this.name(Math.floor(draw() * this.table.names.length)),
      grantedAtMs: Date.now() - Math.floor(draw() * 3 * hourMs),
      remainingMs: Math.floor(draw() * 300_000),
      invocations: region ? 0 : Math.floor(draw() * 2_000_000),
    };
  }

  leases(limit: number): LeaseRow[] {
    if (this.#options.empty) return [];
    return Array.from({ length: Math.min(limit, 400) }, (_, index) => this.lease(index + 1)).sort(
      (a, b) => b.grantedAtMs - a.grantedAtMs,
    );
  }

  reclaimRow(number: number): ReclaimRow {
    const draw = random(number * 31 + 11);
    const causes = ["prolog", "prolog", "step", "cgroup", "admin"];
    return {
      atMs: Date.now() - Math.floor(number * 41_000 * (0.5 + draw())),
      node: this.name(Math.floor(draw() * this.table.names.length)),
      durationMs: Math.round(Math.exp(draw() * 3.2 + 0.6) * 10) / 10,
      leases: 1 + Math.floor(draw() * 5),
      cause: this.#options.hostile ? hostileText : (causes[Math.floor(draw() * causes.length)] ?? ""),
    };
  }

  reclaims(fromMs: number, toMs: number): Reclaims {
    const edgesMs = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
    const none = this.#options.empty === true;
    const counts = none ? edgesMs.map(() => 0).concat(0) : [12, 180, 911, 1450, 804, 260, 71, 14, 3, 0, 1];
    return {
      fromMs,
      toMs,
      count: counts.reduce((all, value) => all + value, 0),
      p50Ms: none ? null : 8.4,
      p99Ms: none ? null : 61,
      maxMs: none ? null : 1240,
      edgesMs,
      counts,
      latest: none ? [] : Array.from({ length: 100 }, (_, index) => this.reclaimRow(index + 1)),
    };
  }

  accounts(): AccountRow[] {
    if (this.#options.empty) return [];
    const rows: readonly [string, string, number, number | null][] = [
      ["climate", "ada", 3100, 40_000_000],
      ["climate", "grace", 800, 40_000_000],
      ["cfd", "linus", 2100, 2_600_000],
      ["qcd", "barbara", 410, null],
      ["qcd", "edsger", 12, null],
    ];
    return rows.map(([account, user, leases, quota], index) => ({
      account: this.#options.hostile ? hostileText : account,
      user: this.#options.hostile ? `${hostileText}${index}` : user,
      leases,
      coreSeconds: leases * 8200,
      byteSeconds: leases * 8200 * 3 * gib,
      invocations: leases * 91_000,
      quotaCoreSeconds: quota,
      usedTodayCoreSeconds: leases * 1150,
    }));
  }

  node(name: string): NodeDetail | undefined {
    const index = this.table.names.indexOf(name);
    if (index < 0) return undefined;
    const t = this.table;
    const at = (column: readonly number[]) => column[index] ?? 0;
    const lent = at(t.coresLent);
    const leases = Array.from({ length: at(t.leases) }, (_, lease) => ({
      ...this.lease(index * 10 + lease + 1),
      node: name,
      cores: Math.min(8, lent - lease * 8),
    }));
    const spare = at(t.coresSpare);
    const jobs = Math.min(at(t.coresAllocated), nodeCores - 4 - lent - spare);
    const uses: NodeDetail["cores"] = Array.from({ length: at(t.cores) }, (_, id) => {
      if (id < 4) return { id, use: "reserved" };
      if (id < 4 + jobs) return { id, use: "job" };
      const fromTop = at(t.cores) - 1 - id;
      if (fromTop < lent) return { id, use: "guest", leaseId: leases[Math.floor(fromTop / 8)]?.id ?? "" };
      return { id, use: fromTop < lent + spare ? "spare" : "unknown" };
    });
    const mib = 2 ** 20;
    return {
      atMs: Date.now(),
      node: name,
      slurmState: t.slurmStates[at(t.slurmState)] ?? "",
      partitions: (t.partitions[index] ?? []).map((each) => t.partitionNames[each] ?? ""),
      lending: t.lendings[at(t.lending)] ?? "none",
      offerAgeMs: 2100,
      horizonMs: 1_920_000,
      cores: uses,
      memoryBytes: {
        total: at(t.memoryMib) * mib,
        allocated: at(t.memoryAllocatedMib) * mib,
        usedByJobs: at(t.memoryAllocatedMib) * mib * 0.6,
        lent: at(t.memoryLentMib) * mib,
        spare: at(t.memorySpareMib) * mib,
      },
      leases,
      reclaims: this.#options.empty
        ? []
        : Array.from({ length: 12 }, (_, row) => ({ ...this.reclaimRow(row * 9 + index), node: name })),
      receipts: this.#options.empty
        ? []
        : Array.from({ length: 6 }, (_, row) => ({
            jobId: 4_417_000 + row * 13,
            fromMs: Date.now() - (row + 2) * 2 * hourMs,
            toMs: Date.now() - (row + 1) * 2 * hourMs,
            guests: 1 + (row % 3),
            coreSeconds: 18_200 + row * 977,
            actions: row % 2,
          })),
    };
  }
}
