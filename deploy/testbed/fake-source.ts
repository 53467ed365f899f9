/**
 * A cluster that is not there: nodes, jobs, leases and 30 days of history made up, by the interface that the controller feeds
 * the dashboard with. The same seed gives the same cluster. Nothing of it was measured, and its name says fake.
 */

import { SubletError } from "../../src/common/errors.ts";
import type {
  AccountRow,
  AdminOutcome,
  AdminRequest,
  LeaseRow,
  NodeDetail,
  ReclaimRow,
} from "../../src/dashboard/api.ts";
import { type GroupName, groups } from "../../src/dashboard/comparison.ts";
import type { HistoryStore } from "../../src/dashboard/history.ts";
import { type Gauges, gaugesOf } from "../../src/dashboard/shares.ts";
import {
  type Amounts,
  type ClusterFacts,
  type DashboardSource,
  type NodeFacts,
  type NodeLending,
  noTotals,
  type Person,
  type Totals,
} from "../../src/dashboard/source.ts";

const gib = 2 ** 30;
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const coresPerNode = 64;
const bytesPerNode = 256 * gib;

interface FakeLease extends LeaseRow {
  readonly endsMs: number;
  readonly coreIds: readonly number[];
}

interface FakeNode {
  readonly name: string;
  readonly partitions: readonly string[];
  down: boolean;
  lending: NodeLending;
  jobCores: number;
  /** Part of them that computes. */
  busy: number;
  leases: FakeLease[];
}

/** Mulberry32: small, and the same everywhere. */
export function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Told of what happens, as the controller tells the dashboard. */
export interface FakeListener {
  reclaimed(row: ReclaimRow): void;
  leaseEnded(row: LeaseRow): void;
}

export class FakeSource implements DashboardSource {
  readonly #random: () => number;
  readonly #nodes: FakeNode[] = [];
  readonly #totals: { -readonly [K in keyof Totals]: Totals[K] } = { ...noTotals };
  readonly #hear: FakeListener;
  #leases = 0;

  constructor(nodes: number, hear: FakeListener, seed = 1) {
    this.#hear = hear;
    this.#random = randomOf(seed);
    for (let index = 0; index < nodes; index++) {
      const gpu = index % 20 === 19;
      const node: FakeNode = {
        name: `${gpu ? "gpu" : "n"}${index + 1}`,
        partitions: gpu ? ["gpu"] : index % 3 === 0 ? ["normal", "debug"] : ["normal"],
        down: this.#random() < 0.01,
        lending: "on",
        jobCores: 0,
        busy: 0.6 + 0.4 * this.#random(),
        leases: [],
      };
      const draw = this.#random();
      if (node.down) node.lending = "none";
      else if (draw < 0.02) node.lending = "drained";
      else if (draw < 0.05) node.lending = "hold-out";
      else if (draw < 0.06) node.lending = "shadow";
      this.#nodes.push(node);
      this.#newJob(node);
      if (this.#random() < 0.4) this.#grant(node);
    }
    const order = new Intl.Collator("en", { numeric: true });
    this.#nodes.sort((a, b) => order.compare(a.name, b.name));
  }

  #any(): FakeNode {
    const node = this.#nodes[Math.floor(this.#random() * this.#nodes.length)];
    if (node === undefined) throw new Error("a cluster has a node at least");
    return node;
  }

  #newJob(node: FakeNode): void {
    const draw = this.#random();
    if (node.down) node.jobCores = 0;
    else
      node.jobCores = draw < 0.2 ? 0 : draw < 0.6 ? coresPerNode : Math.ceil(coresPerNode * this.#random());
  }

  #grant(node: FakeNode): void {
    if (node.lending !== "on") return;
    const held = node.jobCores + node.leases.reduce((sum, { cores }) => sum + cores, 0);
    const shared = node.jobCores === coresPerNode;
    const room = shared
      ? Math.floor(node.jobCores * (1 - node.busy)) - node.leases.length * 4
      : coresPerNode - held;
    const cores = Math.min(room, 1 + Math.floor(this.#random() * 16));
    if (cores < 1) return;
    const id = `fake${(++this.#leases).toString(36).padStart(8, "0")}`;
    const first = shared ? coresPerNode - 4 * node.leases.length - cores : held;
    const now = Date.now();
    const user = Math.floor(this.#random() * 40);
    node.leases.push({
      id,
      kind: this.#random() < 0.85 ? "function" : "region",
      state: "active",
      reason: "",
      node: node.name,
      class: shared ? "shared" : node.jobCores === 0 ? "idle" : "unallocated",
      cores,
      memoryBytes: cores * 2 * gib,
      uid: 1000 + user,
      user: `user${user}`,
      account: `project${user % 7}`,
      jobId: 4_000_000 + this.#leases,
      fromNode: this.#any().name,
      grantedAtMs: now,
      remainingMs: 60_000,
      invocations: Math.floor(this.#random() * 100),
      endsMs: now + 20_000 + this.#random() * 600_000,
      coreIds: Array.from({ length: cores }, (_, at) => Math.max(0, first) + at),
    });
  }

  /** Some of a day that has passed, for the pages of reclaims. */
  pastReclaims(count: number): void {
    for (let index = count; index > 0; index--) this.#reclaim(this.#any(), Date.now() - index * 220_000);
  }

  #reclaim(node: FakeNode, atMs: number): void {
    const leases = Math.max(1, node.leases.length);
    const durationMs = Math.round(8 * Math.exp(2.2 * (this.#random() + this.#random() - 1)) * 10) / 10;
    const cause = this.#random() < 0.8 ? "prolog" : this.#random() < 0.6 ? "step" : "admin";
    this.#totals.reclaims++;
    this.#totals.leasesReclaimed += leases;
    this.#hear.reclaimed({ atMs, node: node.name, durationMs, leases, cause });
  }

  /** A second passes: this part of the nodes changes. */
  step(part: number): void {
    const now = Date.now();
    for (let count = Math.ceil(this.#nodes.length * part); count > 0; count--) {
      const node = this.#any();
      const draw = this.#random();
      if (draw < 0.25) {
        if (node.leases.length > 0 && node.lending === "on") this.#reclaim(node, now);
        this.#end(node, () => true);
        this.#newJob(node);
      } else if (draw < 0.65) this.#grant(node);
      else if (draw < 0.9) this.#end(node, ({ endsMs }) => endsMs <= now);
      else if (draw < 0.97) node.busy = 0.6 + 0.4 * this.#random();
      else if (draw < 0.99) this.#totals.throttle++;
      else this.#totals.freeze++;
    }
    this.#totals.invocations += Math.round(this.#nodes.length * (1.5 + this.#random()));
  }

  #end(node: FakeNode, which: (lease: FakeLease) => boolean): void {
    for (const lease of node.leases)
      if (which(lease)) this.#hear.leaseEnded({ ...rowOf(lease), state: "revoked" });
    node.leases = node.leases.filter((lease) => !which(lease));
  }

  #told(node: FakeNode): { cores: Amounts; memoryBytes: Amounts } {
    const lent = node.leases.reduce((sum, { cores }) => sum + cores, 0);
    const shared = node.leases.reduce((sum, row) => sum + (row.class === "shared" ? row.cores : 0), 0);
    const lends = node.lending === "on";
    const free = Math.max(0, coresPerNode - node.jobCores - (lent - shared));
    const used = Math.min(node.jobCores, Math.ceil(node.jobCores * node.busy));
    const spare = lends ? Math.max(0, free - 2) : 0;
    const scaled = (cores: number): number => Math.round((cores / coresPerNode) * bytesPerNode * 0.9);
    const cores = {
      total: coresPerNode,
      allocated: node.jobCores,
      used,
      lent,
      lentShared: shared,
      spare,
      spareShared: 0,
    };
    const memoryBytes = {
      total: bytesPerNode,
      allocated: scaled(node.jobCores),
      used: Math.round(scaled(used) * 0.7),
      lent: node.leases.reduce((sum, row) => sum + row.memoryBytes, 0),
      lentShared: node.leases.reduce((sum, row) => sum + (row.class === "shared" ? row.memoryBytes : 0), 0),
      spare: scaled(spare),
      spareShared: 0,
    };
    return { cores, memoryBytes };
  }

  #state({ down, jobCores, lending }: FakeNode): string {
    if (down) return "down";
    if (lending === "drained") return "draining";
    return jobCores === 0 ? "idle" : jobCores === coresPerNode ? "allocated" : "mixed";
  }

  facts(): ClusterFacts {
    const leases = { functions: 0, regions: 0, draining: 0 };
    for (const node of this.#nodes)
      for (const { kind } of node.leases) leases[kind === "function" ? "functions" : "regions"]++;
    return {
      nodes: this.#nodes.map((node) => this.#facts(node)),
      leases,
      totals: { ...this.#totals },
      snapshot: { valid: true, ageMs: Date.now() % 10_000 },
      notices: [{ level: "info", text: "This cluster is a fake: all its figures are made up.", doc: "" }],
    };
  }

  #facts(node: FakeNode): NodeFacts {
    const { name, partitions, lending, leases, down } = node;
    return {
      name,
      slurmState: this.#state(node),
      partitions,
      lending,
      reporting: !down,
      usable: !down && lending !== "drained",
      ...this.#told(node),
      leases: leases.length,
    };
  }

  leases(): LeaseRow[] {
    return this.#nodes
      .flatMap(({ leases }) => leases.map(rowOf))
      .sort((a, b) => b.grantedAtMs - a.grantedAtMs);
  }

  node(name: string): Omit<NodeDetail, "reclaims"> | undefined {
    const node = this.#nodes.find((each) => each.name === name);
    if (node === undefined) return undefined;
    const { cores, memoryBytes } = this.#told(node);
    const guests = new Map(
      node.leases.flatMap(({ id, coreIds }) => coreIds.map((core) => [core, id] as const)),
    );
    return {
      atMs: Date.now(),
      node: name,
      slurmState: this.#state(node),
      partitions: [...node.partitions],
      lending: node.lending,
      offerAgeMs: node.down ? null : 400,
      horizonMs: node.down ? null : 240_000,
      cores: Array.from({ length: coresPerNode }, (_, id) => {
        const leaseId = guests.get(id);
        if (leaseId !== undefined) return { id, use: "guest" as const, leaseId };
        if (id < node.jobCores) return { id, use: "job" as const };
        return {
          id,
          use: id >= coresPerNode - 2 ? ("reserved" as const) : cores.spare > 0 ? "spare" : "unknown",
        };
      }),
      memoryBytes: {
        total: memoryBytes.total,
        allocated: memoryBytes.allocated,
        usedByJobs: memoryBytes.used,
        lent: memoryBytes.lent,
        spare: memoryBytes.spare,
      },
      leases: node.leases.map(rowOf),
      receipts: [],
    };
  }

  accounts(): Promise<AccountRow[]> {
    const rows = Array.from({ length: 7 }, (_, index) => ({
      account: `project${index}`,
      user: `user${index}`,
      leases: 120 * (index + 1),
      coreSeconds: 90_000 * (index + 1),
      byteSeconds: 180_000 * (index + 1) * gib,
      invocations: 5_000 * (index + 1),
      quotaCoreSeconds: index === 3 ? 300_000 : null,
      usedTodayCoreSeconds: 30_000 * (index + 1),
    }));
    return Promise.resolve(rows);
  }

  /** "MUNGE:root:" is root, all else an ordinary user: there is no MUNGE in a fake. */
  identify(credential: string): Promise<Person> {
    const admin = credential === "MUNGE:root:";
    const uid = admin ? 0 : 1000;
    return Promise.resolve({ uid, gid: uid, user: admin ? "root" : "user0", admin });
  }

  administer(verb: "drain" | "resume" | "reclaim", request: AdminRequest): Promise<AdminOutcome[]> {
    const { nodes = [], partitions = [], leaseIds = [], all = false } = request;
    const wanted = this.#nodes.filter(
      (node) =>
        all ||
        nodes.includes(node.name) ||
        node.partitions.some((name) => partitions.includes(name)) ||
        node.leases.some(({ id }) => leaseIds.includes(id)),
    );
    if (wanted.length === 0)
      return Promise.reject(new SubletError("INVALID_ARGUMENT", "nothing is selected"));
    return Promise.resolve(
      wanted.map((node) => {
        const before = node.leases.length;
        if (verb === "drain" && !node.down) node.lending = "drained";
        if (verb === "resume" && !node.down) node.lending = "on";
        if (verb !== "resume") this.#end(node, ({ id }) => leaseIds.length === 0 || leaseIds.includes(id));
        const left = node.leases.length;
        return node.down
          ? { node: node.name, ok: false, message: "no agent reports from it", leasesEnded: 0, leasesLeft: 0 }
          : { node: node.name, ok: true, message: "", leasesEnded: before - left, leasesLeft: left };
      }),
    );
  }
}

function rowOf({ endsMs, coreIds: _, ...row }: FakeLease): LeaseRow {
  return { ...row, remainingMs: Math.max(0, Math.min(60_000, endsMs - Date.now())) };
}

function moved(now: Gauges, part: number): Gauges {
  const lent = Math.min(now.spare, now.lent * part);
  return { ...now, lent: now.lent + lent, spare: now.spare - lent };
}

/** 30 days until now, as the cluster is now, with days, nights and one evening without a controller. */
export function fillHistory(history: HistoryStore, source: FakeSource, nowMs: number, seed = 2): void {
  const random = randomOf(seed);
  const { nodes } = source.facts();
  const cores = gaugesOf(nodes, (node) => node.cores);
  const memory = gaugesOf(nodes, (node) => node.memoryBytes);
  const totals: { -readonly [K in keyof Totals]: Totals[K] } = { ...noTotals };
  const stepMs = 30_000;
  const add = (name: GroupName, more: number): void => {
    totals[name] = (totals[name] ?? 0) + more;
  };
  // The monotonic clock of the process goes on from here.
  const offsetMs = performance.now() - nowMs;
  for (let atMs = nowMs - 30 * dayMs; atMs < nowMs; atMs += stepMs) {
    if (nowMs - atMs > 26 * hourMs && nowMs - atMs < 30 * hourMs) continue;
    const day = Math.sin((((atMs % dayMs) / hourMs - 8) / 24) * 2 * Math.PI);
    const part = 0.5 - 0.4 * day + 0.1 * random();
    totals.invocations += Math.round(30 * nodes.length * (1.6 + day + 0.2 * random()));
    if (random() < 0.3) totals.reclaims++;
    if (random() < 0.4) totals.leasesReclaimed += 2;
    if (random() < 0.02) totals.throttle++;
    totals.receipts++;
    totals.aloneMs += stepMs;
    totals.aloneCpuUs += stepMs * (20 + random());
    totals.besideMs += stepMs;
    totals.besideCpuUs += stepMs * (20.5 + random());
    totals.lendingNodeMs += stepMs * nodes.length * 0.9;
    totals.holdOutNodeMs += stepMs * nodes.length * 0.05;
    for (const [side, share] of [
      ["lending", 0.0203],
      ["holdOut", 0.02],
    ] as const)
      for (let group = 0; group < groups; group++) {
        const coreMs = (stepMs * cores.allocated * (side === "lending" ? 0.9 : 0.05)) / groups;
        add(`${side}.cpu.coreMs.${group}`, coreMs);
        add(`${side}.cpu.waitedMs.${group}`, coreMs * share * (0.9 + 0.01 * group + 0.1 * random()));
        add(`${side}.memory.coreMs.${group}`, coreMs);
        add(`${side}.memory.waitedMs.${group}`, coreMs * 0.0004 * random());
      }
    history.add(
      { cores: moved(cores, part), memory: moved(memory, part), totals: { ...totals } },
      atMs,
      atMs + offsetMs,
    );
  }
}
