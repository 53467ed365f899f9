/** Nouns of src/common to wire names and back. What the wire says and we do not know is an error, never a default. */
import { SubletError } from "../common/errors.ts";
import type {
  CapacityClass,
  Consent,
  Durability,
  EndReason,
  JobFacts,
  Lease,
  LeaseKind,
  LeaseRequest,
  LeaseState,
  Principal,
  RefusalReason,
  Spare,
  UsageRecord,
} from "../common/nouns.ts";
import type {
  CapacityClassName,
  ConsentName,
  DurabilityName,
  LeaseKindName,
  LeaseMessage,
  LeaseRequestMessage,
  LeaseStateName,
  LocalHook,
  PrincipalMessage,
  ReasonName,
  SpareMessage,
  UsageRecordMessage,
} from "./messages.ts";

type ReasonNoun = EndReason | RefusalReason;

const reasons: Readonly<Record<ReasonNoun, ReasonName>> = {
  released: "REASON_RELEASED",
  term_ended: "REASON_TERM_ENDED",
  batch_job: "REASON_BATCH_JOB",
  admin: "REASON_ADMIN",
  executor_lost: "REASON_EXECUTOR_LOST",
  agent_restart: "REASON_AGENT_RESTART",
  start_failed: "REASON_START_FAILED",
  guard: "REASON_GUARD",
  no_cores: "REASON_NO_CORES",
  no_memory: "REASON_NO_MEMORY",
  closed: "REASON_CLOSED",
  quota: "REASON_QUOTA",
};
const classes: Readonly<Record<CapacityClass, CapacityClassName>> = {
  idle: "CAPACITY_CLASS_IDLE",
  unallocated: "CAPACITY_CLASS_UNALLOCATED",
  shared: "CAPACITY_CLASS_SHARED",
};
const kinds: Readonly<Record<LeaseKind, LeaseKindName>> = {
  function: "LEASE_KIND_FUNCTION",
  region: "LEASE_KIND_REGION",
};

const durabilities: Readonly<Record<Durability, DurabilityName>> = {
  ephemeral: "DURABILITY_EPHEMERAL",
  evacuated: "DURABILITY_EVACUATED",
  mirrored: "DURABILITY_MIRRORED",
};

function nounOf<Noun extends string, Wire extends string>(
  table: Readonly<Record<Noun, Wire>>,
  wire: Wire,
): Noun | undefined {
  return (Object.keys(table) as Noun[]).find((noun) => table[noun] === wire);
}

function needNoun<Noun extends string, Wire extends string>(
  table: Readonly<Record<Noun, Wire>>,
  wire: Wire,
  what: string,
): Noun {
  const noun = nounOf(table, wire);
  if (noun === undefined) throw new SubletError("INVALID_ARGUMENT", `${what} ${wire} is not known here`);
  return noun;
}

export function isReasonNoun(text: string): text is ReasonNoun {
  return Object.hasOwn(reasons, text);
}

export function reasonToWire(reason: ReasonNoun | undefined): ReasonName {
  return reason === undefined ? "REASON_UNSPECIFIED" : reasons[reason];
}

export function reasonFromWire(reason: ReasonName): ReasonNoun | undefined {
  return nounOf(reasons, reason);
}

export function classToWire(name: CapacityClass): CapacityClassName {
  return classes[name];
}

export function classFromWire(name: CapacityClassName): CapacityClass {
  return needNoun(classes, name, "capacity class");
}

export function kindToWire(kind: LeaseKind): LeaseKindName {
  return kinds[kind];
}

export function kindFromWire(kind: LeaseKindName): LeaseKind {
  return needNoun(kinds, kind, "lease kind");
}

export function consentToWire(consent: Consent | undefined): ConsentName {
  if (consent === undefined) return "CONSENT_UNSPECIFIED";
  return consent === "share" ? "CONSENT_SHARE" : "CONSENT_NO";
}

/** What is said and not understood counts as a no. */
export function consentFromWire(consent: ConsentName): Consent | undefined {
  if (consent === "CONSENT_UNSPECIFIED") return undefined;
  return consent === "CONSENT_SHARE" ? "share" : "no";
}

export function jobFactsFromWire({ uid, consent, partition, account, qos }: LocalHook): JobFacts {
  return { uid, consent: consentFromWire(consent), partition, account, qos };
}

export function stateToWire(state: LeaseState): LeaseStateName {
  return `LEASE_STATE_${state}`;
}

const states: readonly LeaseState[] = [
  "REQUESTED",
  "GRANTED",
  "ACTIVE",
  "DRAINING",
  "RELEASED",
  "EXPIRED",
  "REVOKED",
];

export function stateFromWire(state: LeaseStateName): LeaseState {
  const noun = states.find((known) => `LEASE_STATE_${known}` === state);
  if (noun === undefined) throw new SubletError("INVALID_ARGUMENT", `lease state ${state} is not known here`);
  return noun;
}

export function spareToWire(spare: Spare): SpareMessage {
  return { class: classes[spare.class], cores: [...spare.cores], memoryBytes: spare.memoryBytes };
}

export function spareFromWire(spare: SpareMessage): Spare {
  return { class: classFromWire(spare.class), cores: spare.cores, memoryBytes: spare.memoryBytes };
}

export function principalToWire(principal: Principal): PrincipalMessage {
  return { uid: principal.uid, gid: principal.gid, jobId: principal.jobId, node: principal.node };
}

export function durabilityToWire(durability: Durability): DurabilityName {
  return durabilities[durability];
}

export function durabilityFromWire(durability: DurabilityName): Durability {
  if (durability === "DURABILITY_UNSPECIFIED") return "ephemeral";
  return needNoun(durabilities, durability, "durability");
}

/** The request as the lease book takes it; `min_cores` 0 means exactly `cores`, `term_ms` 0 the default given. */
export function leaseRequestFromWire(request: LeaseRequestMessage, defaultTermMs: number): LeaseRequest {
  return {
    kind: kindFromWire(request.kind),
    cores: request.cores,
    minCores: request.minCores === 0 ? request.cores : request.minCores,
    memoryBytes: request.memoryBytes,
    termMs: request.termMs === 0 ? defaultTermMs : request.termMs,
    durability: durabilityFromWire(request.durability),
  };
}

/** What the wire says about a lease beyond what the book knows. */
export interface LeaseFacts {
  readonly node: string;
  /** On the clock of lease.expiresAtMs. */
  readonly nowMs: number;
  readonly grantedUnixMs: number;
  readonly invocations: number;
}

export function leaseToWire(lease: Lease, facts: LeaseFacts): LeaseMessage {
  return {
    id: lease.id,
    kind: kinds[lease.kind],
    state: stateToWire(lease.state),
    reason: reasonToWire(lease.reason),
    node: facts.node,
    cores: [...lease.cores],
    memoryBytes: lease.memoryBytes,
    class: classes[lease.class],
    owner: principalToWire(lease.owner),
    grantedUnixMs: facts.grantedUnixMs,
    termMs: lease.termMs,
    remainingMs: Math.max(0, Math.round(lease.expiresAtMs - facts.nowMs)),
    invocations: facts.invocations,
    durability: durabilities[lease.durability ?? "ephemeral"],
    account: lease.billing?.account ?? "",
    partition: lease.billing?.partition ?? "",
  };
}

export function usageToWire(record: UsageRecord): UsageRecordMessage {
  return {
    ...record,
    class: classes[record.class],
    kind: kinds[record.kind],
    state: stateToWire(record.state),
    reason: reasonToWire(record.reason),
  };
}

/** The record as nouns. @throws SubletError INVALID_ARGUMENT for words that are not known here. */
export function usageFromWire(message: UsageRecordMessage): UsageRecord {
  const reason = reasonFromWire(message.reason);
  return {
    ...message,
    class: classFromWire(message.class),
    kind: kindFromWire(message.kind),
    state: stateFromWire(message.state),
    reason: reason === undefined || isRefusal(reason) ? undefined : reason,
  };
}

function isRefusal(reason: ReasonNoun): reason is RefusalReason {
  return reason === "no_cores" || reason === "no_memory" || reason === "closed" || reason === "quota";
}
