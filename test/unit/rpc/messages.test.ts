/**
 * messages.ts against the .proto files. Each sample below names every field of its type (the compiler insists)
 * with a value that is not the default; each .proto field must be in the sample (the test insists).
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { loadSync } from "@grpc/proto-loader";
import type {
  CapacityClassName,
  ConsentName,
  DurabilityName,
  HookEventName,
  LeaseKindName,
  LeaseStateName,
  LendingName,
  MessageName,
  Messages,
  ReasonName,
  ReclaimModeName,
  UsageGroupName,
} from "../../../src/rpc/messages.ts";
import { decodeMessage, encodeMessage } from "../../../src/rpc/schema.ts";

const spare: Messages["Spare"] = { class: "CAPACITY_CLASS_IDLE", cores: [1, 8191], memoryBytes: 2 ** 40 };
const spell: Messages["Spell"] = {
  class: "CAPACITY_CLASS_UNALLOCATED",
  ageMs: 5,
  begunSeen: true,
  arrivals: 9,
};
const offer: Messages["Offer"] = {
  node: "n1",
  revision: 7,
  epochUnixMs: 1_700_000_000_000,
  address: "10.77.0.11:7701",
  spare: [spare],
  horizonMs: 3,
  coresTotal: 2,
  memoryBytesTotal: 5,
  coresUsedByJobs: 1,
  memoryBytesUsedByJobs: 6,
  lending: "LENDING_DRAINED",
  shadowSpare: [spare],
  spell,
};
const horizonTable: Messages["HorizonTable"] = { class: "CAPACITY_CLASS_IDLE", arrivalsPerHour: [0.5, 12] };
const horizon: Messages["HorizonModel"] = { tables: [horizonTable], confidence: 0.8, ageEdgesMs: [15_000] };
const owner: Messages["Principal"] = { uid: 20001, gid: 20002, jobId: 42, node: "n2" };
const request: Messages["LeaseRequest"] = {
  kind: "LEASE_KIND_REGION",
  cores: 2,
  memoryBytes: 2 ** 45,
  termMs: 60_000,
  excludeNodes: ["n3"],
  node: "n1",
  minCores: 1,
  durability: "DURABILITY_EVACUATED",
};
const endpoint: Messages["Endpoint"] = {
  node: "n1",
  unixPath: "/run/sublet/x/l.sock",
  tcpAddress: "10.77.0.11:40001",
  token: Buffer.from("secret"),
};
const lease: Messages["Lease"] = {
  id: "l-1",
  kind: "LEASE_KIND_FUNCTION",
  state: "LEASE_STATE_ACTIVE",
  reason: "REASON_BATCH_JOB",
  node: "n1",
  cores: [1],
  memoryBytes: 9,
  class: "CAPACITY_CLASS_UNALLOCATED",
  owner,
  grantedUnixMs: 10,
  termMs: 11,
  remainingMs: 12,
  invocations: 13,
  durability: "DURABILITY_MIRRORED",
  account: "physics",
  partition: "main",
};
const findings = { cgroup: "v1", "kernel.osrelease": "6.1" };
const byCaller = { caller: owner };
const oneLease = { lease };
const leaseOnNode = { leaseId: "l-1", node: "n1" };

const outcome: Messages["NodeOutcome"] = {
  node: "n1",
  code: 14,
  message: "no agent",
  leasesEnded: 1,
  leasesLeft: 2,
  drainingLeaseIds: ["l-1"],
  lending: "LENDING_DRAINED",
};
const selection: Messages["Selection"] = {
  nodes: ["n[1-2]"],
  partitions: ["main"],
  all: true,
  leaseIds: ["l-1"],
};
const taking = { mode: "RECLAIM_MODE_GRACEFUL", budgetMs: 5, reason: "disk" } as const;
const jobFact: Messages["JobFact"] = {
  jobId: 7,
  uid: 5000,
  partition: "main",
  account: "physics",
  qos: "long",
  exclusive: true,
};
const pressure: Messages["Pressure"] = {
  durationMs: 1,
  cpuUs: 2,
  memoryUs: 3,
  ioUs: 4,
  watchedMs: 5,
  memoryWatchedMs: 6,
};
const receiptGuest: Messages["ReceiptGuest"] = {
  leaseId: "l-1",
  uid: 20001,
  kind: "LEASE_KIND_FUNCTION",
  class: "CAPACITY_CLASS_SHARED",
  coreSeconds: 1.5,
  byteSeconds: 2 ** 60,
  leases: 1,
};
const receiptAction: Messages["ReceiptAction"] = { action: "freeze", count: 3 };
const receipt: Messages["Receipt"] = {
  jobId: 7,
  node: "n1",
  uid: 5000,
  fromUnixMs: 1_700_000_000_000,
  toUnixMs: 1_700_000_001_000,
  ended: true,
  consent: "CONSENT_SHARE",
  guests: [receiptGuest],
  actions: [receiptAction],
  alone: pressure,
  beside: pressure,
  pressureOf: "tasks",
};
const usage: Messages["UsageRecord"] = {
  leaseId: "l-1",
  slice: 3,
  node: "n1",
  uid: 20001,
  account: "physics",
  jobId: 7,
  partition: "main",
  class: "CAPACITY_CLASS_IDLE",
  kind: "LEASE_KIND_REGION",
  cores: 2,
  memoryBytes: 2 ** 40,
  coreSeconds: 1.5,
  byteSeconds: 2 ** 60,
  invocations: 9,
  state: "LEASE_STATE_EXPIRED",
  reason: "REASON_QUOTA",
  beginUnixMs: 1_700_000_000_000,
  endUnixMs: 1_700_000_001_000,
};
const exhausted: Messages["QuotaExhausted"] = {
  account: "physics",
  limitCoreSeconds: 1.5,
  usedCoreSeconds: 2.5,
  resetsInMs: 3,
  timeZone: "Europe/Zurich",
};
const reclaimRecord: Messages["ReclaimRecord"] = {
  atUnixMs: 1_700_000_000_000,
  durationUs: 900,
  leases: 2,
  cause: "prolog",
};
const counters: Messages["NodeCounters"] = {
  invocations: 1,
  throttle: 2,
  freeze: 3,
  shrink: 4,
  evict: 5,
  outcomes: [9, 0, 10],
  jobWatchedMs: 6,
  jobCoreMs: 7,
  jobWaitedMs: 8,
  jobMemoryCoreMs: 9,
  jobMemoryWaitedMs: 10,
};
const gainHours: Messages["GainHours"] = {
  total: 1.5,
  slurmAlone: 2.5,
  lent: 3.5,
  beyondPacking: 4.5,
  perfectPacking: 5.5,
};
const waitingSide: Messages["WaitingSide"] = { waitedPercent: 0.5, nodes: 1.5, jobCoreHours: 2.5 };
const waitingComparison: Messages["WaitingComparison"] = {
  lending: waitingSide,
  heldOut: { ...waitingSide, waitedPercent: 0.25 },
  differencePercent: 0.25,
  lowPercent: -0.5,
  highPercent: 1,
};
const gainCost: Messages["GainCost"] = {
  guardActions: 1,
  leasesReclaimed: 2,
  cpuPressurePercent: 0.5,
  memoryPressurePercent: -0.5,
  holdOutDifferencePercent: 1.5,
  receipts: 3,
  holdOutCpu: waitingComparison,
  holdOutMemory: waitingComparison,
};
const reclaimTimes: Messages["ReclaimTimes"] = { count: 4, p50Us: 1_500, p99Us: 20_000, maxUs: 21_000 };
const columns: Messages["NodeColumns"] = {
  nodes: ["n0"],
  slurmState: [2],
  states: ["n2"],
  partitions: [4],
  partitionLists: ["n4"],
  slurmCores: [6],
  slurmAllocCores: [7],
  slurmMemoryBytes: [8],
  slurmAllocMemoryBytes: [9],
  lending: [10],
  offerAgeMs: [11],
  horizonMs: [12],
  idleCores: [13],
  unallocatedCores: [14],
  sharedCores: [15],
  spareMemoryBytes: [16],
  leases: [17],
  leasedCores: [18],
  leasedMemoryBytes: [19],
};
const usageRow: Messages["UsageRow"] = {
  day: "2026-11-25",
  uid: 20001,
  user: "alice",
  account: "physics",
  leases: 4,
  coreSeconds: 1.5,
  byteSeconds: 2 ** 60,
  invocations: 9,
};
const accountQuota: Messages["AccountQuota"] = {
  account: "physics",
  limitCoreSeconds: 1.5,
  usedCoreSeconds: 2.5,
};

const samples: {
  readonly [N in Exclude<MessageName, "LocalRequest" | "LocalResponse">]: Required<Messages[N]>;
} = {
  Spare: spare,
  Spell: spell,
  Offer: offer,
  HorizonTable: horizonTable,
  HorizonModel: horizon,
  Principal: owner,
  LeaseRequest: request,
  Endpoint: endpoint,
  Lease: lease,
  Refusal: { reason: "REASON_NO_CORES", node: "n1", message: "full", retryAfterMs: 5 },
  JobFact: jobFact,
  Pressure: pressure,
  ReceiptGuest: receiptGuest,
  ReceiptAction: receiptAction,
  Receipt: receipt,
  UsageRecord: usage,
  QuotaExhausted: exhausted,
  ReportRequest: {
    offer,
    leases: [lease],
    full: true,
    receipts: [receipt],
    usage: [usage],
    reclaims: [reclaimRecord],
    counters,
  },
  ReportResponse: {
    ackedRevision: 1,
    resendFull: true,
    endedLeases: [lease],
    horizon,
    drainingLeases: [lease],
    openMs: 60_000,
    jobFacts: { jobs: [jobFact] },
    ackedUsage: ["l-1/3"],
    quota: { exhausted: [exhausted] },
  },
  RequestLeaseRequest: { request, owner, ahead: true },
  RequestLeaseResponse: { lease, endpoint, refusals: 2, ahead: true },
  RenewLeaseRequest: { ...leaseOnNode, ...byCaller },
  RenewLeaseResponse: oneLease,
  ReleaseLeaseRequest: { ...leaseOnNode, ...byCaller },
  ReleaseLeaseResponse: oneLease,
  ControllerServiceListLeasesRequest: byCaller,
  ControllerServiceListLeasesResponse: { leases: [lease, lease] },
  ListNodesRequest: { columns: true },
  NodeStatus: {
    node: "n1",
    slurmState: "mixed",
    slurmCores: 1,
    slurmAllocCores: 2,
    slurmMemoryBytes: 3,
    slurmAllocMemoryBytes: 4,
    offer,
    offerAgeMs: 5,
    leases: 6,
    leasedCores: 7,
    leasedMemoryBytes: 8,
    partitions: ["main"],
  },
  ListNodesResponse: { nodes: [], snapshotAgeMs: 1, snapshotValid: true, columns },
  NodeColumns: columns,
  JobFacts: { jobs: [jobFact] },
  ListReceiptsRequest: { jobId: 7, ...byCaller },
  ListReceiptsResponse: { receipts: [receipt] },
  Quotas: { exhausted: [exhausted] },
  ReclaimRecord: reclaimRecord,
  NodeCounters: counters,
  GetGainRequest: { fromUnixMs: 1, toUnixMs: 2 },
  GainHours: gainHours,
  WaitingSide: waitingSide,
  WaitingComparison: waitingComparison,
  GainCost: gainCost,
  GetGainResponse: {
    fromUnixMs: 1,
    toUnixMs: 2,
    covered: 0.5,
    coreHours: gainHours,
    gibHours: gainHours,
    money: 7.5,
    currency: "EUR",
    cost: gainCost,
    reclaims: reclaimTimes,
  },
  ReclaimTimes: reclaimTimes,
  GetUsageRequest: {
    from: "7d",
    to: "2026-11-25",
    groupBy: ["USAGE_GROUP_DAY", "USAGE_GROUP_USER"],
    account: "physics",
    user: "alice",
    ...byCaller,
  },
  UsageRow: usageRow,
  AccountQuota: accountQuota,
  GetUsageResponse: {
    rows: [usageRow],
    fromDay: "2026-11-19",
    toDay: "2026-11-25",
    timeZone: "UTC",
    quotas: [accountQuota],
    quotaResetsInMs: 5,
    allUsers: true,
    truncated: true,
  },
  GrantRequest: { leaseId: "l-1", request, owner, account: "physics", partition: "main", ahead: true },
  GrantResponse: { lease, endpoint, ahead: true },
  RenewRequest: { leaseId: "l-1", ...byCaller },
  RenewResponse: oneLease,
  ReleaseRequest: { leaseId: "l-1", ...byCaller },
  ReleaseResponse: oneLease,
  ListLeasesRequest: byCaller,
  ListLeasesResponse: { leases: [lease] },
  GetNodeRequest: {},
  GetNodeResponse: { offer, findings },
  GetHealthRequest: {},
  GetHealthResponse: { version: "1.2.3", unixMs: 1_700_000_000_001, findings, problems: ["drained"] },
  LocalLease: { request, jobId: 3 },
  LocalRenew: leaseOnNode,
  LocalRelease: leaseOnNode,
  LocalList: {},
  LocalStatus: {},
  LocalJob: { jobId: 7 },
  LocalReceipts: { receipts: [receipt], leftOut: 1 },
  LocalHook: {
    event: "HOOK_EVENT_STEP",
    jobId: 4,
    uid: 5,
    consent: "CONSENT_NO",
    cores: [3, 8191],
    memoryBytes: 2 ** 40,
    partition: "main",
    account: "physics",
    qos: "long",
    stepId: 6,
  },
  LocalLeased: { lease, endpoint },
  LocalLeases: { leases: [lease] },
  LocalHookDone: { leasesEnded: 1, tookUs: 2 },
  LocalStatusReport: { offer, findings, controllerConnected: true },
  LocalRevoked: { leaseId: "l-1", state: "LEASE_STATE_REVOKED", reason: "REASON_BATCH_JOB" },
  LocalDrain: taking,
  LocalResume: {},
  LocalReclaim: { ...taking, leaseIds: ["l-1"] },
  NodeOutcome: outcome,
  Selection: selection,
  ControllerServiceDrainRequest: { selection, ...taking, ...byCaller },
  ControllerServiceDrainResponse: { outcomes: [outcome] },
  ControllerServiceResumeRequest: { selection, ...byCaller },
  ControllerServiceResumeResponse: { outcomes: [outcome] },
  ControllerServiceReclaimRequest: { selection, ...taking, ...byCaller },
  ControllerServiceReclaimResponse: { outcomes: [outcome] },
  DrainRequest: { ...taking, ...byCaller },
  DrainResponse: { outcome },
  ResumeRequest: byCaller,
  ResumeResponse: { outcome },
  ReclaimRequest: { ...taking, ...byCaller, leaseIds: ["l-1"] },
  ReclaimResponse: { outcome },
  LocalDraining: { leaseId: "l-1", remainingMs: 1000, reason: "REASON_ADMIN" },
};

const requests: readonly Messages["LocalRequest"][] = [
  { id: 1, body: "lease", lease: samples.LocalLease },
  { id: 2, body: "renew", renew: samples.LocalRenew },
  { id: 3, body: "release", release: samples.LocalRelease },
  { id: 4, body: "list", list: {} },
  { id: 5, body: "hook", hook: samples.LocalHook },
  { id: 6, body: "status", status: {} },
  { id: 7, body: "drain", drain: taking },
  { id: 8, body: "resume", resume: {} },
  { id: 9, body: "reclaim", reclaim: samples.LocalReclaim },
  { id: 11, body: "job", job: samples.LocalJob },
];
const answered = { id: 1, code: 8, message: "no" };
const responses: readonly Messages["LocalResponse"][] = [
  { ...answered, body: "leased", leased: samples.LocalLeased },
  { ...answered, body: "lease", lease },
  { ...answered, body: "leases", leases: samples.LocalLeases },
  { ...answered, body: "hookDone", hookDone: samples.LocalHookDone },
  { ...answered, body: "status", status: samples.LocalStatusReport },
  { ...answered, body: "revoked", revoked: samples.LocalRevoked },
  { ...answered, body: "receipts", receipts: samples.LocalReceipts },
  { ...answered, body: "draining", draining: samples.LocalDraining },
  { ...answered, body: "outcome", outcome },
];

const enums = {
  CapacityClass: {
    CAPACITY_CLASS_UNSPECIFIED: 0,
    CAPACITY_CLASS_IDLE: 1,
    CAPACITY_CLASS_UNALLOCATED: 2,
    CAPACITY_CLASS_SHARED: 3,
  } satisfies Record<CapacityClassName, number>,
  LeaseKind: {
    LEASE_KIND_UNSPECIFIED: 0,
    LEASE_KIND_FUNCTION: 1,
    LEASE_KIND_REGION: 2,
  } satisfies Record<LeaseKindName, number>,
  LeaseState: {
    LEASE_STATE_UNSPECIFIED: 0,
    LEASE_STATE_REQUESTED: 1,
    LEASE_STATE_GRANTED: 2,
    LEASE_STATE_ACTIVE: 3,
    LEASE_STATE_DRAINING: 4,
    LEASE_STATE_RELEASED: 5,
    LEASE_STATE_EXPIRED: 6,
    LEASE_STATE_REVOKED: 7,
  } satisfies Record<LeaseStateName, number>,
  Reason: {
    REASON_UNSPECIFIED: 0,
    REASON_RELEASED: 1,
    REASON_TERM_ENDED: 2,
    REASON_BATCH_JOB: 3,
    REASON_ADMIN: 4,
    REASON_EXECUTOR_LOST: 5,
    REASON_AGENT_RESTART: 6,
    REASON_NO_CORES: 7,
    REASON_NO_MEMORY: 8,
    REASON_CLOSED: 9,
    REASON_START_FAILED: 10,
    REASON_GUARD: 11,
    REASON_QUOTA: 12,
  } satisfies Record<ReasonName, number>,
  Consent: {
    CONSENT_UNSPECIFIED: 0,
    CONSENT_SHARE: 1,
    CONSENT_NO: 2,
  } satisfies Record<ConsentName, number>,
  Durability: {
    DURABILITY_UNSPECIFIED: 0,
    DURABILITY_EPHEMERAL: 1,
    DURABILITY_EVACUATED: 2,
    DURABILITY_MIRRORED: 3,
  } satisfies Record<DurabilityName, number>,
  Lending: {
    LENDING_UNSPECIFIED: 0,
    LENDING_ON: 1,
    LENDING_SHADOW: 2,
    LENDING_HOLD_OUT: 3,
    LENDING_DRAINED: 4,
  } satisfies Record<LendingName, number>,
  UsageGroup: {
    USAGE_GROUP_UNSPECIFIED: 0,
    USAGE_GROUP_USER: 1,
    USAGE_GROUP_ACCOUNT: 2,
    USAGE_GROUP_DAY: 3,
  } satisfies Record<UsageGroupName, number>,
  ReclaimMode: {
    RECLAIM_MODE_UNSPECIFIED: 0,
    RECLAIM_MODE_IMMEDIATE: 1,
    RECLAIM_MODE_GRACEFUL: 2,
  } satisfies Record<ReclaimModeName, number>,
  HookEvent: {
    HOOK_EVENT_UNSPECIFIED: 0,
    HOOK_EVENT_PROLOG: 1,
    HOOK_EVENT_EPILOG: 2,
    HOOK_EVENT_STEP: 3,
  } satisfies Record<HookEventName, number>,
};

interface Descriptor {
  readonly name: string;
  readonly field?: readonly { readonly name: string }[];
  readonly nestedType?: readonly Descriptor[];
  readonly value?: readonly { readonly name: string; readonly number: number }[];
}

const definitions = loadSync(
  ["types", "controller", "node", "local"].map((name) => `sublet/v1/${name}.proto`),
  { includeDirs: [fileURLToPath(new URL("../../../proto", import.meta.url))] },
);
const described = Object.values(definitions)
  .filter((definition) => "format" in definition)
  .map((definition) => definition as unknown as { format: string; type: Descriptor });
const messages = described
  .filter(({ format }) => format.includes(" DescriptorProto"))
  .map(({ type }) => type);
const enumTypes = described
  .filter(({ format }) => format.includes("EnumDescriptorProto"))
  .map(({ type }) => type);

const camelCase = (name: string): string =>
  name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
const fieldsOf = (type: Descriptor): string[] => (type.field ?? []).map(({ name }) => camelCase(name)).sort();

describe("messages.ts and the .proto files", () => {
  it("know the same messages", () => {
    const known = [...Object.keys(samples), "LocalRequest", "LocalResponse"].sort();
    assert.deepEqual(messages.map(({ name }) => name).sort(), known);
  });
  for (const [name, sample] of Object.entries(samples)) {
    it(`${name}: same fields, and a round trip changes nothing`, () => {
      const type = messages.find((message) => message.name === name);
      assert.ok(type);
      assert.deepEqual(fieldsOf(type), Object.keys(sample).sort());
      const message = sample as Messages["Offer"];
      assert.deepEqual(
        { ...decodeMessage(name as "Offer", encodeMessage(name as "Offer", message)) },
        sample,
      );
    });
  }
  it("LocalRequest and LocalResponse: same bodies", () => {
    for (const [name, bodies, fixed] of [
      ["LocalRequest", requests, ["id"]],
      ["LocalResponse", responses, ["id", "code", "message"]],
    ] as const) {
      const type = messages.find((message) => message.name === name);
      assert.ok(type);
      assert.deepEqual(fieldsOf(type), [...fixed, ...bodies.map(({ body }) => String(body))].sort());
      for (const body of bodies)
        assert.deepEqual({ ...decodeMessage(name, encodeMessage(name, body)) }, body);
    }
  });
  it("know the same enums", () => {
    const found = Object.fromEntries(
      enumTypes.map((type) => [
        type.name,
        Object.fromEntries((type.value ?? []).map(({ name, number }) => [name, number])),
      ]),
    );
    assert.deepEqual(found, enums);
  });
});

describe("decoding", () => {
  it("fills defaults: zero, empty, null for messages, no body", () => {
    const empty = decodeMessage("ReportRequest", Buffer.alloc(0));
    assert.deepEqual(
      { ...empty },
      {
        offer: null,
        leases: [],
        full: false,
        receipts: [],
        usage: [],
        reclaims: [],
        counters: null,
      },
    );
    assert.deepEqual({ ...decodeMessage("LocalResponse", Buffer.alloc(0)) }, { id: 0, code: 0, message: "" });
  });
  it("refuses bytes that are no message", () => {
    for (const text of ["ff", "10", "2a7f01"])
      assert.throws(() => decodeMessage("Offer", Buffer.from(text, "hex")), { code: "INVALID_ARGUMENT" });
  });
});
