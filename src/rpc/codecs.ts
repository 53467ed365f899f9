// Made from proto/sublet/v1 by `npm run codecs`: change that, or deploy/codecs.
import type { Init, MessageName, Messages } from "./messages.ts";
import { type Codec, Enum, enter, leave, type Loose, packed, type Reader, readEntry, uint32, uint64, unpack, type Writer } from "./wire.ts";

const CapacityClass = new Enum({ CAPACITY_CLASS_UNSPECIFIED: 0, CAPACITY_CLASS_IDLE: 1, CAPACITY_CLASS_UNALLOCATED: 2, CAPACITY_CLASS_SHARED: 3 });
const LeaseKind = new Enum({ LEASE_KIND_UNSPECIFIED: 0, LEASE_KIND_FUNCTION: 1, LEASE_KIND_REGION: 2 });
const LeaseState = new Enum({ LEASE_STATE_UNSPECIFIED: 0, LEASE_STATE_REQUESTED: 1, LEASE_STATE_GRANTED: 2, LEASE_STATE_ACTIVE: 3, LEASE_STATE_DRAINING: 4, LEASE_STATE_RELEASED: 5, LEASE_STATE_EXPIRED: 6, LEASE_STATE_REVOKED: 7 });
const Reason = new Enum({ REASON_UNSPECIFIED: 0, REASON_RELEASED: 1, REASON_TERM_ENDED: 2, REASON_BATCH_JOB: 3, REASON_ADMIN: 4, REASON_EXECUTOR_LOST: 5, REASON_AGENT_RESTART: 6, REASON_NO_CORES: 7, REASON_NO_MEMORY: 8, REASON_CLOSED: 9, REASON_START_FAILED: 10, REASON_GUARD: 11, REASON_QUOTA: 12 });
const Consent = new Enum({ CONSENT_UNSPECIFIED: 0, CONSENT_SHARE: 1, CONSENT_NO: 2 });
const Durability = new Enum({ DURABILITY_UNSPECIFIED: 0, DURABILITY_EPHEMERAL: 1, DURABILITY_EVACUATED: 2, DURABILITY_MIRRORED: 3 });
const Lending = new Enum({ LENDING_UNSPECIFIED: 0, LENDING_ON: 1, LENDING_SHADOW: 2, LENDING_HOLD_OUT: 3, LENDING_DRAINED: 4 });
const ReclaimMode = new Enum({ RECLAIM_MODE_UNSPECIFIED: 0, RECLAIM_MODE_IMMEDIATE: 1, RECLAIM_MODE_GRACEFUL: 2 });
const UsageGroup = new Enum({ USAGE_GROUP_UNSPECIFIED: 0, USAGE_GROUP_USER: 1, USAGE_GROUP_ACCOUNT: 2, USAGE_GROUP_DAY: 3 });
const HookEvent = new Enum({ HOOK_EVENT_UNSPECIFIED: 0, HOOK_EVENT_PROLOG: 1, HOOK_EVENT_EPILOG: 2, HOOK_EVENT_STEP: 3 });

function writeSpare(w: Writer, m: Init<Messages["Spare"]>): void {
  if (m.class != null) {
    const value = CapacityClass.number(m.class);
    if (value !== undefined) w.uint32(8).int32(value);
  }
  if (m.cores != null && m.cores.length > 0)
    packed(w.uint32(18), m.cores.map((each) => each >>> 0));
  if (m.memoryBytes != null) w.uint32(24).uint64(m.memoryBytes);
}

function readSpare(r: Reader): Messages["Spare"] {
  const m: Messages["Spare"] = { class: "CAPACITY_CLASS_UNSPECIFIED", cores: [], memoryBytes: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.class = CapacityClass.word(r.int32()); break;
      case 2: {
        if ((tag & 7) === 2) unpack(r, m.cores, uint32);
        else m.cores.push(r.uint32());
        break;
      }
      case 3: m.memoryBytes = uint64(r); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeSpell(w: Writer, m: Init<Messages["Spell"]>): void {
  if (m.class != null) {
    const value = CapacityClass.number(m.class);
    if (value !== undefined) w.uint32(8).int32(value);
  }
  if (m.ageMs != null) w.uint32(16).uint64(m.ageMs);
  if (m.begunSeen != null) w.uint32(24).bool(m.begunSeen);
  if (m.arrivals != null) w.uint32(32).uint64(m.arrivals);
}

function readSpell(r: Reader): Messages["Spell"] {
  const m: Messages["Spell"] = { class: "CAPACITY_CLASS_UNSPECIFIED", ageMs: 0, begunSeen: false, arrivals: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.class = CapacityClass.word(r.int32()); break;
      case 2: m.ageMs = uint64(r); break;
      case 3: m.begunSeen = r.bool(); break;
      case 4: m.arrivals = uint64(r); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeOffer(w: Writer, m: Init<Messages["Offer"]>): void {
  if (m.node != null) w.uint32(10).string(m.node);
  if (m.revision != null) w.uint32(16).uint64(m.revision);
  if (m.epochUnixMs != null) w.uint32(24).uint64(m.epochUnixMs);
  if (m.address != null) w.uint32(34).string(m.address);
  if (m.spare != null)
    for (const each of m.spare) {
      w.uint32(42).fork();
      writeSpare(w, each);
      w.ldelim();
    }
  if (m.horizonMs != null) w.uint32(48).uint64(m.horizonMs);
  if (m.coresTotal != null) w.uint32(56).uint32(m.coresTotal >>> 0);
  if (m.memoryBytesTotal != null) w.uint32(64).uint64(m.memoryBytesTotal);
  if (m.coresUsedByJobs != null) w.uint32(72).uint32(m.coresUsedByJobs >>> 0);
  if (m.memoryBytesUsedByJobs != null) w.uint32(80).uint64(m.memoryBytesUsedByJobs);
  if (m.lending != null) {
    const value = Lending.number(m.lending);
    if (value !== undefined) w.uint32(88).int32(value);
  }
  if (m.shadowSpare != null)
    for (const each of m.shadowSpare) {
      w.uint32(98).fork();
      writeSpare(w, each);
      w.ldelim();
    }
  if (m.spell != null) {
    w.uint32(106).fork();
    writeSpell(w, m.spell);
    w.ldelim();
  }
}

function readOffer(r: Reader): Messages["Offer"] {
  const m: Messages["Offer"] = { node: "", revision: 0, epochUnixMs: 0, address: "", spare: [], horizonMs: 0, coresTotal: 0, memoryBytesTotal: 0, coresUsedByJobs: 0, memoryBytesUsedByJobs: 0, lending: "LENDING_UNSPECIFIED", shadowSpare: [], spell: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.node = r.string(); break;
      case 2: m.revision = uint64(r); break;
      case 3: m.epochUnixMs = uint64(r); break;
      case 4: m.address = r.string(); break;
      case 5: {
        const outer = enter(r);
        m.spare.push(readSpare(r));
        leave(r, outer);
        break;
      }
      case 6: m.horizonMs = uint64(r); break;
      case 7: m.coresTotal = r.uint32(); break;
      case 8: m.memoryBytesTotal = uint64(r); break;
      case 9: m.coresUsedByJobs = r.uint32(); break;
      case 10: m.memoryBytesUsedByJobs = uint64(r); break;
      case 11: m.lending = Lending.word(r.int32()); break;
      case 12: {
        const outer = enter(r);
        m.shadowSpare.push(readSpare(r));
        leave(r, outer);
        break;
      }
      case 13: {
        const outer = enter(r);
        m.spell = readSpell(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writePrincipal(w: Writer, m: Init<Messages["Principal"]>): void {
  if (m.uid != null) w.uint32(8).uint32(m.uid >>> 0);
  if (m.gid != null) w.uint32(16).uint32(m.gid >>> 0);
  if (m.jobId != null) w.uint32(24).uint32(m.jobId >>> 0);
  if (m.node != null) w.uint32(34).string(m.node);
}

function readPrincipal(r: Reader): Messages["Principal"] {
  const m: Messages["Principal"] = { uid: 0, gid: 0, jobId: 0, node: "" };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.uid = r.uint32(); break;
      case 2: m.gid = r.uint32(); break;
      case 3: m.jobId = r.uint32(); break;
      case 4: m.node = r.string(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeLeaseRequest(w: Writer, m: Init<Messages["LeaseRequest"]>): void {
  if (m.kind != null) {
    const value = LeaseKind.number(m.kind);
    if (value !== undefined) w.uint32(8).int32(value);
  }
  if (m.cores != null) w.uint32(16).uint32(m.cores >>> 0);
  if (m.memoryBytes != null) w.uint32(24).uint64(m.memoryBytes);
  if (m.termMs != null) w.uint32(32).uint64(m.termMs);
  if (m.excludeNodes != null) for (const each of m.excludeNodes) w.uint32(42).string(each);
  if (m.node != null) w.uint32(50).string(m.node);
  if (m.minCores != null) w.uint32(56).uint32(m.minCores >>> 0);
  if (m.durability != null) {
    const value = Durability.number(m.durability);
    if (value !== undefined) w.uint32(64).int32(value);
  }
}

function readLeaseRequest(r: Reader): Messages["LeaseRequest"] {
  const m: Messages["LeaseRequest"] = { kind: "LEASE_KIND_UNSPECIFIED", cores: 0, memoryBytes: 0, termMs: 0, excludeNodes: [], node: "", minCores: 0, durability: "DURABILITY_UNSPECIFIED" };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.kind = LeaseKind.word(r.int32()); break;
      case 2: m.cores = r.uint32(); break;
      case 3: m.memoryBytes = uint64(r); break;
      case 4: m.termMs = uint64(r); break;
      case 5: m.excludeNodes.push(r.string()); break;
      case 6: m.node = r.string(); break;
      case 7: m.minCores = r.uint32(); break;
      case 8: m.durability = Durability.word(r.int32()); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeEndpoint(w: Writer, m: Init<Messages["Endpoint"]>): void {
  if (m.node != null) w.uint32(10).string(m.node);
  if (m.unixPath != null) w.uint32(18).string(m.unixPath);
  if (m.tcpAddress != null) w.uint32(26).string(m.tcpAddress);
  if (m.token != null) w.uint32(34).bytes(m.token);
}

function readEndpoint(r: Reader): Messages["Endpoint"] {
  const m: Messages["Endpoint"] = { node: "", unixPath: "", tcpAddress: "", token: Buffer.alloc(0) };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.node = r.string(); break;
      case 2: m.unixPath = r.string(); break;
      case 3: m.tcpAddress = r.string(); break;
      case 4: m.token = r.bytes(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeLease(w: Writer, m: Init<Messages["Lease"]>): void {
  if (m.id != null) w.uint32(10).string(m.id);
  if (m.kind != null) {
    const value = LeaseKind.number(m.kind);
    if (value !== undefined) w.uint32(16).int32(value);
  }
  if (m.state != null) {
    const value = LeaseState.number(m.state);
    if (value !== undefined) w.uint32(24).int32(value);
  }
  if (m.reason != null) {
    const value = Reason.number(m.reason);
    if (value !== undefined) w.uint32(32).int32(value);
  }
  if (m.node != null) w.uint32(42).string(m.node);
  if (m.cores != null && m.cores.length > 0)
    packed(w.uint32(50), m.cores.map((each) => each >>> 0));
  if (m.memoryBytes != null) w.uint32(56).uint64(m.memoryBytes);
  if (m.class != null) {
    const value = CapacityClass.number(m.class);
    if (value !== undefined) w.uint32(64).int32(value);
  }
  if (m.owner != null) {
    w.uint32(74).fork();
    writePrincipal(w, m.owner);
    w.ldelim();
  }
  if (m.grantedUnixMs != null) w.uint32(80).uint64(m.grantedUnixMs);
  if (m.termMs != null) w.uint32(88).uint64(m.termMs);
  if (m.remainingMs != null) w.uint32(96).uint64(m.remainingMs);
  if (m.invocations != null) w.uint32(104).uint64(m.invocations);
  if (m.durability != null) {
    const value = Durability.number(m.durability);
    if (value !== undefined) w.uint32(112).int32(value);
  }
  if (m.account != null) w.uint32(122).string(m.account);
  if (m.partition != null) w.uint32(130).string(m.partition);
}

function readLease(r: Reader): Messages["Lease"] {
  const m: Messages["Lease"] = { id: "", kind: "LEASE_KIND_UNSPECIFIED", state: "LEASE_STATE_UNSPECIFIED", reason: "REASON_UNSPECIFIED", node: "", cores: [], memoryBytes: 0, class: "CAPACITY_CLASS_UNSPECIFIED", owner: null, grantedUnixMs: 0, termMs: 0, remainingMs: 0, invocations: 0, durability: "DURABILITY_UNSPECIFIED", account: "", partition: "" };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.id = r.string(); break;
      case 2: m.kind = LeaseKind.word(r.int32()); break;
      case 3: m.state = LeaseState.word(r.int32()); break;
      case 4: m.reason = Reason.word(r.int32()); break;
      case 5: m.node = r.string(); break;
      case 6: {
        if ((tag & 7) === 2) unpack(r, m.cores, uint32);
        else m.cores.push(r.uint32());
        break;
      }
      case 7: m.memoryBytes = uint64(r); break;
      case 8: m.class = CapacityClass.word(r.int32()); break;
      case 9: {
        const outer = enter(r);
        m.owner = readPrincipal(r);
        leave(r, outer);
        break;
      }
      case 10: m.grantedUnixMs = uint64(r); break;
      case 11: m.termMs = uint64(r); break;
      case 12: m.remainingMs = uint64(r); break;
      case 13: m.invocations = uint64(r); break;
      case 14: m.durability = Durability.word(r.int32()); break;
      case 15: m.account = r.string(); break;
      case 16: m.partition = r.string(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeRefusal(w: Writer, m: Init<Messages["Refusal"]>): void {
  if (m.reason != null) {
    const value = Reason.number(m.reason);
    if (value !== undefined) w.uint32(8).int32(value);
  }
  if (m.node != null) w.uint32(18).string(m.node);
  if (m.message != null) w.uint32(26).string(m.message);
  if (m.retryAfterMs != null) w.uint32(32).uint64(m.retryAfterMs);
}

function readRefusal(r: Reader): Messages["Refusal"] {
  const m: Messages["Refusal"] = { reason: "REASON_UNSPECIFIED", node: "", message: "", retryAfterMs: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.reason = Reason.word(r.int32()); break;
      case 2: m.node = r.string(); break;
      case 3: m.message = r.string(); break;
      case 4: m.retryAfterMs = uint64(r); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeNodeOutcome(w: Writer, m: Init<Messages["NodeOutcome"]>): void {
  if (m.node != null) w.uint32(10).string(m.node);
  if (m.code != null) w.uint32(16).uint32(m.code >>> 0);
  if (m.message != null) w.uint32(26).string(m.message);
  if (m.leasesEnded != null) w.uint32(32).uint32(m.leasesEnded >>> 0);
  if (m.leasesLeft != null) w.uint32(40).uint32(m.leasesLeft >>> 0);
  if (m.drainingLeaseIds != null) for (const each of m.drainingLeaseIds) w.uint32(50).string(each);
  if (m.lending != null) {
    const value = Lending.number(m.lending);
    if (value !== undefined) w.uint32(56).int32(value);
  }
}

function readNodeOutcome(r: Reader): Messages["NodeOutcome"] {
  const m: Messages["NodeOutcome"] = { node: "", code: 0, message: "", leasesEnded: 0, leasesLeft: 0, drainingLeaseIds: [], lending: "LENDING_UNSPECIFIED" };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.node = r.string(); break;
      case 2: m.code = r.uint32(); break;
      case 3: m.message = r.string(); break;
      case 4: m.leasesEnded = r.uint32(); break;
      case 5: m.leasesLeft = r.uint32(); break;
      case 6: m.drainingLeaseIds.push(r.string()); break;
      case 7: m.lending = Lending.word(r.int32()); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeJobFact(w: Writer, m: Init<Messages["JobFact"]>): void {
  if (m.jobId != null) w.uint32(8).uint32(m.jobId >>> 0);
  if (m.uid != null) w.uint32(16).uint32(m.uid >>> 0);
  if (m.partition != null) w.uint32(26).string(m.partition);
  if (m.account != null) w.uint32(34).string(m.account);
  if (m.qos != null) w.uint32(42).string(m.qos);
  if (m.exclusive != null) w.uint32(48).bool(m.exclusive);
}

function readJobFact(r: Reader): Messages["JobFact"] {
  const m: Messages["JobFact"] = { jobId: 0, uid: 0, partition: "", account: "", qos: "", exclusive: false };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.jobId = r.uint32(); break;
      case 2: m.uid = r.uint32(); break;
      case 3: m.partition = r.string(); break;
      case 4: m.account = r.string(); break;
      case 5: m.qos = r.string(); break;
      case 6: m.exclusive = r.bool(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writePressure(w: Writer, m: Init<Messages["Pressure"]>): void {
  if (m.durationMs != null) w.uint32(8).uint64(m.durationMs);
  if (m.cpuUs != null) w.uint32(16).uint64(m.cpuUs);
  if (m.memoryUs != null) w.uint32(24).uint64(m.memoryUs);
  if (m.ioUs != null) w.uint32(32).uint64(m.ioUs);
  if (m.watchedMs != null) w.uint32(40).uint64(m.watchedMs);
  if (m.memoryWatchedMs != null) w.uint32(48).uint64(m.memoryWatchedMs);
}

function readPressure(r: Reader): Messages["Pressure"] {
  const m: Messages["Pressure"] = { durationMs: 0, cpuUs: 0, memoryUs: 0, ioUs: 0, watchedMs: 0, memoryWatchedMs: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.durationMs = uint64(r); break;
      case 2: m.cpuUs = uint64(r); break;
      case 3: m.memoryUs = uint64(r); break;
      case 4: m.ioUs = uint64(r); break;
      case 5: m.watchedMs = uint64(r); break;
      case 6: m.memoryWatchedMs = uint64(r); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeReceiptGuest(w: Writer, m: Init<Messages["ReceiptGuest"]>): void {
  if (m.leaseId != null) w.uint32(10).string(m.leaseId);
  if (m.uid != null) w.uint32(16).uint32(m.uid >>> 0);
  if (m.kind != null) {
    const value = LeaseKind.number(m.kind);
    if (value !== undefined) w.uint32(24).int32(value);
  }
  if (m.class != null) {
    const value = CapacityClass.number(m.class);
    if (value !== undefined) w.uint32(32).int32(value);
  }
  if (m.coreSeconds != null) w.uint32(41).double(m.coreSeconds);
  if (m.byteSeconds != null) w.uint32(49).double(m.byteSeconds);
  if (m.leases != null) w.uint32(56).uint32(m.leases >>> 0);
}

function readReceiptGuest(r: Reader): Messages["ReceiptGuest"] {
  const m: Messages["ReceiptGuest"] = { leaseId: "", uid: 0, kind: "LEASE_KIND_UNSPECIFIED", class: "CAPACITY_CLASS_UNSPECIFIED", coreSeconds: 0, byteSeconds: 0, leases: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.leaseId = r.string(); break;
      case 2: m.uid = r.uint32(); break;
      case 3: m.kind = LeaseKind.word(r.int32()); break;
      case 4: m.class = CapacityClass.word(r.int32()); break;
      case 5: m.coreSeconds = r.double(); break;
      case 6: m.byteSeconds = r.double(); break;
      case 7: m.leases = r.uint32(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeReceiptAction(w: Writer, m: Init<Messages["ReceiptAction"]>): void {
  if (m.action != null) w.uint32(10).string(m.action);
  if (m.count != null) w.uint32(16).uint32(m.count >>> 0);
}

function readReceiptAction(r: Reader): Messages["ReceiptAction"] {
  const m: Messages["ReceiptAction"] = { action: "", count: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.action = r.string(); break;
      case 2: m.count = r.uint32(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeReceipt(w: Writer, m: Init<Messages["Receipt"]>): void {
  if (m.jobId != null) w.uint32(8).uint32(m.jobId >>> 0);
  if (m.node != null) w.uint32(18).string(m.node);
  if (m.uid != null) w.uint32(24).uint32(m.uid >>> 0);
  if (m.fromUnixMs != null) w.uint32(32).uint64(m.fromUnixMs);
  if (m.toUnixMs != null) w.uint32(40).uint64(m.toUnixMs);
  if (m.ended != null) w.uint32(48).bool(m.ended);
  if (m.consent != null) {
    const value = Consent.number(m.consent);
    if (value !== undefined) w.uint32(56).int32(value);
  }
  if (m.guests != null)
    for (const each of m.guests) {
      w.uint32(66).fork();
      writeReceiptGuest(w, each);
      w.ldelim();
    }
  if (m.actions != null)
    for (const each of m.actions) {
      w.uint32(74).fork();
      writeReceiptAction(w, each);
      w.ldelim();
    }
  if (m.alone != null) {
    w.uint32(82).fork();
    writePressure(w, m.alone);
    w.ldelim();
  }
  if (m.beside != null) {
    w.uint32(90).fork();
    writePressure(w, m.beside);
    w.ldelim();
  }
  if (m.pressureOf != null) w.uint32(98).string(m.pressureOf);
}

function readReceipt(r: Reader): Messages["Receipt"] {
  const m: Messages["Receipt"] = { jobId: 0, node: "", uid: 0, fromUnixMs: 0, toUnixMs: 0, ended: false, consent: "CONSENT_UNSPECIFIED", guests: [], actions: [], alone: null, beside: null, pressureOf: "" };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.jobId = r.uint32(); break;
      case 2: m.node = r.string(); break;
      case 3: m.uid = r.uint32(); break;
      case 4: m.fromUnixMs = uint64(r); break;
      case 5: m.toUnixMs = uint64(r); break;
      case 6: m.ended = r.bool(); break;
      case 7: m.consent = Consent.word(r.int32()); break;
      case 8: {
        const outer = enter(r);
        m.guests.push(readReceiptGuest(r));
        leave(r, outer);
        break;
      }
      case 9: {
        const outer = enter(r);
        m.actions.push(readReceiptAction(r));
        leave(r, outer);
        break;
      }
      case 10: {
        const outer = enter(r);
        m.alone = readPressure(r);
        leave(r, outer);
        break;
      }
      case 11: {
        const outer = enter(r);
        m.beside = readPressure(r);
        leave(r, outer);
        break;
      }
      case 12: m.pressureOf = r.string(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeUsageRecord(w: Writer, m: Init<Messages["UsageRecord"]>): void {
  if (m.leaseId != null) w.uint32(10).string(m.leaseId);
  if (m.slice != null) w.uint32(16).uint64(m.slice);
  if (m.node != null) w.uint32(26).string(m.node);
  if (m.uid != null) w.uint32(32).uint32(m.uid >>> 0);
  if (m.account != null) w.uint32(42).string(m.account);
  if (m.jobId != null) w.uint32(48).uint32(m.jobId >>> 0);
  if (m.partition != null) w.uint32(58).string(m.partition);
  if (m.class != null) {
    const value = CapacityClass.number(m.class);
    if (value !== undefined) w.uint32(64).int32(value);
  }
  if (m.kind != null) {
    const value = LeaseKind.number(m.kind);
    if (value !== undefined) w.uint32(72).int32(value);
  }
  if (m.cores != null) w.uint32(80).uint32(m.cores >>> 0);
  if (m.memoryBytes != null) w.uint32(88).uint64(m.memoryBytes);
  if (m.coreSeconds != null) w.uint32(97).double(m.coreSeconds);
  if (m.byteSeconds != null) w.uint32(105).double(m.byteSeconds);
  if (m.invocations != null) w.uint32(112).uint64(m.invocations);
  if (m.state != null) {
    const value = LeaseState.number(m.state);
    if (value !== undefined) w.uint32(120).int32(value);
  }
  if (m.reason != null) {
    const value = Reason.number(m.reason);
    if (value !== undefined) w.uint32(128).int32(value);
  }
  if (m.beginUnixMs != null) w.uint32(136).uint64(m.beginUnixMs);
  if (m.endUnixMs != null) w.uint32(144).uint64(m.endUnixMs);
}

function readUsageRecord(r: Reader): Messages["UsageRecord"] {
  const m: Messages["UsageRecord"] = { leaseId: "", slice: 0, node: "", uid: 0, account: "", jobId: 0, partition: "", class: "CAPACITY_CLASS_UNSPECIFIED", kind: "LEASE_KIND_UNSPECIFIED", cores: 0, memoryBytes: 0, coreSeconds: 0, byteSeconds: 0, invocations: 0, state: "LEASE_STATE_UNSPECIFIED", reason: "REASON_UNSPECIFIED", beginUnixMs: 0, endUnixMs: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.leaseId = r.string(); break;
      case 2: m.slice = uint64(r); break;
      case 3: m.node = r.string(); break;
      case 4: m.uid = r.uint32(); break;
      case 5: m.account = r.string(); break;
      case 6: m.jobId = r.uint32(); break;
      case 7: m.partition = r.string(); break;
      case 8: m.class = CapacityClass.word(r.int32()); break;
      case 9: m.kind = LeaseKind.word(r.int32()); break;
      case 10: m.cores = r.uint32(); break;
      case 11: m.memoryBytes = uint64(r); break;
      case 12: m.coreSeconds = r.double(); break;
      case 13: m.byteSeconds = r.double(); break;
      case 14: m.invocations = uint64(r); break;
      case 15: m.state = LeaseState.word(r.int32()); break;
      case 16: m.reason = Reason.word(r.int32()); break;
      case 17: m.beginUnixMs = uint64(r); break;
      case 18: m.endUnixMs = uint64(r); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeQuotaExhausted(w: Writer, m: Init<Messages["QuotaExhausted"]>): void {
  if (m.account != null) w.uint32(10).string(m.account);
  if (m.limitCoreSeconds != null) w.uint32(17).double(m.limitCoreSeconds);
  if (m.usedCoreSeconds != null) w.uint32(25).double(m.usedCoreSeconds);
  if (m.resetsInMs != null) w.uint32(32).uint64(m.resetsInMs);
  if (m.timeZone != null) w.uint32(42).string(m.timeZone);
}

function readQuotaExhausted(r: Reader): Messages["QuotaExhausted"] {
  const m: Messages["QuotaExhausted"] = { account: "", limitCoreSeconds: 0, usedCoreSeconds: 0, resetsInMs: 0, timeZone: "" };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.account = r.string(); break;
      case 2: m.limitCoreSeconds = r.double(); break;
      case 3: m.usedCoreSeconds = r.double(); break;
      case 4: m.resetsInMs = uint64(r); break;
      case 5: m.timeZone = r.string(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeReportRequest(w: Writer, m: Init<Messages["ReportRequest"]>): void {
  if (m.offer != null) {
    w.uint32(10).fork();
    writeOffer(w, m.offer);
    w.ldelim();
  }
  if (m.leases != null)
    for (const each of m.leases) {
      w.uint32(18).fork();
      writeLease(w, each);
      w.ldelim();
    }
  if (m.full != null) w.uint32(24).bool(m.full);
  if (m.receipts != null)
    for (const each of m.receipts) {
      w.uint32(34).fork();
      writeReceipt(w, each);
      w.ldelim();
    }
  if (m.usage != null)
    for (const each of m.usage) {
      w.uint32(42).fork();
      writeUsageRecord(w, each);
      w.ldelim();
    }
  if (m.reclaims != null)
    for (const each of m.reclaims) {
      w.uint32(50).fork();
      writeReclaimRecord(w, each);
      w.ldelim();
    }
  if (m.counters != null) {
    w.uint32(58).fork();
    writeNodeCounters(w, m.counters);
    w.ldelim();
  }
}

function readReportRequest(r: Reader): Messages["ReportRequest"] {
  const m: Messages["ReportRequest"] = { offer: null, leases: [], full: false, receipts: [], usage: [], reclaims: [], counters: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.offer = readOffer(r);
        leave(r, outer);
        break;
      }
      case 2: {
        const outer = enter(r);
        m.leases.push(readLease(r));
        leave(r, outer);
        break;
      }
      case 3: m.full = r.bool(); break;
      case 4: {
        const outer = enter(r);
        m.receipts.push(readReceipt(r));
        leave(r, outer);
        break;
      }
      case 5: {
        const outer = enter(r);
        m.usage.push(readUsageRecord(r));
        leave(r, outer);
        break;
      }
      case 6: {
        const outer = enter(r);
        m.reclaims.push(readReclaimRecord(r));
        leave(r, outer);
        break;
      }
      case 7: {
        const outer = enter(r);
        m.counters = readNodeCounters(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeReclaimRecord(w: Writer, m: Init<Messages["ReclaimRecord"]>): void {
  if (m.atUnixMs != null) w.uint32(8).uint64(m.atUnixMs);
  if (m.durationUs != null) w.uint32(16).uint64(m.durationUs);
  if (m.leases != null) w.uint32(24).uint32(m.leases >>> 0);
  if (m.cause != null) w.uint32(34).string(m.cause);
}

function readReclaimRecord(r: Reader): Messages["ReclaimRecord"] {
  const m: Messages["ReclaimRecord"] = { atUnixMs: 0, durationUs: 0, leases: 0, cause: "" };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.atUnixMs = uint64(r); break;
      case 2: m.durationUs = uint64(r); break;
      case 3: m.leases = r.uint32(); break;
      case 4: m.cause = r.string(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeNodeCounters(w: Writer, m: Init<Messages["NodeCounters"]>): void {
  if (m.invocations != null) w.uint32(8).uint64(m.invocations);
  if (m.throttle != null) w.uint32(16).uint64(m.throttle);
  if (m.freeze != null) w.uint32(24).uint64(m.freeze);
  if (m.shrink != null) w.uint32(32).uint64(m.shrink);
  if (m.evict != null) w.uint32(40).uint64(m.evict);
  if (m.jobWatchedMs != null) w.uint32(72).uint64(m.jobWatchedMs);
  if (m.jobCoreMs != null) w.uint32(80).uint64(m.jobCoreMs);
  if (m.jobWaitedMs != null) w.uint32(88).uint64(m.jobWaitedMs);
  if (m.jobMemoryCoreMs != null) w.uint32(96).uint64(m.jobMemoryCoreMs);
  if (m.jobMemoryWaitedMs != null) w.uint32(104).uint64(m.jobMemoryWaitedMs);
  if (m.outcomes != null && m.outcomes.length > 0) packed(w.uint32(114), m.outcomes);
}

function readNodeCounters(r: Reader): Messages["NodeCounters"] {
  const m: Messages["NodeCounters"] = { invocations: 0, throttle: 0, freeze: 0, shrink: 0, evict: 0, jobWatchedMs: 0, jobCoreMs: 0, jobWaitedMs: 0, jobMemoryCoreMs: 0, jobMemoryWaitedMs: 0, outcomes: [] };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.invocations = uint64(r); break;
      case 2: m.throttle = uint64(r); break;
      case 3: m.freeze = uint64(r); break;
      case 4: m.shrink = uint64(r); break;
      case 5: m.evict = uint64(r); break;
      case 9: m.jobWatchedMs = uint64(r); break;
      case 10: m.jobCoreMs = uint64(r); break;
      case 11: m.jobWaitedMs = uint64(r); break;
      case 12: m.jobMemoryCoreMs = uint64(r); break;
      case 13: m.jobMemoryWaitedMs = uint64(r); break;
      case 14: {
        if ((tag & 7) === 2) unpack(r, m.outcomes, uint64);
        else m.outcomes.push(uint64(r));
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeHorizonTable(w: Writer, m: Init<Messages["HorizonTable"]>): void {
  if (m.class != null) {
    const value = CapacityClass.number(m.class);
    if (value !== undefined) w.uint32(8).int32(value);
  }
  if (m.arrivalsPerHour != null && m.arrivalsPerHour.length > 0) {
    w.uint32(18).fork();
    for (const each of m.arrivalsPerHour) w.double(each);
    w.ldelim();
  }
}

function readHorizonTable(r: Reader): Messages["HorizonTable"] {
  const m: Messages["HorizonTable"] = { class: "CAPACITY_CLASS_UNSPECIFIED", arrivalsPerHour: [] };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.class = CapacityClass.word(r.int32()); break;
      case 2: {
        if ((tag & 7) === 2) {
          const outer = enter(r);
          while (r.pos < r.len) m.arrivalsPerHour.push(r.double());
          leave(r, outer);
        } else m.arrivalsPerHour.push(r.double());
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeHorizonModel(w: Writer, m: Init<Messages["HorizonModel"]>): void {
  if (m.tables != null)
    for (const each of m.tables) {
      w.uint32(10).fork();
      writeHorizonTable(w, each);
      w.ldelim();
    }
  if (m.confidence != null) w.uint32(17).double(m.confidence);
  if (m.ageEdgesMs != null && m.ageEdgesMs.length > 0) packed(w.uint32(26), m.ageEdgesMs);
}

function readHorizonModel(r: Reader): Messages["HorizonModel"] {
  const m: Messages["HorizonModel"] = { tables: [], confidence: 0, ageEdgesMs: [] };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.tables.push(readHorizonTable(r));
        leave(r, outer);
        break;
      }
      case 2: m.confidence = r.double(); break;
      case 3: {
        if ((tag & 7) === 2) unpack(r, m.ageEdgesMs, uint64);
        else m.ageEdgesMs.push(uint64(r));
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeReportResponse(w: Writer, m: Init<Messages["ReportResponse"]>): void {
  if (m.ackedRevision != null) w.uint32(8).uint64(m.ackedRevision);
  if (m.resendFull != null) w.uint32(16).bool(m.resendFull);
  if (m.endedLeases != null)
    for (const each of m.endedLeases) {
      w.uint32(26).fork();
      writeLease(w, each);
      w.ldelim();
    }
  if (m.jobFacts != null) {
    w.uint32(34).fork();
    writeJobFacts(w, m.jobFacts);
    w.ldelim();
  }
  if (m.horizon != null) {
    w.uint32(42).fork();
    writeHorizonModel(w, m.horizon);
    w.ldelim();
  }
  if (m.drainingLeases != null)
    for (const each of m.drainingLeases) {
      w.uint32(50).fork();
      writeLease(w, each);
      w.ldelim();
    }
  if (m.openMs != null) w.uint32(56).uint64(m.openMs);
  if (m.ackedUsage != null) for (const each of m.ackedUsage) w.uint32(66).string(each);
  if (m.quota != null) {
    w.uint32(74).fork();
    writeQuotas(w, m.quota);
    w.ldelim();
  }
}

function readReportResponse(r: Reader): Messages["ReportResponse"] {
  const m: Messages["ReportResponse"] = { ackedRevision: 0, resendFull: false, endedLeases: [], jobFacts: null, horizon: null, drainingLeases: [], openMs: 0, ackedUsage: [], quota: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.ackedRevision = uint64(r); break;
      case 2: m.resendFull = r.bool(); break;
      case 3: {
        const outer = enter(r);
        m.endedLeases.push(readLease(r));
        leave(r, outer);
        break;
      }
      case 4: {
        const outer = enter(r);
        m.jobFacts = readJobFacts(r);
        leave(r, outer);
        break;
      }
      case 5: {
        const outer = enter(r);
        m.horizon = readHorizonModel(r);
        leave(r, outer);
        break;
      }
      case 6: {
        const outer = enter(r);
        m.drainingLeases.push(readLease(r));
        leave(r, outer);
        break;
      }
      case 7: m.openMs = uint64(r); break;
      case 8: m.ackedUsage.push(r.string()); break;
      case 9: {
        const outer = enter(r);
        m.quota = readQuotas(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeRequestLeaseRequest(w: Writer, m: Init<Messages["RequestLeaseRequest"]>): void {
  if (m.request != null) {
    w.uint32(10).fork();
    writeLeaseRequest(w, m.request);
    w.ldelim();
  }
  if (m.owner != null) {
    w.uint32(18).fork();
    writePrincipal(w, m.owner);
    w.ldelim();
  }
  if (m.ahead != null) w.uint32(24).bool(m.ahead);
}

function readRequestLeaseRequest(r: Reader): Messages["RequestLeaseRequest"] {
  const m: Messages["RequestLeaseRequest"] = { request: null, owner: null, ahead: false };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.request = readLeaseRequest(r);
        leave(r, outer);
        break;
      }
      case 2: {
        const outer = enter(r);
        m.owner = readPrincipal(r);
        leave(r, outer);
        break;
      }
      case 3: m.ahead = r.bool(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeRequestLeaseResponse(w: Writer, m: Init<Messages["RequestLeaseResponse"]>): void {
  if (m.lease != null) {
    w.uint32(10).fork();
    writeLease(w, m.lease);
    w.ldelim();
  }
  if (m.endpoint != null) {
    w.uint32(18).fork();
    writeEndpoint(w, m.endpoint);
    w.ldelim();
  }
  if (m.refusals != null) w.uint32(24).uint32(m.refusals >>> 0);
  if (m.ahead != null) w.uint32(32).bool(m.ahead);
}

function readRequestLeaseResponse(r: Reader): Messages["RequestLeaseResponse"] {
  const m: Messages["RequestLeaseResponse"] = { lease: null, endpoint: null, refusals: 0, ahead: false };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.lease = readLease(r);
        leave(r, outer);
        break;
      }
      case 2: {
        const outer = enter(r);
        m.endpoint = readEndpoint(r);
        leave(r, outer);
        break;
      }
      case 3: m.refusals = r.uint32(); break;
      case 4: m.ahead = r.bool(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeRenewLeaseRequest(w: Writer, m: Init<Messages["RenewLeaseRequest"]>): void {
  if (m.leaseId != null) w.uint32(10).string(m.leaseId);
  if (m.node != null) w.uint32(18).string(m.node);
  if (m.caller != null) {
    w.uint32(26).fork();
    writePrincipal(w, m.caller);
    w.ldelim();
  }
}

function readRenewLeaseRequest(r: Reader): Messages["RenewLeaseRequest"] {
  const m: Messages["RenewLeaseRequest"] = { leaseId: "", node: "", caller: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.leaseId = r.string(); break;
      case 2: m.node = r.string(); break;
      case 3: {
        const outer = enter(r);
        m.caller = readPrincipal(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeRenewLeaseResponse(w: Writer, m: Init<Messages["RenewLeaseResponse"]>): void {
  if (m.lease != null) {
    w.uint32(10).fork();
    writeLease(w, m.lease);
    w.ldelim();
  }
}

function readRenewLeaseResponse(r: Reader): Messages["RenewLeaseResponse"] {
  const m: Messages["RenewLeaseResponse"] = { lease: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.lease = readLease(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeReleaseLeaseRequest(w: Writer, m: Init<Messages["ReleaseLeaseRequest"]>): void {
  if (m.leaseId != null) w.uint32(10).string(m.leaseId);
  if (m.node != null) w.uint32(18).string(m.node);
  if (m.caller != null) {
    w.uint32(26).fork();
    writePrincipal(w, m.caller);
    w.ldelim();
  }
}

function readReleaseLeaseRequest(r: Reader): Messages["ReleaseLeaseRequest"] {
  const m: Messages["ReleaseLeaseRequest"] = { leaseId: "", node: "", caller: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.leaseId = r.string(); break;
      case 2: m.node = r.string(); break;
      case 3: {
        const outer = enter(r);
        m.caller = readPrincipal(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeReleaseLeaseResponse(w: Writer, m: Init<Messages["ReleaseLeaseResponse"]>): void {
  if (m.lease != null) {
    w.uint32(10).fork();
    writeLease(w, m.lease);
    w.ldelim();
  }
}

function readReleaseLeaseResponse(r: Reader): Messages["ReleaseLeaseResponse"] {
  const m: Messages["ReleaseLeaseResponse"] = { lease: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.lease = readLease(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeControllerServiceListLeasesRequest(w: Writer, m: Init<Messages["ControllerServiceListLeasesRequest"]>): void {
  if (m.caller != null) {
    w.uint32(10).fork();
    writePrincipal(w, m.caller);
    w.ldelim();
  }
}

function readControllerServiceListLeasesRequest(r: Reader): Messages["ControllerServiceListLeasesRequest"] {
  const m: Messages["ControllerServiceListLeasesRequest"] = { caller: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.caller = readPrincipal(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeControllerServiceListLeasesResponse(w: Writer, m: Init<Messages["ControllerServiceListLeasesResponse"]>): void {
  if (m.leases != null)
    for (const each of m.leases) {
      w.uint32(10).fork();
      writeLease(w, each);
      w.ldelim();
    }
}

function readControllerServiceListLeasesResponse(r: Reader): Messages["ControllerServiceListLeasesResponse"] {
  const m: Messages["ControllerServiceListLeasesResponse"] = { leases: [] };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.leases.push(readLease(r));
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeListNodesRequest(w: Writer, m: Init<Messages["ListNodesRequest"]>): void {
  if (m.columns != null) w.uint32(8).bool(m.columns);
}

function readListNodesRequest(r: Reader): Messages["ListNodesRequest"] {
  const m: Messages["ListNodesRequest"] = { columns: false };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.columns = r.bool(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeNodeStatus(w: Writer, m: Init<Messages["NodeStatus"]>): void {
  if (m.node != null) w.uint32(10).string(m.node);
  if (m.slurmState != null) w.uint32(18).string(m.slurmState);
  if (m.slurmCores != null) w.uint32(24).uint32(m.slurmCores >>> 0);
  if (m.slurmAllocCores != null) w.uint32(32).uint32(m.slurmAllocCores >>> 0);
  if (m.slurmMemoryBytes != null) w.uint32(40).uint64(m.slurmMemoryBytes);
  if (m.slurmAllocMemoryBytes != null) w.uint32(48).uint64(m.slurmAllocMemoryBytes);
  if (m.offer != null) {
    w.uint32(58).fork();
    writeOffer(w, m.offer);
    w.ldelim();
  }
  if (m.offerAgeMs != null) w.uint32(64).uint64(m.offerAgeMs);
  if (m.leases != null) w.uint32(72).uint32(m.leases >>> 0);
  if (m.leasedCores != null) w.uint32(80).uint32(m.leasedCores >>> 0);
  if (m.leasedMemoryBytes != null) w.uint32(88).uint64(m.leasedMemoryBytes);
  if (m.partitions != null) for (const each of m.partitions) w.uint32(98).string(each);
}

function readNodeStatus(r: Reader): Messages["NodeStatus"] {
  const m: Messages["NodeStatus"] = { node: "", slurmState: "", slurmCores: 0, slurmAllocCores: 0, slurmMemoryBytes: 0, slurmAllocMemoryBytes: 0, offer: null, offerAgeMs: 0, leases: 0, leasedCores: 0, leasedMemoryBytes: 0, partitions: [] };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.node = r.string(); break;
      case 2: m.slurmState = r.string(); break;
      case 3: m.slurmCores = r.uint32(); break;
      case 4: m.slurmAllocCores = r.uint32(); break;
      case 5: m.slurmMemoryBytes = uint64(r); break;
      case 6: m.slurmAllocMemoryBytes = uint64(r); break;
      case 7: {
        const outer = enter(r);
        m.offer = readOffer(r);
        leave(r, outer);
        break;
      }
      case 8: m.offerAgeMs = uint64(r); break;
      case 9: m.leases = r.uint32(); break;
      case 10: m.leasedCores = r.uint32(); break;
      case 11: m.leasedMemoryBytes = uint64(r); break;
      case 12: m.partitions.push(r.string()); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeListNodesResponse(w: Writer, m: Init<Messages["ListNodesResponse"]>): void {
  if (m.nodes != null)
    for (const each of m.nodes) {
      w.uint32(10).fork();
      writeNodeStatus(w, each);
      w.ldelim();
    }
  if (m.snapshotAgeMs != null) w.uint32(16).uint64(m.snapshotAgeMs);
  if (m.snapshotValid != null) w.uint32(24).bool(m.snapshotValid);
  if (m.columns != null) {
    w.uint32(34).fork();
    writeNodeColumns(w, m.columns);
    w.ldelim();
  }
}

function readListNodesResponse(r: Reader): Messages["ListNodesResponse"] {
  const m: Messages["ListNodesResponse"] = { nodes: [], snapshotAgeMs: 0, snapshotValid: false, columns: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.nodes.push(readNodeStatus(r));
        leave(r, outer);
        break;
      }
      case 2: m.snapshotAgeMs = uint64(r); break;
      case 3: m.snapshotValid = r.bool(); break;
      case 4: {
        const outer = enter(r);
        m.columns = readNodeColumns(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeNodeColumns(w: Writer, m: Init<Messages["NodeColumns"]>): void {
  if (m.nodes != null) for (const each of m.nodes) w.uint32(10).string(each);
  if (m.slurmState != null && m.slurmState.length > 0)
    packed(w.uint32(18), m.slurmState.map((each) => each >>> 0));
  if (m.states != null) for (const each of m.states) w.uint32(26).string(each);
  if (m.partitions != null && m.partitions.length > 0)
    packed(w.uint32(34), m.partitions.map((each) => each >>> 0));
  if (m.partitionLists != null) for (const each of m.partitionLists) w.uint32(42).string(each);
  if (m.slurmCores != null && m.slurmCores.length > 0)
    packed(w.uint32(50), m.slurmCores.map((each) => each >>> 0));
  if (m.slurmAllocCores != null && m.slurmAllocCores.length > 0)
    packed(w.uint32(58), m.slurmAllocCores.map((each) => each >>> 0));
  if (m.slurmMemoryBytes != null && m.slurmMemoryBytes.length > 0) packed(w.uint32(66), m.slurmMemoryBytes);
  if (m.slurmAllocMemoryBytes != null && m.slurmAllocMemoryBytes.length > 0) packed(w.uint32(74), m.slurmAllocMemoryBytes);
  if (m.lending != null && m.lending.length > 0)
    packed(w.uint32(82), m.lending.map((each) => each >>> 0));
  if (m.offerAgeMs != null && m.offerAgeMs.length > 0) packed(w.uint32(90), m.offerAgeMs);
  if (m.horizonMs != null && m.horizonMs.length > 0) packed(w.uint32(98), m.horizonMs);
  if (m.idleCores != null && m.idleCores.length > 0)
    packed(w.uint32(106), m.idleCores.map((each) => each >>> 0));
  if (m.unallocatedCores != null && m.unallocatedCores.length > 0)
    packed(w.uint32(114), m.unallocatedCores.map((each) => each >>> 0));
  if (m.sharedCores != null && m.sharedCores.length > 0)
    packed(w.uint32(122), m.sharedCores.map((each) => each >>> 0));
  if (m.spareMemoryBytes != null && m.spareMemoryBytes.length > 0) packed(w.uint32(130), m.spareMemoryBytes);
  if (m.leases != null && m.leases.length > 0)
    packed(w.uint32(138), m.leases.map((each) => each >>> 0));
  if (m.leasedCores != null && m.leasedCores.length > 0)
    packed(w.uint32(146), m.leasedCores.map((each) => each >>> 0));
  if (m.leasedMemoryBytes != null && m.leasedMemoryBytes.length > 0) packed(w.uint32(154), m.leasedMemoryBytes);
}

function readNodeColumns(r: Reader): Messages["NodeColumns"] {
  const m: Messages["NodeColumns"] = { nodes: [], slurmState: [], states: [], partitions: [], partitionLists: [], slurmCores: [], slurmAllocCores: [], slurmMemoryBytes: [], slurmAllocMemoryBytes: [], lending: [], offerAgeMs: [], horizonMs: [], idleCores: [], unallocatedCores: [], sharedCores: [], spareMemoryBytes: [], leases: [], leasedCores: [], leasedMemoryBytes: [] };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.nodes.push(r.string()); break;
      case 2: {
        if ((tag & 7) === 2) unpack(r, m.slurmState, uint32);
        else m.slurmState.push(r.uint32());
        break;
      }
      case 3: m.states.push(r.string()); break;
      case 4: {
        if ((tag & 7) === 2) unpack(r, m.partitions, uint32);
        else m.partitions.push(r.uint32());
        break;
      }
      case 5: m.partitionLists.push(r.string()); break;
      case 6: {
        if ((tag & 7) === 2) unpack(r, m.slurmCores, uint32);
        else m.slurmCores.push(r.uint32());
        break;
      }
      case 7: {
        if ((tag & 7) === 2) unpack(r, m.slurmAllocCores, uint32);
        else m.slurmAllocCores.push(r.uint32());
        break;
      }
      case 8: {
        if ((tag & 7) === 2) unpack(r, m.slurmMemoryBytes, uint64);
        else m.slurmMemoryBytes.push(uint64(r));
        break;
      }
      case 9: {
        if ((tag & 7) === 2) unpack(r, m.slurmAllocMemoryBytes, uint64);
        else m.slurmAllocMemoryBytes.push(uint64(r));
        break;
      }
      case 10: {
        if ((tag & 7) === 2) unpack(r, m.lending, uint32);
        else m.lending.push(r.uint32());
        break;
      }
      case 11: {
        if ((tag & 7) === 2) unpack(r, m.offerAgeMs, uint64);
        else m.offerAgeMs.push(uint64(r));
        break;
      }
      case 12: {
        if ((tag & 7) === 2) unpack(r, m.horizonMs, uint64);
        else m.horizonMs.push(uint64(r));
        break;
      }
      case 13: {
        if ((tag & 7) === 2) unpack(r, m.idleCores, uint32);
        else m.idleCores.push(r.uint32());
        break;
      }
      case 14: {
        if ((tag & 7) === 2) unpack(r, m.unallocatedCores, uint32);
        else m.unallocatedCores.push(r.uint32());
        break;
      }
      case 15: {
        if ((tag & 7) === 2) unpack(r, m.sharedCores, uint32);
        else m.sharedCores.push(r.uint32());
        break;
      }
      case 16: {
        if ((tag & 7) === 2) unpack(r, m.spareMemoryBytes, uint64);
        else m.spareMemoryBytes.push(uint64(r));
        break;
      }
      case 17: {
        if ((tag & 7) === 2) unpack(r, m.leases, uint32);
        else m.leases.push(r.uint32());
        break;
      }
      case 18: {
        if ((tag & 7) === 2) unpack(r, m.leasedCores, uint32);
        else m.leasedCores.push(r.uint32());
        break;
      }
      case 19: {
        if ((tag & 7) === 2) unpack(r, m.leasedMemoryBytes, uint64);
        else m.leasedMemoryBytes.push(uint64(r));
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeSelection(w: Writer, m: Init<Messages["Selection"]>): void {
  if (m.nodes != null) for (const each of m.nodes) w.uint32(10).string(each);
  if (m.partitions != null) for (const each of m.partitions) w.uint32(18).string(each);
  if (m.all != null) w.uint32(24).bool(m.all);
  if (m.leaseIds != null) for (const each of m.leaseIds) w.uint32(34).string(each);
}

function readSelection(r: Reader): Messages["Selection"] {
  const m: Messages["Selection"] = { nodes: [], partitions: [], all: false, leaseIds: [] };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.nodes.push(r.string()); break;
      case 2: m.partitions.push(r.string()); break;
      case 3: m.all = r.bool(); break;
      case 4: m.leaseIds.push(r.string()); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeControllerServiceDrainRequest(w: Writer, m: Init<Messages["ControllerServiceDrainRequest"]>): void {
  if (m.selection != null) {
    w.uint32(10).fork();
    writeSelection(w, m.selection);
    w.ldelim();
  }
  if (m.mode != null) {
    const value = ReclaimMode.number(m.mode);
    if (value !== undefined) w.uint32(16).int32(value);
  }
  if (m.budgetMs != null) w.uint32(24).uint64(m.budgetMs);
  if (m.reason != null) w.uint32(34).string(m.reason);
  if (m.caller != null) {
    w.uint32(42).fork();
    writePrincipal(w, m.caller);
    w.ldelim();
  }
}

function readControllerServiceDrainRequest(r: Reader): Messages["ControllerServiceDrainRequest"] {
  const m: Messages["ControllerServiceDrainRequest"] = { selection: null, mode: "RECLAIM_MODE_UNSPECIFIED", budgetMs: 0, reason: "", caller: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.selection = readSelection(r);
        leave(r, outer);
        break;
      }
      case 2: m.mode = ReclaimMode.word(r.int32()); break;
      case 3: m.budgetMs = uint64(r); break;
      case 4: m.reason = r.string(); break;
      case 5: {
        const outer = enter(r);
        m.caller = readPrincipal(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeControllerServiceDrainResponse(w: Writer, m: Init<Messages["ControllerServiceDrainResponse"]>): void {
  if (m.outcomes != null)
    for (const each of m.outcomes) {
      w.uint32(10).fork();
      writeNodeOutcome(w, each);
      w.ldelim();
    }
}

function readControllerServiceDrainResponse(r: Reader): Messages["ControllerServiceDrainResponse"] {
  const m: Messages["ControllerServiceDrainResponse"] = { outcomes: [] };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.outcomes.push(readNodeOutcome(r));
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeControllerServiceResumeRequest(w: Writer, m: Init<Messages["ControllerServiceResumeRequest"]>): void {
  if (m.selection != null) {
    w.uint32(10).fork();
    writeSelection(w, m.selection);
    w.ldelim();
  }
  if (m.caller != null) {
    w.uint32(18).fork();
    writePrincipal(w, m.caller);
    w.ldelim();
  }
}

function readControllerServiceResumeRequest(r: Reader): Messages["ControllerServiceResumeRequest"] {
  const m: Messages["ControllerServiceResumeRequest"] = { selection: null, caller: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.selection = readSelection(r);
        leave(r, outer);
        break;
      }
      case 2: {
        const outer = enter(r);
        m.caller = readPrincipal(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeControllerServiceResumeResponse(w: Writer, m: Init<Messages["ControllerServiceResumeResponse"]>): void {
  if (m.outcomes != null)
    for (const each of m.outcomes) {
      w.uint32(10).fork();
      writeNodeOutcome(w, each);
      w.ldelim();
    }
}

function readControllerServiceResumeResponse(r: Reader): Messages["ControllerServiceResumeResponse"] {
  const m: Messages["ControllerServiceResumeResponse"] = { outcomes: [] };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.outcomes.push(readNodeOutcome(r));
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeControllerServiceReclaimRequest(w: Writer, m: Init<Messages["ControllerServiceReclaimRequest"]>): void {
  if (m.selection != null) {
    w.uint32(10).fork();
    writeSelection(w, m.selection);
    w.ldelim();
  }
  if (m.mode != null) {
    const value = ReclaimMode.number(m.mode);
    if (value !== undefined) w.uint32(16).int32(value);
  }
  if (m.budgetMs != null) w.uint32(24).uint64(m.budgetMs);
  if (m.reason != null) w.uint32(34).string(m.reason);
  if (m.caller != null) {
    w.uint32(42).fork();
    writePrincipal(w, m.caller);
    w.ldelim();
  }
}

function readControllerServiceReclaimRequest(r: Reader): Messages["ControllerServiceReclaimRequest"] {
  const m: Messages["ControllerServiceReclaimRequest"] = { selection: null, mode: "RECLAIM_MODE_UNSPECIFIED", budgetMs: 0, reason: "", caller: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.selection = readSelection(r);
        leave(r, outer);
        break;
      }
      case 2: m.mode = ReclaimMode.word(r.int32()); break;
      case 3: m.budgetMs = uint64(r); break;
      case 4: m.reason = r.string(); break;
      case 5: {
        const outer = enter(r);
        m.caller = readPrincipal(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeControllerServiceReclaimResponse(w: Writer, m: Init<Messages["ControllerServiceReclaimResponse"]>): void {
  if (m.outcomes != null)
    for (const each of m.outcomes) {
      w.uint32(10).fork();
      writeNodeOutcome(w, each);
      w.ldelim();
    }
}

function readControllerServiceReclaimResponse(r: Reader): Messages["ControllerServiceReclaimResponse"] {
  const m: Messages["ControllerServiceReclaimResponse"] = { outcomes: [] };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.outcomes.push(readNodeOutcome(r));
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeJobFacts(w: Writer, m: Init<Messages["JobFacts"]>): void {
  if (m.jobs != null)
    for (const each of m.jobs) {
      w.uint32(10).fork();
      writeJobFact(w, each);
      w.ldelim();
    }
}

function readJobFacts(r: Reader): Messages["JobFacts"] {
  const m: Messages["JobFacts"] = { jobs: [] };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.jobs.push(readJobFact(r));
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeListReceiptsRequest(w: Writer, m: Init<Messages["ListReceiptsRequest"]>): void {
  if (m.jobId != null) w.uint32(8).uint32(m.jobId >>> 0);
  if (m.caller != null) {
    w.uint32(18).fork();
    writePrincipal(w, m.caller);
    w.ldelim();
  }
}

function readListReceiptsRequest(r: Reader): Messages["ListReceiptsRequest"] {
  const m: Messages["ListReceiptsRequest"] = { jobId: 0, caller: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.jobId = r.uint32(); break;
      case 2: {
        const outer = enter(r);
        m.caller = readPrincipal(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeListReceiptsResponse(w: Writer, m: Init<Messages["ListReceiptsResponse"]>): void {
  if (m.receipts != null)
    for (const each of m.receipts) {
      w.uint32(10).fork();
      writeReceipt(w, each);
      w.ldelim();
    }
}

function readListReceiptsResponse(r: Reader): Messages["ListReceiptsResponse"] {
  const m: Messages["ListReceiptsResponse"] = { receipts: [] };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.receipts.push(readReceipt(r));
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeQuotas(w: Writer, m: Init<Messages["Quotas"]>): void {
  if (m.exhausted != null)
    for (const each of m.exhausted) {
      w.uint32(10).fork();
      writeQuotaExhausted(w, each);
      w.ldelim();
    }
}

function readQuotas(r: Reader): Messages["Quotas"] {
  const m: Messages["Quotas"] = { exhausted: [] };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.exhausted.push(readQuotaExhausted(r));
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeGetUsageRequest(w: Writer, m: Init<Messages["GetUsageRequest"]>): void {
  if (m.from != null) w.uint32(10).string(m.from);
  if (m.to != null) w.uint32(18).string(m.to);
  if (m.groupBy != null && m.groupBy.length > 0) {
    w.uint32(26).fork();
    for (const each of m.groupBy) w.int32(UsageGroup.number(each) ?? 0);
    w.ldelim();
  }
  if (m.account != null) w.uint32(34).string(m.account);
  if (m.user != null) w.uint32(42).string(m.user);
  if (m.caller != null) {
    w.uint32(50).fork();
    writePrincipal(w, m.caller);
    w.ldelim();
  }
}

function readGetUsageRequest(r: Reader): Messages["GetUsageRequest"] {
  const m: Messages["GetUsageRequest"] = { from: "", to: "", groupBy: [], account: "", user: "", caller: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.from = r.string(); break;
      case 2: m.to = r.string(); break;
      case 3: {
        if ((tag & 7) === 2) {
          const outer = enter(r);
          while (r.pos < r.len) m.groupBy.push(UsageGroup.word(r.int32()));
          leave(r, outer);
        } else m.groupBy.push(UsageGroup.word(r.int32()));
        break;
      }
      case 4: m.account = r.string(); break;
      case 5: m.user = r.string(); break;
      case 6: {
        const outer = enter(r);
        m.caller = readPrincipal(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeUsageRow(w: Writer, m: Init<Messages["UsageRow"]>): void {
  if (m.day != null) w.uint32(10).string(m.day);
  if (m.uid != null) w.uint32(16).uint32(m.uid >>> 0);
  if (m.user != null) w.uint32(26).string(m.user);
  if (m.account != null) w.uint32(34).string(m.account);
  if (m.leases != null) w.uint32(40).uint64(m.leases);
  if (m.coreSeconds != null) w.uint32(49).double(m.coreSeconds);
  if (m.byteSeconds != null) w.uint32(57).double(m.byteSeconds);
  if (m.invocations != null) w.uint32(64).uint64(m.invocations);
}

function readUsageRow(r: Reader): Messages["UsageRow"] {
  const m: Messages["UsageRow"] = { day: "", uid: 0, user: "", account: "", leases: 0, coreSeconds: 0, byteSeconds: 0, invocations: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.day = r.string(); break;
      case 2: m.uid = r.uint32(); break;
      case 3: m.user = r.string(); break;
      case 4: m.account = r.string(); break;
      case 5: m.leases = uint64(r); break;
      case 6: m.coreSeconds = r.double(); break;
      case 7: m.byteSeconds = r.double(); break;
      case 8: m.invocations = uint64(r); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeAccountQuota(w: Writer, m: Init<Messages["AccountQuota"]>): void {
  if (m.account != null) w.uint32(10).string(m.account);
  if (m.limitCoreSeconds != null) w.uint32(17).double(m.limitCoreSeconds);
  if (m.usedCoreSeconds != null) w.uint32(25).double(m.usedCoreSeconds);
}

function readAccountQuota(r: Reader): Messages["AccountQuota"] {
  const m: Messages["AccountQuota"] = { account: "", limitCoreSeconds: 0, usedCoreSeconds: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.account = r.string(); break;
      case 2: m.limitCoreSeconds = r.double(); break;
      case 3: m.usedCoreSeconds = r.double(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeGetUsageResponse(w: Writer, m: Init<Messages["GetUsageResponse"]>): void {
  if (m.rows != null)
    for (const each of m.rows) {
      w.uint32(10).fork();
      writeUsageRow(w, each);
      w.ldelim();
    }
  if (m.fromDay != null) w.uint32(18).string(m.fromDay);
  if (m.toDay != null) w.uint32(26).string(m.toDay);
  if (m.timeZone != null) w.uint32(34).string(m.timeZone);
  if (m.quotas != null)
    for (const each of m.quotas) {
      w.uint32(42).fork();
      writeAccountQuota(w, each);
      w.ldelim();
    }
  if (m.quotaResetsInMs != null) w.uint32(48).uint64(m.quotaResetsInMs);
  if (m.allUsers != null) w.uint32(56).bool(m.allUsers);
  if (m.truncated != null) w.uint32(64).bool(m.truncated);
}

function readGetUsageResponse(r: Reader): Messages["GetUsageResponse"] {
  const m: Messages["GetUsageResponse"] = { rows: [], fromDay: "", toDay: "", timeZone: "", quotas: [], quotaResetsInMs: 0, allUsers: false, truncated: false };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.rows.push(readUsageRow(r));
        leave(r, outer);
        break;
      }
      case 2: m.fromDay = r.string(); break;
      case 3: m.toDay = r.string(); break;
      case 4: m.timeZone = r.string(); break;
      case 5: {
        const outer = enter(r);
        m.quotas.push(readAccountQuota(r));
        leave(r, outer);
        break;
      }
      case 6: m.quotaResetsInMs = uint64(r); break;
      case 7: m.allUsers = r.bool(); break;
      case 8: m.truncated = r.bool(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeGetGainRequest(w: Writer, m: Init<Messages["GetGainRequest"]>): void {
  if (m.fromUnixMs != null) w.uint32(8).uint64(m.fromUnixMs);
  if (m.toUnixMs != null) w.uint32(16).uint64(m.toUnixMs);
}

function readGetGainRequest(r: Reader): Messages["GetGainRequest"] {
  const m: Messages["GetGainRequest"] = { fromUnixMs: 0, toUnixMs: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.fromUnixMs = uint64(r); break;
      case 2: m.toUnixMs = uint64(r); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeGainHours(w: Writer, m: Init<Messages["GainHours"]>): void {
  if (m.total != null) w.uint32(9).double(m.total);
  if (m.slurmAlone != null) w.uint32(17).double(m.slurmAlone);
  if (m.lent != null) w.uint32(25).double(m.lent);
  if (m.beyondPacking != null) w.uint32(33).double(m.beyondPacking);
  if (m.perfectPacking != null) w.uint32(41).double(m.perfectPacking);
}

function readGainHours(r: Reader): Messages["GainHours"] {
  const m: Messages["GainHours"] = { total: 0, slurmAlone: 0, lent: 0, beyondPacking: 0, perfectPacking: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.total = r.double(); break;
      case 2: m.slurmAlone = r.double(); break;
      case 3: m.lent = r.double(); break;
      case 4: m.beyondPacking = r.double(); break;
      case 5: m.perfectPacking = r.double(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeWaitingSide(w: Writer, m: Init<Messages["WaitingSide"]>): void {
  if (m.waitedPercent != null) w.uint32(9).double(m.waitedPercent);
  if (m.nodes != null) w.uint32(17).double(m.nodes);
  if (m.jobCoreHours != null) w.uint32(25).double(m.jobCoreHours);
}

function readWaitingSide(r: Reader): Messages["WaitingSide"] {
  const m: Messages["WaitingSide"] = { waitedPercent: 0, nodes: 0, jobCoreHours: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.waitedPercent = r.double(); break;
      case 2: m.nodes = r.double(); break;
      case 3: m.jobCoreHours = r.double(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeWaitingComparison(w: Writer, m: Init<Messages["WaitingComparison"]>): void {
  if (m.lending != null) {
    w.uint32(10).fork();
    writeWaitingSide(w, m.lending);
    w.ldelim();
  }
  if (m.heldOut != null) {
    w.uint32(18).fork();
    writeWaitingSide(w, m.heldOut);
    w.ldelim();
  }
  if (m.differencePercent != null) w.uint32(25).double(m.differencePercent);
  if (m.lowPercent != null) w.uint32(33).double(m.lowPercent);
  if (m.highPercent != null) w.uint32(41).double(m.highPercent);
}

function readWaitingComparison(r: Reader): Messages["WaitingComparison"] {
  const m: Messages["WaitingComparison"] = { lending: null, heldOut: null, differencePercent: 0, lowPercent: 0, highPercent: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.lending = readWaitingSide(r);
        leave(r, outer);
        break;
      }
      case 2: {
        const outer = enter(r);
        m.heldOut = readWaitingSide(r);
        leave(r, outer);
        break;
      }
      case 3: m.differencePercent = r.double(); break;
      case 4: m.lowPercent = r.double(); break;
      case 5: m.highPercent = r.double(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeGainCost(w: Writer, m: Init<Messages["GainCost"]>): void {
  if (m.guardActions != null) w.uint32(8).uint64(m.guardActions);
  if (m.leasesReclaimed != null) w.uint32(16).uint64(m.leasesReclaimed);
  if (m.cpuPressurePercent != null) w.uint32(25).double(m.cpuPressurePercent);
  if (m.memoryPressurePercent != null) w.uint32(33).double(m.memoryPressurePercent);
  if (m.holdOutDifferencePercent != null) w.uint32(41).double(m.holdOutDifferencePercent);
  if (m.receipts != null) w.uint32(48).uint64(m.receipts);
  if (m.holdOutCpu != null) {
    w.uint32(58).fork();
    writeWaitingComparison(w, m.holdOutCpu);
    w.ldelim();
  }
  if (m.holdOutMemory != null) {
    w.uint32(66).fork();
    writeWaitingComparison(w, m.holdOutMemory);
    w.ldelim();
  }
}

function readGainCost(r: Reader): Messages["GainCost"] {
  const m: Messages["GainCost"] = { guardActions: 0, leasesReclaimed: 0, cpuPressurePercent: 0, memoryPressurePercent: 0, holdOutDifferencePercent: 0, receipts: 0, holdOutCpu: null, holdOutMemory: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.guardActions = uint64(r); break;
      case 2: m.leasesReclaimed = uint64(r); break;
      case 3: m.cpuPressurePercent = r.double(); break;
      case 4: m.memoryPressurePercent = r.double(); break;
      case 5: m.holdOutDifferencePercent = r.double(); break;
      case 6: m.receipts = uint64(r); break;
      case 7: {
        const outer = enter(r);
        m.holdOutCpu = readWaitingComparison(r);
        leave(r, outer);
        break;
      }
      case 8: {
        const outer = enter(r);
        m.holdOutMemory = readWaitingComparison(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeGetGainResponse(w: Writer, m: Init<Messages["GetGainResponse"]>): void {
  if (m.fromUnixMs != null) w.uint32(8).uint64(m.fromUnixMs);
  if (m.toUnixMs != null) w.uint32(16).uint64(m.toUnixMs);
  if (m.covered != null) w.uint32(25).double(m.covered);
  if (m.coreHours != null) {
    w.uint32(34).fork();
    writeGainHours(w, m.coreHours);
    w.ldelim();
  }
  if (m.gibHours != null) {
    w.uint32(42).fork();
    writeGainHours(w, m.gibHours);
    w.ldelim();
  }
  if (m.money != null) w.uint32(49).double(m.money);
  if (m.currency != null) w.uint32(58).string(m.currency);
  if (m.cost != null) {
    w.uint32(66).fork();
    writeGainCost(w, m.cost);
    w.ldelim();
  }
  if (m.reclaims != null) {
    w.uint32(74).fork();
    writeReclaimTimes(w, m.reclaims);
    w.ldelim();
  }
}

function readGetGainResponse(r: Reader): Messages["GetGainResponse"] {
  const m: Messages["GetGainResponse"] = { fromUnixMs: 0, toUnixMs: 0, covered: 0, coreHours: null, gibHours: null, money: 0, currency: "", cost: null, reclaims: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.fromUnixMs = uint64(r); break;
      case 2: m.toUnixMs = uint64(r); break;
      case 3: m.covered = r.double(); break;
      case 4: {
        const outer = enter(r);
        m.coreHours = readGainHours(r);
        leave(r, outer);
        break;
      }
      case 5: {
        const outer = enter(r);
        m.gibHours = readGainHours(r);
        leave(r, outer);
        break;
      }
      case 6: m.money = r.double(); break;
      case 7: m.currency = r.string(); break;
      case 8: {
        const outer = enter(r);
        m.cost = readGainCost(r);
        leave(r, outer);
        break;
      }
      case 9: {
        const outer = enter(r);
        m.reclaims = readReclaimTimes(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeReclaimTimes(w: Writer, m: Init<Messages["ReclaimTimes"]>): void {
  if (m.count != null) w.uint32(8).uint64(m.count);
  if (m.p50Us != null) w.uint32(16).uint64(m.p50Us);
  if (m.p99Us != null) w.uint32(24).uint64(m.p99Us);
  if (m.maxUs != null) w.uint32(32).uint64(m.maxUs);
}

function readReclaimTimes(r: Reader): Messages["ReclaimTimes"] {
  const m: Messages["ReclaimTimes"] = { count: 0, p50Us: 0, p99Us: 0, maxUs: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.count = uint64(r); break;
      case 2: m.p50Us = uint64(r); break;
      case 3: m.p99Us = uint64(r); break;
      case 4: m.maxUs = uint64(r); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeGrantRequest(w: Writer, m: Init<Messages["GrantRequest"]>): void {
  if (m.leaseId != null) w.uint32(10).string(m.leaseId);
  if (m.request != null) {
    w.uint32(18).fork();
    writeLeaseRequest(w, m.request);
    w.ldelim();
  }
  if (m.owner != null) {
    w.uint32(26).fork();
    writePrincipal(w, m.owner);
    w.ldelim();
  }
  if (m.account != null) w.uint32(34).string(m.account);
  if (m.partition != null) w.uint32(42).string(m.partition);
  if (m.ahead != null) w.uint32(48).bool(m.ahead);
}

function readGrantRequest(r: Reader): Messages["GrantRequest"] {
  const m: Messages["GrantRequest"] = { leaseId: "", request: null, owner: null, account: "", partition: "", ahead: false };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.leaseId = r.string(); break;
      case 2: {
        const outer = enter(r);
        m.request = readLeaseRequest(r);
        leave(r, outer);
        break;
      }
      case 3: {
        const outer = enter(r);
        m.owner = readPrincipal(r);
        leave(r, outer);
        break;
      }
      case 4: m.account = r.string(); break;
      case 5: m.partition = r.string(); break;
      case 6: m.ahead = r.bool(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeGrantResponse(w: Writer, m: Init<Messages["GrantResponse"]>): void {
  if (m.lease != null) {
    w.uint32(10).fork();
    writeLease(w, m.lease);
    w.ldelim();
  }
  if (m.endpoint != null) {
    w.uint32(18).fork();
    writeEndpoint(w, m.endpoint);
    w.ldelim();
  }
  if (m.ahead != null) w.uint32(24).bool(m.ahead);
}

function readGrantResponse(r: Reader): Messages["GrantResponse"] {
  const m: Messages["GrantResponse"] = { lease: null, endpoint: null, ahead: false };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.lease = readLease(r);
        leave(r, outer);
        break;
      }
      case 2: {
        const outer = enter(r);
        m.endpoint = readEndpoint(r);
        leave(r, outer);
        break;
      }
      case 3: m.ahead = r.bool(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeRenewRequest(w: Writer, m: Init<Messages["RenewRequest"]>): void {
  if (m.leaseId != null) w.uint32(10).string(m.leaseId);
  if (m.caller != null) {
    w.uint32(18).fork();
    writePrincipal(w, m.caller);
    w.ldelim();
  }
}

function readRenewRequest(r: Reader): Messages["RenewRequest"] {
  const m: Messages["RenewRequest"] = { leaseId: "", caller: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.leaseId = r.string(); break;
      case 2: {
        const outer = enter(r);
        m.caller = readPrincipal(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeRenewResponse(w: Writer, m: Init<Messages["RenewResponse"]>): void {
  if (m.lease != null) {
    w.uint32(10).fork();
    writeLease(w, m.lease);
    w.ldelim();
  }
}

function readRenewResponse(r: Reader): Messages["RenewResponse"] {
  const m: Messages["RenewResponse"] = { lease: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.lease = readLease(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeReleaseRequest(w: Writer, m: Init<Messages["ReleaseRequest"]>): void {
  if (m.leaseId != null) w.uint32(10).string(m.leaseId);
  if (m.caller != null) {
    w.uint32(18).fork();
    writePrincipal(w, m.caller);
    w.ldelim();
  }
}

function readReleaseRequest(r: Reader): Messages["ReleaseRequest"] {
  const m: Messages["ReleaseRequest"] = { leaseId: "", caller: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.leaseId = r.string(); break;
      case 2: {
        const outer = enter(r);
        m.caller = readPrincipal(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeReleaseResponse(w: Writer, m: Init<Messages["ReleaseResponse"]>): void {
  if (m.lease != null) {
    w.uint32(10).fork();
    writeLease(w, m.lease);
    w.ldelim();
  }
}

function readReleaseResponse(r: Reader): Messages["ReleaseResponse"] {
  const m: Messages["ReleaseResponse"] = { lease: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.lease = readLease(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeListLeasesRequest(w: Writer, m: Init<Messages["ListLeasesRequest"]>): void {
  if (m.caller != null) {
    w.uint32(10).fork();
    writePrincipal(w, m.caller);
    w.ldelim();
  }
}

function readListLeasesRequest(r: Reader): Messages["ListLeasesRequest"] {
  const m: Messages["ListLeasesRequest"] = { caller: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.caller = readPrincipal(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeListLeasesResponse(w: Writer, m: Init<Messages["ListLeasesResponse"]>): void {
  if (m.leases != null)
    for (const each of m.leases) {
      w.uint32(10).fork();
      writeLease(w, each);
      w.ldelim();
    }
}

function readListLeasesResponse(r: Reader): Messages["ListLeasesResponse"] {
  const m: Messages["ListLeasesResponse"] = { leases: [] };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.leases.push(readLease(r));
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeGetNodeRequest(_w: Writer, _m: Init<Messages["GetNodeRequest"]>): void {
}

function readGetNodeRequest(r: Reader): Messages["GetNodeRequest"] {
  const m: Messages["GetNodeRequest"] = {};
  while (r.pos < r.len) {
    const tag = r.uint32();
    r.skipType(tag & 7);
  }
  return m;
}

function writeGetNodeResponse(w: Writer, m: Init<Messages["GetNodeResponse"]>): void {
  if (m.offer != null) {
    w.uint32(10).fork();
    writeOffer(w, m.offer);
    w.ldelim();
  }
  if (m.findings != null)
    for (const [key, value] of Object.entries(m.findings))
      w.uint32(18).fork().uint32(10).string(key).uint32(18).string(String(value)).ldelim();
}

function readGetNodeResponse(r: Reader): Messages["GetNodeResponse"] {
  const m: Messages["GetNodeResponse"] = { offer: null, findings: {} };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.offer = readOffer(r);
        leave(r, outer);
        break;
      }
      case 2: readEntry(r, m.findings); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeDrainRequest(w: Writer, m: Init<Messages["DrainRequest"]>): void {
  if (m.mode != null) {
    const value = ReclaimMode.number(m.mode);
    if (value !== undefined) w.uint32(8).int32(value);
  }
  if (m.budgetMs != null) w.uint32(16).uint64(m.budgetMs);
  if (m.reason != null) w.uint32(26).string(m.reason);
  if (m.caller != null) {
    w.uint32(34).fork();
    writePrincipal(w, m.caller);
    w.ldelim();
  }
}

function readDrainRequest(r: Reader): Messages["DrainRequest"] {
  const m: Messages["DrainRequest"] = { mode: "RECLAIM_MODE_UNSPECIFIED", budgetMs: 0, reason: "", caller: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.mode = ReclaimMode.word(r.int32()); break;
      case 2: m.budgetMs = uint64(r); break;
      case 3: m.reason = r.string(); break;
      case 4: {
        const outer = enter(r);
        m.caller = readPrincipal(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeDrainResponse(w: Writer, m: Init<Messages["DrainResponse"]>): void {
  if (m.outcome != null) {
    w.uint32(10).fork();
    writeNodeOutcome(w, m.outcome);
    w.ldelim();
  }
}

function readDrainResponse(r: Reader): Messages["DrainResponse"] {
  const m: Messages["DrainResponse"] = { outcome: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.outcome = readNodeOutcome(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeResumeRequest(w: Writer, m: Init<Messages["ResumeRequest"]>): void {
  if (m.caller != null) {
    w.uint32(10).fork();
    writePrincipal(w, m.caller);
    w.ldelim();
  }
}

function readResumeRequest(r: Reader): Messages["ResumeRequest"] {
  const m: Messages["ResumeRequest"] = { caller: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.caller = readPrincipal(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeResumeResponse(w: Writer, m: Init<Messages["ResumeResponse"]>): void {
  if (m.outcome != null) {
    w.uint32(10).fork();
    writeNodeOutcome(w, m.outcome);
    w.ldelim();
  }
}

function readResumeResponse(r: Reader): Messages["ResumeResponse"] {
  const m: Messages["ResumeResponse"] = { outcome: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.outcome = readNodeOutcome(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeReclaimRequest(w: Writer, m: Init<Messages["ReclaimRequest"]>): void {
  if (m.leaseIds != null) for (const each of m.leaseIds) w.uint32(10).string(each);
  if (m.mode != null) {
    const value = ReclaimMode.number(m.mode);
    if (value !== undefined) w.uint32(16).int32(value);
  }
  if (m.budgetMs != null) w.uint32(24).uint64(m.budgetMs);
  if (m.reason != null) w.uint32(34).string(m.reason);
  if (m.caller != null) {
    w.uint32(42).fork();
    writePrincipal(w, m.caller);
    w.ldelim();
  }
}

function readReclaimRequest(r: Reader): Messages["ReclaimRequest"] {
  const m: Messages["ReclaimRequest"] = { leaseIds: [], mode: "RECLAIM_MODE_UNSPECIFIED", budgetMs: 0, reason: "", caller: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.leaseIds.push(r.string()); break;
      case 2: m.mode = ReclaimMode.word(r.int32()); break;
      case 3: m.budgetMs = uint64(r); break;
      case 4: m.reason = r.string(); break;
      case 5: {
        const outer = enter(r);
        m.caller = readPrincipal(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeReclaimResponse(w: Writer, m: Init<Messages["ReclaimResponse"]>): void {
  if (m.outcome != null) {
    w.uint32(10).fork();
    writeNodeOutcome(w, m.outcome);
    w.ldelim();
  }
}

function readReclaimResponse(r: Reader): Messages["ReclaimResponse"] {
  const m: Messages["ReclaimResponse"] = { outcome: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.outcome = readNodeOutcome(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeGetHealthRequest(_w: Writer, _m: Init<Messages["GetHealthRequest"]>): void {
}

function readGetHealthRequest(r: Reader): Messages["GetHealthRequest"] {
  const m: Messages["GetHealthRequest"] = {};
  while (r.pos < r.len) {
    const tag = r.uint32();
    r.skipType(tag & 7);
  }
  return m;
}

function writeGetHealthResponse(w: Writer, m: Init<Messages["GetHealthResponse"]>): void {
  if (m.version != null) w.uint32(10).string(m.version);
  if (m.unixMs != null) w.uint32(16).uint64(m.unixMs);
  if (m.findings != null)
    for (const [key, value] of Object.entries(m.findings))
      w.uint32(26).fork().uint32(10).string(key).uint32(18).string(String(value)).ldelim();
  if (m.problems != null) for (const each of m.problems) w.uint32(34).string(each);
}

function readGetHealthResponse(r: Reader): Messages["GetHealthResponse"] {
  const m: Messages["GetHealthResponse"] = { version: "", unixMs: 0, findings: {}, problems: [] };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.version = r.string(); break;
      case 2: m.unixMs = uint64(r); break;
      case 3: readEntry(r, m.findings); break;
      case 4: m.problems.push(r.string()); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeLocalRequest(w: Writer, message: Init<Messages["LocalRequest"]>): void {
  const m = message as Init<Loose<Messages["LocalRequest"]>>;
  if (m.id != null) w.uint32(8).uint32(m.id >>> 0);
  if (m.lease != null) {
    w.uint32(18).fork();
    writeLocalLease(w, m.lease);
    w.ldelim();
  }
  if (m.renew != null) {
    w.uint32(26).fork();
    writeLocalRenew(w, m.renew);
    w.ldelim();
  }
  if (m.release != null) {
    w.uint32(34).fork();
    writeLocalRelease(w, m.release);
    w.ldelim();
  }
  if (m.list != null) {
    w.uint32(42).fork();
    writeLocalList(w, m.list);
    w.ldelim();
  }
  if (m.hook != null) {
    w.uint32(50).fork();
    writeLocalHook(w, m.hook);
    w.ldelim();
  }
  if (m.status != null) {
    w.uint32(58).fork();
    writeLocalStatus(w, m.status);
    w.ldelim();
  }
  if (m.drain != null) {
    w.uint32(66).fork();
    writeLocalDrain(w, m.drain);
    w.ldelim();
  }
  if (m.resume != null) {
    w.uint32(74).fork();
    writeLocalResume(w, m.resume);
    w.ldelim();
  }
  if (m.reclaim != null) {
    w.uint32(82).fork();
    writeLocalReclaim(w, m.reclaim);
    w.ldelim();
  }
  if (m.job != null) {
    w.uint32(90).fork();
    writeLocalJob(w, m.job);
    w.ldelim();
  }
}

function readLocalRequest(r: Reader): Messages["LocalRequest"] {
  const m: Loose<Messages["LocalRequest"]> = { id: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.id = r.uint32(); break;
      case 2: {
        const outer = enter(r);
        m.lease = readLocalLease(r);
        leave(r, outer);
        break;
      }
      case 3: {
        const outer = enter(r);
        m.renew = readLocalRenew(r);
        leave(r, outer);
        break;
      }
      case 4: {
        const outer = enter(r);
        m.release = readLocalRelease(r);
        leave(r, outer);
        break;
      }
      case 5: {
        const outer = enter(r);
        m.list = readLocalList(r);
        leave(r, outer);
        break;
      }
      case 6: {
        const outer = enter(r);
        m.hook = readLocalHook(r);
        leave(r, outer);
        break;
      }
      case 7: {
        const outer = enter(r);
        m.status = readLocalStatus(r);
        leave(r, outer);
        break;
      }
      case 8: {
        const outer = enter(r);
        m.drain = readLocalDrain(r);
        leave(r, outer);
        break;
      }
      case 9: {
        const outer = enter(r);
        m.resume = readLocalResume(r);
        leave(r, outer);
        break;
      }
      case 10: {
        const outer = enter(r);
        m.reclaim = readLocalReclaim(r);
        leave(r, outer);
        break;
      }
      case 11: {
        const outer = enter(r);
        m.job = readLocalJob(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  if (m.lease !== undefined) m.body = "lease";
  if (m.renew !== undefined) m.body = "renew";
  if (m.release !== undefined) m.body = "release";
  if (m.list !== undefined) m.body = "list";
  if (m.hook !== undefined) m.body = "hook";
  if (m.status !== undefined) m.body = "status";
  if (m.drain !== undefined) m.body = "drain";
  if (m.resume !== undefined) m.body = "resume";
  if (m.reclaim !== undefined) m.body = "reclaim";
  if (m.job !== undefined) m.body = "job";
  return m as Messages["LocalRequest"];
}

function writeLocalLease(w: Writer, m: Init<Messages["LocalLease"]>): void {
  if (m.request != null) {
    w.uint32(10).fork();
    writeLeaseRequest(w, m.request);
    w.ldelim();
  }
  if (m.jobId != null) w.uint32(16).uint32(m.jobId >>> 0);
}

function readLocalLease(r: Reader): Messages["LocalLease"] {
  const m: Messages["LocalLease"] = { request: null, jobId: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.request = readLeaseRequest(r);
        leave(r, outer);
        break;
      }
      case 2: m.jobId = r.uint32(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeLocalRenew(w: Writer, m: Init<Messages["LocalRenew"]>): void {
  if (m.leaseId != null) w.uint32(10).string(m.leaseId);
  if (m.node != null) w.uint32(18).string(m.node);
}

function readLocalRenew(r: Reader): Messages["LocalRenew"] {
  const m: Messages["LocalRenew"] = { leaseId: "", node: "" };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.leaseId = r.string(); break;
      case 2: m.node = r.string(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeLocalRelease(w: Writer, m: Init<Messages["LocalRelease"]>): void {
  if (m.leaseId != null) w.uint32(10).string(m.leaseId);
  if (m.node != null) w.uint32(18).string(m.node);
}

function readLocalRelease(r: Reader): Messages["LocalRelease"] {
  const m: Messages["LocalRelease"] = { leaseId: "", node: "" };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.leaseId = r.string(); break;
      case 2: m.node = r.string(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeLocalList(_w: Writer, _m: Init<Messages["LocalList"]>): void {
}

function readLocalList(r: Reader): Messages["LocalList"] {
  const m: Messages["LocalList"] = {};
  while (r.pos < r.len) {
    const tag = r.uint32();
    r.skipType(tag & 7);
  }
  return m;
}

function writeLocalStatus(_w: Writer, _m: Init<Messages["LocalStatus"]>): void {
}

function readLocalStatus(r: Reader): Messages["LocalStatus"] {
  const m: Messages["LocalStatus"] = {};
  while (r.pos < r.len) {
    const tag = r.uint32();
    r.skipType(tag & 7);
  }
  return m;
}

function writeLocalJob(w: Writer, m: Init<Messages["LocalJob"]>): void {
  if (m.jobId != null) w.uint32(8).uint32(m.jobId >>> 0);
}

function readLocalJob(r: Reader): Messages["LocalJob"] {
  const m: Messages["LocalJob"] = { jobId: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.jobId = r.uint32(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeLocalHook(w: Writer, m: Init<Messages["LocalHook"]>): void {
  if (m.event != null) {
    const value = HookEvent.number(m.event);
    if (value !== undefined) w.uint32(8).int32(value);
  }
  if (m.jobId != null) w.uint32(16).uint32(m.jobId >>> 0);
  if (m.uid != null) w.uint32(24).uint32(m.uid >>> 0);
  if (m.consent != null) {
    const value = Consent.number(m.consent);
    if (value !== undefined) w.uint32(32).int32(value);
  }
  if (m.cores != null && m.cores.length > 0)
    packed(w.uint32(42), m.cores.map((each) => each >>> 0));
  if (m.memoryBytes != null) w.uint32(48).uint64(m.memoryBytes);
  if (m.partition != null) w.uint32(58).string(m.partition);
  if (m.account != null) w.uint32(66).string(m.account);
  if (m.qos != null) w.uint32(74).string(m.qos);
  if (m.stepId != null) w.uint32(80).uint32(m.stepId >>> 0);
}

function readLocalHook(r: Reader): Messages["LocalHook"] {
  const m: Messages["LocalHook"] = { event: "HOOK_EVENT_UNSPECIFIED", jobId: 0, uid: 0, consent: "CONSENT_UNSPECIFIED", cores: [], memoryBytes: 0, partition: "", account: "", qos: "", stepId: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.event = HookEvent.word(r.int32()); break;
      case 2: m.jobId = r.uint32(); break;
      case 3: m.uid = r.uint32(); break;
      case 4: m.consent = Consent.word(r.int32()); break;
      case 5: {
        if ((tag & 7) === 2) unpack(r, m.cores, uint32);
        else m.cores.push(r.uint32());
        break;
      }
      case 6: m.memoryBytes = uint64(r); break;
      case 7: m.partition = r.string(); break;
      case 8: m.account = r.string(); break;
      case 9: m.qos = r.string(); break;
      case 10: m.stepId = r.uint32(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeLocalResponse(w: Writer, message: Init<Messages["LocalResponse"]>): void {
  const m = message as Init<Loose<Messages["LocalResponse"]>>;
  if (m.id != null) w.uint32(8).uint32(m.id >>> 0);
  if (m.code != null) w.uint32(16).uint32(m.code >>> 0);
  if (m.message != null) w.uint32(26).string(m.message);
  if (m.leased != null) {
    w.uint32(34).fork();
    writeLocalLeased(w, m.leased);
    w.ldelim();
  }
  if (m.lease != null) {
    w.uint32(42).fork();
    writeLease(w, m.lease);
    w.ldelim();
  }
  if (m.leases != null) {
    w.uint32(50).fork();
    writeLocalLeases(w, m.leases);
    w.ldelim();
  }
  if (m.hookDone != null) {
    w.uint32(58).fork();
    writeLocalHookDone(w, m.hookDone);
    w.ldelim();
  }
  if (m.status != null) {
    w.uint32(66).fork();
    writeLocalStatusReport(w, m.status);
    w.ldelim();
  }
  if (m.revoked != null) {
    w.uint32(74).fork();
    writeLocalRevoked(w, m.revoked);
    w.ldelim();
  }
  if (m.draining != null) {
    w.uint32(82).fork();
    writeLocalDraining(w, m.draining);
    w.ldelim();
  }
  if (m.receipts != null) {
    w.uint32(90).fork();
    writeLocalReceipts(w, m.receipts);
    w.ldelim();
  }
  if (m.outcome != null) {
    w.uint32(122).fork();
    writeNodeOutcome(w, m.outcome);
    w.ldelim();
  }
}

function readLocalResponse(r: Reader): Messages["LocalResponse"] {
  const m: Loose<Messages["LocalResponse"]> = { id: 0, code: 0, message: "" };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.id = r.uint32(); break;
      case 2: m.code = r.uint32(); break;
      case 3: m.message = r.string(); break;
      case 4: {
        const outer = enter(r);
        m.leased = readLocalLeased(r);
        leave(r, outer);
        break;
      }
      case 5: {
        const outer = enter(r);
        m.lease = readLease(r);
        leave(r, outer);
        break;
      }
      case 6: {
        const outer = enter(r);
        m.leases = readLocalLeases(r);
        leave(r, outer);
        break;
      }
      case 7: {
        const outer = enter(r);
        m.hookDone = readLocalHookDone(r);
        leave(r, outer);
        break;
      }
      case 8: {
        const outer = enter(r);
        m.status = readLocalStatusReport(r);
        leave(r, outer);
        break;
      }
      case 9: {
        const outer = enter(r);
        m.revoked = readLocalRevoked(r);
        leave(r, outer);
        break;
      }
      case 10: {
        const outer = enter(r);
        m.draining = readLocalDraining(r);
        leave(r, outer);
        break;
      }
      case 11: {
        const outer = enter(r);
        m.receipts = readLocalReceipts(r);
        leave(r, outer);
        break;
      }
      case 15: {
        const outer = enter(r);
        m.outcome = readNodeOutcome(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  if (m.leased !== undefined) m.body = "leased";
  if (m.lease !== undefined) m.body = "lease";
  if (m.leases !== undefined) m.body = "leases";
  if (m.hookDone !== undefined) m.body = "hookDone";
  if (m.status !== undefined) m.body = "status";
  if (m.revoked !== undefined) m.body = "revoked";
  if (m.draining !== undefined) m.body = "draining";
  if (m.receipts !== undefined) m.body = "receipts";
  if (m.outcome !== undefined) m.body = "outcome";
  return m as Messages["LocalResponse"];
}

function writeLocalLeased(w: Writer, m: Init<Messages["LocalLeased"]>): void {
  if (m.lease != null) {
    w.uint32(10).fork();
    writeLease(w, m.lease);
    w.ldelim();
  }
  if (m.endpoint != null) {
    w.uint32(18).fork();
    writeEndpoint(w, m.endpoint);
    w.ldelim();
  }
}

function readLocalLeased(r: Reader): Messages["LocalLeased"] {
  const m: Messages["LocalLeased"] = { lease: null, endpoint: null };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.lease = readLease(r);
        leave(r, outer);
        break;
      }
      case 2: {
        const outer = enter(r);
        m.endpoint = readEndpoint(r);
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeLocalLeases(w: Writer, m: Init<Messages["LocalLeases"]>): void {
  if (m.leases != null)
    for (const each of m.leases) {
      w.uint32(10).fork();
      writeLease(w, each);
      w.ldelim();
    }
}

function readLocalLeases(r: Reader): Messages["LocalLeases"] {
  const m: Messages["LocalLeases"] = { leases: [] };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.leases.push(readLease(r));
        leave(r, outer);
        break;
      }
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeLocalHookDone(w: Writer, m: Init<Messages["LocalHookDone"]>): void {
  if (m.leasesEnded != null) w.uint32(8).uint32(m.leasesEnded >>> 0);
  if (m.tookUs != null) w.uint32(16).uint64(m.tookUs);
}

function readLocalHookDone(r: Reader): Messages["LocalHookDone"] {
  const m: Messages["LocalHookDone"] = { leasesEnded: 0, tookUs: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.leasesEnded = r.uint32(); break;
      case 2: m.tookUs = uint64(r); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeLocalStatusReport(w: Writer, m: Init<Messages["LocalStatusReport"]>): void {
  if (m.offer != null) {
    w.uint32(10).fork();
    writeOffer(w, m.offer);
    w.ldelim();
  }
  if (m.findings != null)
    for (const [key, value] of Object.entries(m.findings))
      w.uint32(18).fork().uint32(10).string(key).uint32(18).string(String(value)).ldelim();
  if (m.controllerConnected != null) w.uint32(24).bool(m.controllerConnected);
}

function readLocalStatusReport(r: Reader): Messages["LocalStatusReport"] {
  const m: Messages["LocalStatusReport"] = { offer: null, findings: {}, controllerConnected: false };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.offer = readOffer(r);
        leave(r, outer);
        break;
      }
      case 2: readEntry(r, m.findings); break;
      case 3: m.controllerConnected = r.bool(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeLocalRevoked(w: Writer, m: Init<Messages["LocalRevoked"]>): void {
  if (m.leaseId != null) w.uint32(10).string(m.leaseId);
  if (m.state != null) {
    const value = LeaseState.number(m.state);
    if (value !== undefined) w.uint32(16).int32(value);
  }
  if (m.reason != null) {
    const value = Reason.number(m.reason);
    if (value !== undefined) w.uint32(24).int32(value);
  }
}

function readLocalRevoked(r: Reader): Messages["LocalRevoked"] {
  const m: Messages["LocalRevoked"] = { leaseId: "", state: "LEASE_STATE_UNSPECIFIED", reason: "REASON_UNSPECIFIED" };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.leaseId = r.string(); break;
      case 2: m.state = LeaseState.word(r.int32()); break;
      case 3: m.reason = Reason.word(r.int32()); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeLocalDraining(w: Writer, m: Init<Messages["LocalDraining"]>): void {
  if (m.leaseId != null) w.uint32(10).string(m.leaseId);
  if (m.remainingMs != null) w.uint32(16).uint64(m.remainingMs);
  if (m.reason != null) {
    const value = Reason.number(m.reason);
    if (value !== undefined) w.uint32(24).int32(value);
  }
}

function readLocalDraining(r: Reader): Messages["LocalDraining"] {
  const m: Messages["LocalDraining"] = { leaseId: "", remainingMs: 0, reason: "REASON_UNSPECIFIED" };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.leaseId = r.string(); break;
      case 2: m.remainingMs = uint64(r); break;
      case 3: m.reason = Reason.word(r.int32()); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeLocalDrain(w: Writer, m: Init<Messages["LocalDrain"]>): void {
  if (m.mode != null) {
    const value = ReclaimMode.number(m.mode);
    if (value !== undefined) w.uint32(8).int32(value);
  }
  if (m.budgetMs != null) w.uint32(16).uint64(m.budgetMs);
  if (m.reason != null) w.uint32(26).string(m.reason);
}

function readLocalDrain(r: Reader): Messages["LocalDrain"] {
  const m: Messages["LocalDrain"] = { mode: "RECLAIM_MODE_UNSPECIFIED", budgetMs: 0, reason: "" };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.mode = ReclaimMode.word(r.int32()); break;
      case 2: m.budgetMs = uint64(r); break;
      case 3: m.reason = r.string(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeLocalResume(_w: Writer, _m: Init<Messages["LocalResume"]>): void {
}

function readLocalResume(r: Reader): Messages["LocalResume"] {
  const m: Messages["LocalResume"] = {};
  while (r.pos < r.len) {
    const tag = r.uint32();
    r.skipType(tag & 7);
  }
  return m;
}

function writeLocalReclaim(w: Writer, m: Init<Messages["LocalReclaim"]>): void {
  if (m.leaseIds != null) for (const each of m.leaseIds) w.uint32(10).string(each);
  if (m.mode != null) {
    const value = ReclaimMode.number(m.mode);
    if (value !== undefined) w.uint32(16).int32(value);
  }
  if (m.budgetMs != null) w.uint32(24).uint64(m.budgetMs);
  if (m.reason != null) w.uint32(34).string(m.reason);
}

function readLocalReclaim(r: Reader): Messages["LocalReclaim"] {
  const m: Messages["LocalReclaim"] = { leaseIds: [], mode: "RECLAIM_MODE_UNSPECIFIED", budgetMs: 0, reason: "" };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: m.leaseIds.push(r.string()); break;
      case 2: m.mode = ReclaimMode.word(r.int32()); break;
      case 3: m.budgetMs = uint64(r); break;
      case 4: m.reason = r.string(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

function writeLocalReceipts(w: Writer, m: Init<Messages["LocalReceipts"]>): void {
  if (m.receipts != null)
    for (const each of m.receipts) {
      w.uint32(10).fork();
      writeReceipt(w, each);
      w.ldelim();
    }
  if (m.leftOut != null) w.uint32(16).uint32(m.leftOut >>> 0);
}

function readLocalReceipts(r: Reader): Messages["LocalReceipts"] {
  const m: Messages["LocalReceipts"] = { receipts: [], leftOut: 0 };
  while (r.pos < r.len) {
    const tag = r.uint32();
    switch (tag >>> 3) {
      case 1: {
        const outer = enter(r);
        m.receipts.push(readReceipt(r));
        leave(r, outer);
        break;
      }
      case 2: m.leftOut = r.uint32(); break;
      default: r.skipType(tag & 7);
    }
  }
  return m;
}

export const codecs: { readonly [N in MessageName]: Codec<Messages[N]> } = {
  Spare: { write: writeSpare, read: readSpare },
  Spell: { write: writeSpell, read: readSpell },
  Offer: { write: writeOffer, read: readOffer },
  Principal: { write: writePrincipal, read: readPrincipal },
  LeaseRequest: { write: writeLeaseRequest, read: readLeaseRequest },
  Endpoint: { write: writeEndpoint, read: readEndpoint },
  Lease: { write: writeLease, read: readLease },
  Refusal: { write: writeRefusal, read: readRefusal },
  NodeOutcome: { write: writeNodeOutcome, read: readNodeOutcome },
  JobFact: { write: writeJobFact, read: readJobFact },
  Pressure: { write: writePressure, read: readPressure },
  ReceiptGuest: { write: writeReceiptGuest, read: readReceiptGuest },
  ReceiptAction: { write: writeReceiptAction, read: readReceiptAction },
  Receipt: { write: writeReceipt, read: readReceipt },
  UsageRecord: { write: writeUsageRecord, read: readUsageRecord },
  QuotaExhausted: { write: writeQuotaExhausted, read: readQuotaExhausted },
  ReportRequest: { write: writeReportRequest, read: readReportRequest },
  ReclaimRecord: { write: writeReclaimRecord, read: readReclaimRecord },
  NodeCounters: { write: writeNodeCounters, read: readNodeCounters },
  HorizonTable: { write: writeHorizonTable, read: readHorizonTable },
  HorizonModel: { write: writeHorizonModel, read: readHorizonModel },
  ReportResponse: { write: writeReportResponse, read: readReportResponse },
  RequestLeaseRequest: { write: writeRequestLeaseRequest, read: readRequestLeaseRequest },
  RequestLeaseResponse: { write: writeRequestLeaseResponse, read: readRequestLeaseResponse },
  RenewLeaseRequest: { write: writeRenewLeaseRequest, read: readRenewLeaseRequest },
  RenewLeaseResponse: { write: writeRenewLeaseResponse, read: readRenewLeaseResponse },
  ReleaseLeaseRequest: { write: writeReleaseLeaseRequest, read: readReleaseLeaseRequest },
  ReleaseLeaseResponse: { write: writeReleaseLeaseResponse, read: readReleaseLeaseResponse },
  ControllerServiceListLeasesRequest: { write: writeControllerServiceListLeasesRequest, read: readControllerServiceListLeasesRequest },
  ControllerServiceListLeasesResponse: { write: writeControllerServiceListLeasesResponse, read: readControllerServiceListLeasesResponse },
  ListNodesRequest: { write: writeListNodesRequest, read: readListNodesRequest },
  NodeStatus: { write: writeNodeStatus, read: readNodeStatus },
  ListNodesResponse: { write: writeListNodesResponse, read: readListNodesResponse },
  NodeColumns: { write: writeNodeColumns, read: readNodeColumns },
  Selection: { write: writeSelection, read: readSelection },
  ControllerServiceDrainRequest: { write: writeControllerServiceDrainRequest, read: readControllerServiceDrainRequest },
  ControllerServiceDrainResponse: { write: writeControllerServiceDrainResponse, read: readControllerServiceDrainResponse },
  ControllerServiceResumeRequest: { write: writeControllerServiceResumeRequest, read: readControllerServiceResumeRequest },
  ControllerServiceResumeResponse: { write: writeControllerServiceResumeResponse, read: readControllerServiceResumeResponse },
  ControllerServiceReclaimRequest: { write: writeControllerServiceReclaimRequest, read: readControllerServiceReclaimRequest },
  ControllerServiceReclaimResponse: { write: writeControllerServiceReclaimResponse, read: readControllerServiceReclaimResponse },
  JobFacts: { write: writeJobFacts, read: readJobFacts },
  ListReceiptsRequest: { write: writeListReceiptsRequest, read: readListReceiptsRequest },
  ListReceiptsResponse: { write: writeListReceiptsResponse, read: readListReceiptsResponse },
  Quotas: { write: writeQuotas, read: readQuotas },
  GetUsageRequest: { write: writeGetUsageRequest, read: readGetUsageRequest },
  UsageRow: { write: writeUsageRow, read: readUsageRow },
  AccountQuota: { write: writeAccountQuota, read: readAccountQuota },
  GetUsageResponse: { write: writeGetUsageResponse, read: readGetUsageResponse },
  GetGainRequest: { write: writeGetGainRequest, read: readGetGainRequest },
  GainHours: { write: writeGainHours, read: readGainHours },
  WaitingSide: { write: writeWaitingSide, read: readWaitingSide },
  WaitingComparison: { write: writeWaitingComparison, read: readWaitingComparison },
  GainCost: { write: writeGainCost, read: readGainCost },
  GetGainResponse: { write: writeGetGainResponse, read: readGetGainResponse },
  ReclaimTimes: { write: writeReclaimTimes, read: readReclaimTimes },
  GrantRequest: { write: writeGrantRequest, read: readGrantRequest },
  GrantResponse: { write: writeGrantResponse, read: readGrantResponse },
  RenewRequest: { write: writeRenewRequest, read: readRenewRequest },
  RenewResponse: { write: writeRenewResponse, read: readRenewResponse },
  ReleaseRequest: { write: writeReleaseRequest, read: readReleaseRequest },
  ReleaseResponse: { write: writeReleaseResponse, read: readReleaseResponse },
  ListLeasesRequest: { write: writeListLeasesRequest, read: readListLeasesRequest },
  ListLeasesResponse: { write: writeListLeasesResponse, read: readListLeasesResponse },
  GetNodeRequest: { write: writeGetNodeRequest, read: readGetNodeRequest },
  GetNodeResponse: { write: writeGetNodeResponse, read: readGetNodeResponse },
  DrainRequest: { write: writeDrainRequest, read: readDrainRequest },
  DrainResponse: { write: writeDrainResponse, read: readDrainResponse },
  ResumeRequest: { write: writeResumeRequest, read: readResumeRequest },
  ResumeResponse: { write: writeResumeResponse, read: readResumeResponse },
  ReclaimRequest: { write: writeReclaimRequest, read: readReclaimRequest },
  ReclaimResponse: { write: writeReclaimResponse, read: readReclaimResponse },
  GetHealthRequest: { write: writeGetHealthRequest, read: readGetHealthRequest },
  GetHealthResponse: { write: writeGetHealthResponse, read: readGetHealthResponse },
  LocalRequest: { write: writeLocalRequest, read: readLocalRequest },
  LocalLease: { write: writeLocalLease, read: readLocalLease },
  LocalRenew: { write: writeLocalRenew, read: readLocalRenew },
  LocalRelease: { write: writeLocalRelease, read: readLocalRelease },
  LocalList: { write: writeLocalList, read: readLocalList },
  LocalStatus: { write: writeLocalStatus, read: readLocalStatus },
  LocalJob: { write: writeLocalJob, read: readLocalJob },
  LocalHook: { write: writeLocalHook, read: readLocalHook },
  LocalResponse: { write: writeLocalResponse, read: readLocalResponse },
  LocalLeased: { write: writeLocalLeased, read: readLocalLeased },
  LocalLeases: { write: writeLocalLeases, read: readLocalLeases },
  LocalHookDone: { write: writeLocalHookDone, read: readLocalHookDone },
  LocalStatusReport: { write: writeLocalStatusReport, read: readLocalStatusReport },
  LocalRevoked: { write: writeLocalRevoked, read: readLocalRevoked },
  LocalDraining: { write: writeLocalDraining, read: readLocalDraining },
  LocalDrain: { write: writeLocalDrain, read: readLocalDrain },
  LocalResume: { write: writeLocalResume, read: readLocalResume },
  LocalReclaim: { write: writeLocalReclaim, read: readLocalReclaim },
  LocalReceipts: { write: writeLocalReceipts, read: readLocalReceipts },
};

export const services = {
  ControllerService: {
    Report: { path: "/sublet.v1.ControllerService/Report", request: "ReportRequest", requestStream: true, response: "ReportResponse", responseStream: true },
    RequestLease: { path: "/sublet.v1.ControllerService/RequestLease", request: "RequestLeaseRequest", requestStream: false, response: "RequestLeaseResponse", responseStream: false },
    RenewLease: { path: "/sublet.v1.ControllerService/RenewLease", request: "RenewLeaseRequest", requestStream: false, response: "RenewLeaseResponse", responseStream: false },
    ReleaseLease: { path: "/sublet.v1.ControllerService/ReleaseLease", request: "ReleaseLeaseRequest", requestStream: false, response: "ReleaseLeaseResponse", responseStream: false },
    ListLeases: { path: "/sublet.v1.ControllerService/ListLeases", request: "ControllerServiceListLeasesRequest", requestStream: false, response: "ControllerServiceListLeasesResponse", responseStream: false },
    ListNodes: { path: "/sublet.v1.ControllerService/ListNodes", request: "ListNodesRequest", requestStream: false, response: "ListNodesResponse", responseStream: false },
    Drain: { path: "/sublet.v1.ControllerService/Drain", request: "ControllerServiceDrainRequest", requestStream: false, response: "ControllerServiceDrainResponse", responseStream: false },
    Resume: { path: "/sublet.v1.ControllerService/Resume", request: "ControllerServiceResumeRequest", requestStream: false, response: "ControllerServiceResumeResponse", responseStream: false },
    Reclaim: { path: "/sublet.v1.ControllerService/Reclaim", request: "ControllerServiceReclaimRequest", requestStream: false, response: "ControllerServiceReclaimResponse", responseStream: false },
    ListReceipts: { path: "/sublet.v1.ControllerService/ListReceipts", request: "ListReceiptsRequest", requestStream: false, response: "ListReceiptsResponse", responseStream: false },
    GetGain: { path: "/sublet.v1.ControllerService/GetGain", request: "GetGainRequest", requestStream: false, response: "GetGainResponse", responseStream: false },
    GetUsage: { path: "/sublet.v1.ControllerService/GetUsage", request: "GetUsageRequest", requestStream: false, response: "GetUsageResponse", responseStream: false },
  },
  NodeService: {
    Grant: { path: "/sublet.v1.NodeService/Grant", request: "GrantRequest", requestStream: false, response: "GrantResponse", responseStream: false },
    Renew: { path: "/sublet.v1.NodeService/Renew", request: "RenewRequest", requestStream: false, response: "RenewResponse", responseStream: false },
    Release: { path: "/sublet.v1.NodeService/Release", request: "ReleaseRequest", requestStream: false, response: "ReleaseResponse", responseStream: false },
    ListLeases: { path: "/sublet.v1.NodeService/ListLeases", request: "ListLeasesRequest", requestStream: false, response: "ListLeasesResponse", responseStream: false },
    GetNode: { path: "/sublet.v1.NodeService/GetNode", request: "GetNodeRequest", requestStream: false, response: "GetNodeResponse", responseStream: false },
    Drain: { path: "/sublet.v1.NodeService/Drain", request: "DrainRequest", requestStream: false, response: "DrainResponse", responseStream: false },
    Resume: { path: "/sublet.v1.NodeService/Resume", request: "ResumeRequest", requestStream: false, response: "ResumeResponse", responseStream: false },
    Reclaim: { path: "/sublet.v1.NodeService/Reclaim", request: "ReclaimRequest", requestStream: false, response: "ReclaimResponse", responseStream: false },
    GetHealth: { path: "/sublet.v1.NodeService/GetHealth", request: "GetHealthRequest", requestStream: false, response: "GetHealthResponse", responseStream: false },
  },
} as const;
