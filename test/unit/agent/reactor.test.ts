import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { AgentEvent, Effect } from "../../../agent/reactor/events.ts";
import { nextWakeMs, react } from "../../../agent/reactor/react.ts";
import { Driver, mib, owner, request, setup, token, types } from "./setup.ts";

const me = { uid: owner.uid, all: false };

function ends(effects: readonly Effect[]): string[] {
  return effects.flatMap((effect) => (effect.type === "end" ? [effect.leaseId] : []));
}

function refused(effects: readonly Effect[], call: number): { code: string; reason: unknown } | undefined {
  const found = effects.find((effect) => effect.type === "refuse" && effect.call === call);
  if (found?.type !== "refuse") return undefined;
  return { code: found.error.code, reason: found.error.details.reason };
}

function answered(effects: readonly Effect[], call: number): Effect | undefined {
  return effects.find((effect) => effect.type === "answer" && effect.call === call);
}

test("nothing is lent before adoption, and without a starter", () => {
  const driver = new Driver();
  driver.feed({ type: "memory", availableBytes: 4096 * mib, touchedBytes: new Map() });
  assert.equal(driver.state.spare.length, 0);
  const early = driver.grant("a");
  assert.deepEqual(refused(early.effects, early.call), { code: "RESOURCE_EXHAUSTED", reason: "closed" });
  driver.feed({ type: "adopt", guests: [] });
  assert.equal(driver.state.spare.length, 0);
  assert.deepEqual(types(driver.feed({ type: "starter", up: true })), ["offer"]);
  assert.deepEqual(driver.state.spare[0]?.cores, [0, 1, 2, 3]);
  driver.feed({ type: "starter", up: false });
  assert.equal(driver.state.spare.length, 0);
});

test("grant: start with limits, answer when the executor is ready", () => {
  const driver = Driver.ready();
  const { call, effects } = driver.grant("a", { cores: 2, minCores: 2 }, 9);
  assert.deepEqual(types(effects), ["start", "lease", "offer"]);
  const start = effects[0];
  assert.ok(start?.type === "start");
  assert.deepEqual(start.limits, {
    cores: [2, 3],
    mems: "0",
    cpuQuotaCores: 2,
    memoryBytes: 96 * mib,
    pidsMax: 96,
  });
  assert.equal(start.guest.uid, 200_000);
  const started = driver.feed({ type: "started", leaseId: "a", port: 4711 });
  const answer = answered(started, call);
  assert.ok(answer?.type === "answer" && answer.answer.kind === "leased");
  assert.equal(answer.answer.guest.port, 4711);
  assert.equal(driver.state.book.leases.get("a")?.state, "ACTIVE");
});

test("the same id again: answered with the same lease, once each; a stranger does not get its token", () => {
  const driver = Driver.ready();
  const first = driver.grant("a");
  const second = driver.grant("a");
  assert.deepEqual(types(second.effects), []);
  const started = driver.feed({ type: "started", leaseId: "a", port: 1 });
  assert.ok(answered(started, first.call) && answered(started, second.call));
  const third = driver.grant("a");
  assert.deepEqual(types(third.effects), ["answer"]);
  const stranger = driver.feed({
    type: "grant",
    call: 99,
    leaseId: "a",
    request,
    owner: { ...owner, uid: 1001 },
    holder: undefined,
    token,
  });
  assert.equal(refused(stranger, 99)?.code, "ABORTED");
});

test("bad requests are refused and change nothing", () => {
  const driver = Driver.ready();
  const before = driver.state;
  const wishes = [
    { cores: 0, minCores: 0 },
    { cores: 65, minCores: 1 },
    { kind: "region" as const, cores: 1 },
    { kind: "region" as const, cores: 0, minCores: 0, memoryBytes: 0 },
    { memoryBytes: 0.5 },
    { minCores: 2 },
    { termMs: Number.NaN },
  ];
  for (const wish of wishes) {
    const { call, effects } = driver.grant("a", wish);
    assert.equal(refused(effects, call)?.code, "INVALID_ARGUMENT", JSON.stringify(wish));
  }
  for (const id of ["", "../x", "a".repeat(64)]) {
    const { call, effects } = driver.grant(id);
    assert.equal(refused(effects, call)?.code, "INVALID_ARGUMENT", id);
  }
  assert.equal(driver.state.guests.size, 0);
  assert.equal(driver.state.revision, before.revision);
});

test("uids are not used twice while live, and a node without free ones refuses", () => {
  const driver = Driver.ready({ guestUidCount: 2 });
  driver.run("a");
  driver.run("b");
  assert.notEqual(driver.state.guests.get("a")?.uid, driver.state.guests.get("b")?.uid);
  const { call, effects } = driver.grant("c");
  assert.equal(refused(effects, call)?.reason, "closed");
  assert.equal(driver.state.book.leases.size, 2);
  driver.feed({ type: "release", call: 90, leaseId: "a", asker: me });
  driver.feed({ type: "guest_gone", leaseId: "a" });
  driver.run("d");
  assert.notEqual(driver.state.guests.get("d")?.uid, driver.state.guests.get("b")?.uid);
});

test("capacity of an ending guest is spare only when it is gone", () => {
  const driver = Driver.ready();
  driver.run("a", { cores: 4, minCores: 4 });
  driver.feed({ type: "release", call: 50, leaseId: "a", asker: me });
  assert.equal(driver.state.book.leases.size, 0);
  const early = driver.grant("b");
  assert.equal(refused(early.effects, early.call)?.reason, "no_cores");
  const gone = driver.feed({ type: "guest_gone", leaseId: "a" });
  assert.ok(answered(gone, 50));
  assert.deepEqual(driver.state.spare[0]?.cores, [0, 1, 2, 3]);
  const late = driver.grant("b");
  assert.equal(refused(late.effects, late.call), undefined);
});

test("prolog takes everything back, is answered when all are gone, and closes the node until the job is seen", () => {
  const driver = Driver.ready();
  driver.run("a", {}, 5);
  driver.run("b");
  driver.nowMs = 2000;
  const effects = driver.feed({ type: "prolog", call: 70, jobId: 42 });
  assert.deepEqual(ends(effects).sort(), ["a", "b"]);
  const notice = effects.find((effect) => effect.type === "notify");
  assert.ok(notice?.type === "notify" && notice.holder === 5 && notice.guest.lease.reason === "batch_job");
  assert.equal(answered(effects, 70), undefined);
  assert.equal(driver.state.spare.length, 0);
  driver.nowMs = 2004;
  assert.equal(answered(driver.feed({ type: "guest_gone", leaseId: "a" }), 70), undefined);
  driver.nowMs = 2005;
  const done = answered(driver.feed({ type: "guest_gone", leaseId: "b" }), 70);
  assert.ok(done?.type === "answer");
  assert.deepEqual(done.answer, { kind: "hook", event: "prolog", leasesEnded: 2, tookUs: 5000 });
  assert.equal(driver.state.spare.length, 0);
  const call = driver.nextCall();
  driver.feed({ type: "grant", call, leaseId: "c", request, owner, holder: undefined, token });
  assert.equal(driver.state.guests.size, 0);
  driver.feed({
    type: "jobs",
    jobs: [{ jobId: 42, cores: [0, 1], memoryLimitBytes: 1024 * mib, memoryUsedBytes: 0 }],
  });
  assert.deepEqual(driver.state.spare, [{ class: "unallocated", cores: [2, 3], memoryBytes: 2560 * mib }]);
});

const step = {
  type: "step",
  jobId: 42,
  stepId: 0,
  cores: [0, 1],
  memoryBytes: 1024 * mib,
  uid: 1000,
  consent: "share",
  partition: "main",
  account: "physics",
  qos: "normal",
} as const;

test("a step takes back exactly its job's cores, is answered when they are free, and opens the rest of the node", () => {
  const driver = Driver.ready();
  driver.feed({ type: "prolog", call: 70, jobId: 42, consent: undefined, qos: "", account: "physics" });
  driver.feed({ ...step, call: 71 });
  assert.deepEqual(driver.state.spare[0]?.cores, [2, 3]);
  assert.deepEqual(driver.state.said.get(42)?.consent, "share");
  driver.run("a", { cores: 1, minCores: 1 });
  driver.run("b", { cores: 1, minCores: 1 });
  const cores = driver.state.guests.get("b")?.lease.cores ?? [];
  const effects = driver.feed({ ...step, call: 72, jobId: 43, cores, memoryBytes: 0 });
  assert.deepEqual(ends(effects), ["b"]);
  assert.equal(answered(effects, 72), undefined);
  const done = answered(driver.feed({ type: "guest_gone", leaseId: "b" }), 72);
  assert.ok(done?.type === "answer" && done.answer.kind === "hook");
  assert.equal(done.answer.event, "step");
  assert.equal(done.answer.leasesEnded, 1);
  assert.equal(driver.state.guests.get("a")?.phase, "running");
});

test("a job that has one thread of a core takes back what runs on the other", () => {
  const siblings = [
    [0, 2],
    [1, 3],
  ];
  for (const told of [false, true]) {
    const driver = Driver.ready({ siblings });
    driver.run("a", { cores: 4, minCores: 4 });
    const seen = { jobId: 42, cores: [0], memoryLimitBytes: mib, memoryUsedBytes: 0 };
    const effects = driver.feed(told ? { ...step, call: 71, cores: [0] } : { type: "jobs", jobs: [seen] });
    assert.deepEqual(ends(effects), ["a"]);
    driver.feed({ type: "guest_gone", leaseId: "a" });
    assert.deepEqual(driver.state.spare[0]?.cores, [1, 3]);
    driver.run("b", { cores: 2, minCores: 2 });
    const other = driver.feed({ ...step, call: 72, jobId: 43, cores: [3], memoryBytes: mib });
    assert.deepEqual(ends(other), ["b"]);
  }
});

test("what was said of a job is forgotten with it; without cores a step takes all back", () => {
  const driver = Driver.ready();
  driver.run("a");
  const effects = driver.feed({ ...step, call: 71, cores: [] });
  assert.deepEqual(ends(effects), ["a"]);
  driver.feed({ type: "epilog", call: 72, jobId: 42 });
  assert.equal(driver.state.said.size, 0);
  driver.feed({ ...step, call: 73 });
  assert.equal(driver.state.said.size, 1);
  driver.nowMs += setup.announceTimeoutMs;
  driver.feed({ type: "timer" }); // its cgroup never came
  assert.equal(driver.state.said.size, 0);
});

test("prolog while a lease starts: its caller is refused, the hook waits for what was started", () => {
  const driver = Driver.ready();
  const { call } = driver.grant("a");
  const effects = driver.feed({ type: "prolog", call: 70, jobId: 42 });
  assert.deepEqual(refused(effects, call), { code: "RESOURCE_EXHAUSTED", reason: "closed" });
  assert.deepEqual(ends(effects), ["a"]);
  assert.deepEqual(types(driver.feed({ type: "started", leaseId: "a", port: 1 })), []);
  assert.deepEqual(types(driver.feed({ type: "start_failed", leaseId: "a", message: "no cgroup" })), []);
  assert.ok(answered(driver.feed({ type: "guest_gone", leaseId: "a" }), 70));
});

test("release while starting ends it; its start is answered once, with a refusal", () => {
  const driver = Driver.ready();
  const { call } = driver.grant("a");
  const effects = driver.feed({ type: "release", call: 71, leaseId: "a", asker: me });
  assert.deepEqual(ends(effects), ["a"]);
  assert.equal(refused(effects, call)?.code, "RESOURCE_EXHAUSTED");
  assert.deepEqual(types(driver.feed({ type: "started", leaseId: "a", port: 1 })), []);
});

test("two prologs at once: both answered, each once; a prolog without guests at once", () => {
  const driver = Driver.ready();
  driver.run("a");
  driver.feed({ type: "prolog", call: 70, jobId: 42 });
  const second = driver.feed({ type: "prolog", call: 71, jobId: 42 });
  assert.deepEqual(ends(second), []);
  const gone = driver.feed({ type: "guest_gone", leaseId: "a" });
  assert.ok(answered(gone, 70) && answered(gone, 71));
  const empty = driver.feed({ type: "prolog", call: 72, jobId: 43 });
  assert.ok(answered(empty, 72));
});

test("a hook is answered with an error at its deadline, the guest stays taken", () => {
  const driver = Driver.ready();
  driver.run("a", { cores: 4, minCores: 4 });
  driver.feed({ type: "prolog", call: 70, jobId: 42 });
  assert.equal(nextWakeMs(driver.state), driver.nowMs + setup.hookTimeoutMs);
  driver.nowMs += setup.hookTimeoutMs;
  assert.equal(refused(driver.feed({ type: "timer" }), 70)?.code, "DEADLINE_EXCEEDED");
  driver.nowMs += setup.announceTimeoutMs;
  driver.feed({ type: "timer" });
  assert.deepEqual(driver.state.spare[0]?.cores, []);
});

test("an announced job that never comes closes the node for announceTimeoutMs only", () => {
  const driver = Driver.ready();
  driver.feed({ type: "prolog", call: 70, jobId: 42 });
  assert.equal(nextWakeMs(driver.state), driver.nowMs + setup.announceTimeoutMs);
  driver.nowMs += setup.announceTimeoutMs;
  assert.deepEqual(types(driver.feed({ type: "timer" })), ["offer"]);
  assert.equal(driver.state.spare[0]?.class, "idle");
});

test("witness: a job that appears on lent cores takes them back, and only them", () => {
  const driver = Driver.ready();
  driver.run("a");
  driver.run("b");
  const cores = [...(driver.state.guests.get("a")?.lease.cores ?? [])];
  const job = { jobId: 8, cores, memoryLimitBytes: 100 * mib, memoryUsedBytes: 0 };
  const effects = driver.feed({ type: "jobs", jobs: [job] });
  assert.deepEqual(ends(effects), ["a"]);
  const missed = effects.find((effect) => effect.type === "missed");
  assert.deepEqual(missed, { type: "missed", jobId: 8, leases: 1 });
  assert.deepEqual(ends(driver.feed({ type: "jobs", jobs: [job] })), []);
});

test("witness: memory of jobs and leases beyond the node ends the largest lease", () => {
  const driver = Driver.ready();
  driver.run("big", { kind: "region", cores: 0, minCores: 0, memoryBytes: 2048 * mib });
  driver.run("small", { kind: "region", cores: 0, minCores: 0, memoryBytes: 256 * mib });
  const effects = driver.feed({
    type: "jobs",
    jobs: [{ jobId: 8, cores: [0], memoryLimitBytes: 2048 * mib, memoryUsedBytes: 0 }],
  });
  assert.deepEqual(ends(effects), ["big"]);
});

test("a job whose cgroup has no cores closes the node; for ever means all cores are its", () => {
  const driver = Driver.ready();
  driver.run("a");
  const job = { jobId: 8, cores: undefined, memoryLimitBytes: undefined, memoryUsedBytes: 0 };
  assert.deepEqual(ends(driver.feed({ type: "jobs", jobs: [job] })), []);
  assert.equal(driver.state.spare.length, 0);
  driver.nowMs += setup.announceTimeoutMs;
  assert.deepEqual(ends(driver.feed({ type: "timer" })), ["a"]);
  assert.equal(driver.state.spare.length, 0);
  driver.feed({ type: "guest_gone", leaseId: "a" });
  driver.feed({ type: "jobs", jobs: [] });
  assert.equal(driver.state.spare[0]?.class, "idle");
});

test("an announced job keeps its cores between its steps, until the epilog", () => {
  const driver = Driver.ready();
  const job = { jobId: 8, cores: [0, 1], memoryLimitBytes: 100 * mib, memoryUsedBytes: 0 };
  driver.feed({ type: "prolog", call: 1, jobId: 8 });
  driver.feed({ type: "jobs", jobs: [job] });
  driver.feed({ type: "jobs", jobs: [] });
  assert.deepEqual(driver.state.spare[0]?.cores, [2, 3]);
  const effects = driver.feed({ type: "epilog", call: 2, jobId: 8 });
  assert.ok(answered(effects, 2));
  assert.deepEqual(driver.state.spare[0]?.cores, [0, 1, 2, 3]);
});

test("an epilog that never comes costs epilogTimeoutMs", () => {
  const driver = Driver.ready();
  driver.feed({ type: "prolog", call: 1, jobId: 8 });
  driver.feed({ type: "jobs", jobs: [{ jobId: 8, cores: [0], memoryLimitBytes: 1, memoryUsedBytes: 0 }] });
  driver.feed({ type: "jobs", jobs: [] });
  driver.nowMs += setup.epilogTimeoutMs;
  driver.feed({ type: "timer" });
  assert.equal(driver.state.jobs.size, 0);
});

test("a job without hooks ends with its cgroup", () => {
  const driver = Driver.ready();
  driver.feed({ type: "jobs", jobs: [{ jobId: 8, cores: [0], memoryLimitBytes: 1, memoryUsedBytes: 0 }] });
  driver.feed({ type: "jobs", jobs: [] });
  assert.deepEqual(driver.state.spare[0]?.cores, [0, 1, 2, 3]);
});

test("leases end with their term, and renewal moves it; the timer is armed for the next end", () => {
  const driver = Driver.ready();
  driver.run("a");
  driver.nowMs += 30_000;
  driver.run("b");
  assert.equal(nextWakeMs(driver.state), 1000 + 60_000);
  const renewed = driver.feed({ type: "renew", call: 60, leaseId: "a", asker: me, holder: 3 });
  assert.ok(answered(renewed, 60));
  assert.equal(driver.state.guests.get("a")?.holder, 3);
  driver.nowMs += 60_000;
  assert.deepEqual(ends(driver.feed({ type: "timer" })).sort(), ["a", "b"]);
  assert.equal(driver.state.book.leases.size, 0);
});

test("leases of others: not found, whatever is asked; root may", () => {
  const driver = Driver.ready();
  driver.run("a");
  const stranger = { uid: 1001, all: false };
  for (const type of ["renew", "release"] as const) {
    const effects = driver.feed({ type, call: 61, leaseId: "a", asker: stranger, holder: undefined });
    assert.equal(refused(effects, 61)?.code, "NOT_FOUND");
  }
  const effects = driver.feed({ type: "release", call: 62, leaseId: "a", asker: { uid: 0, all: true } });
  assert.deepEqual(ends(effects), ["a"]);
});

test("a connection that closes releases what it holds, and nothing else", () => {
  const driver = Driver.ready();
  driver.run("a", {}, 5);
  driver.run("b", {}, 6);
  driver.run("c");
  driver.feed({ type: "hold", leaseId: "c", holder: 5 });
  const effects = driver.feed({ type: "holder_gone", holder: 5 });
  assert.deepEqual(ends(effects).sort(), ["a", "c"]);
  assert.ok(!types(effects).includes("notify"));
});

test("an executor that ends by itself ends its lease, and its holder hears it", () => {
  const driver = Driver.ready();
  driver.run("a", {}, 5);
  const effects = driver.feed({ type: "executor_exited", leaseId: "a" });
  assert.deepEqual(ends(effects), ["a"]);
  const notice = effects.find((effect) => effect.type === "notify");
  assert.ok(notice?.type === "notify" && notice.guest.lease.reason === "executor_lost");
  assert.deepEqual(types(driver.feed({ type: "executor_exited", leaseId: "a" })), []);
});

test("a start that fails is refused with its reason, and leaves nothing", () => {
  const driver = Driver.ready();
  const { call } = driver.grant("a");
  const effects = driver.feed({ type: "start_failed", leaseId: "a", message: "exec" });
  assert.deepEqual(refused(effects, call), { code: "RESOURCE_EXHAUSTED", reason: "start_failed" });
  assert.deepEqual(ends(effects), ["a"]);
  driver.feed({ type: "guest_gone", leaseId: "a" });
  assert.equal(driver.state.guests.size, 0);
});

test("adoption: a full term and no holder; what clashes or is not this node's ends", () => {
  const source = Driver.ready();
  source.run("a", { cores: 2, minCores: 2 }, 5);
  const guest = source.state.guests.get("a");
  assert.ok(guest !== undefined);
  const { lease, uid, grantedUnixMs, port, cores } = guest;
  const adopted = { lease, uid, grantedUnixMs, token, port, cores };
  const driver = new Driver();
  driver.nowMs = 500_000;
  const effects = driver.feed({
    type: "adopt",
    guests: [
      adopted,
      { ...adopted, lease: { ...lease, id: "clash" } },
      { ...adopted, lease: { ...lease, id: "far", cores: [77] } },
    ],
  });
  assert.deepEqual(ends(effects), ["clash", "far"]);
  assert.equal(driver.state.book.leases.get("a")?.expiresAtMs, 560_000);
  assert.equal(driver.state.guests.get("a")?.holder, undefined);
  driver.feed({ type: "starter", up: true });
  const seen = driver.feed({
    type: "jobs",
    jobs: [{ jobId: 1, cores: [3], memoryLimitBytes: 1, memoryUsedBytes: 0 }],
  });
  assert.deepEqual(ends(seen), ["a"]);
});

test("leave: everything ends, nothing is lent any more", () => {
  const driver = Driver.ready();
  driver.run("a");
  assert.deepEqual(ends(driver.feed({ type: "leave" })), ["a"]);
  driver.feed({ type: "guest_gone", leaseId: "a" });
  assert.equal(driver.state.spare.length, 0);
});

test("a region moves off the cores of jobs and leases", () => {
  const driver = Driver.ready();
  driver.run("r", { kind: "region", cores: 0, minCores: 0 });
  const { effects } = driver.grant("f", { cores: 2, minCores: 2 });
  const limit = effects.find((effect) => effect.type === "limit");
  assert.ok(limit?.type === "limit" && limit.leaseId === "r");
  assert.deepEqual(limit.limits.cores, [0, 1]);
  driver.feed({ type: "jobs", jobs: [{ jobId: 1, cores: [0], memoryLimitBytes: 1, memoryUsedBytes: 0 }] });
  assert.deepEqual(driver.state.guests.get("r")?.cores, [1]);
});

test("memory: promised but untouched bytes are not available; small changes are no news", () => {
  const driver = Driver.ready();
  driver.run("r", { kind: "region", cores: 0, minCores: 0, memoryBytes: 1024 * mib });
  driver.feed({ type: "memory", availableBytes: 2048 * mib, touchedBytes: new Map() });
  assert.equal(driver.state.spare[0]?.memoryBytes, 448 * mib); // 2048 - 1056 - 512, in steps of 64
  const news = driver.feed({
    type: "memory",
    availableBytes: 2048 * mib,
    touchedBytes: new Map([["r", 1056 * mib]]),
  });
  assert.deepEqual(types(news), ["offer"]);
  assert.equal(driver.state.spare[0]?.memoryBytes, 1536 * mib);
  assert.deepEqual(
    types(driver.feed({ type: "memory", availableBytes: 2090 * mib, touchedBytes: new Map() })),
    [],
  );
});

const ids = ["a", "b", "c"] as const;
const anyEvent: fc.Arbitrary<(call: number) => AgentEvent> = fc.oneof(
  fc
    .tuple(
      fc.constantFrom(...ids),
      fc.integer({ min: 1, max: 4 }),
      fc.option(fc.constantFrom(5, 6), { nil: undefined }),
    )
    .map(
      ([leaseId, cores, holder]) =>
        (call: number): AgentEvent => ({
          type: "grant",
          call,
          leaseId,
          request: { ...request, cores, minCores: 1 },
          owner,
          holder,
          token,
        }),
    ),
  fc.constantFrom(...ids).map((leaseId) => () => ({ type: "started" as const, leaseId, port: 1 })),
  fc.constantFrom(...ids).map((leaseId) => () => ({ type: "start_failed" as const, leaseId, message: "" })),
  fc.constantFrom(...ids).map((leaseId) => () => ({ type: "guest_gone" as const, leaseId })),
  fc.constantFrom(...ids).map((leaseId) => () => ({ type: "executor_exited" as const, leaseId })),
  fc
    .constantFrom(...ids)
    .map((leaseId) => (call: number) => ({ type: "release" as const, call, leaseId, asker: me })),
  fc
    .constantFrom(...ids)
    .map((leaseId) => (call: number) => ({ type: "renew" as const, call, leaseId, asker: me, holder: 5 })),
  fc.constantFrom(5, 6).map((holder) => () => ({ type: "holder_gone" as const, holder })),
  fc.constantFrom(1, 2).map((jobId) => (call: number) => ({ type: "prolog" as const, call, jobId })),
  fc.constantFrom(1, 2).map((jobId) => (call: number) => ({ type: "epilog" as const, call, jobId })),
  fc.tuple(fc.constantFrom(1, 2), fc.subarray([0, 1, 2, 3])).map(([jobId, cores]) => (call: number) => ({
    ...step,
    call,
    jobId,
    cores,
  })),
  fc.uniqueArray(fc.constantFrom(0, 1, 2, 3)).map((cores) => () => ({
    type: "jobs" as const,
    jobs: cores.length === 0 ? [] : [{ jobId: 1, cores, memoryLimitBytes: 100 * mib, memoryUsedBytes: 0 }],
  })),
);

test("any sequence: no core twice, none of a job lent, every call answered once, every lease has its guest", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(anyEvent, fc.integer({ min: 0, max: 30_000 })), { maxLength: 60 }),
      (steps) => {
        let { state } = Driver.ready();
        let nowMs = 1000;
        const open = new Set<number>();
        const answerAll = (effects: readonly Effect[]): void => {
          for (const effect of effects) {
            if (effect.type !== "answer" && effect.type !== "refuse") continue;
            assert.ok(open.delete(effect.call), `call ${effect.call} answered twice`);
          }
        };
        for (const [index, [make, stepMs]] of steps.entries()) {
          nowMs += stepMs;
          const event = make(index);
          if ("call" in event) open.add(event.call);
          const reaction = react(state, event, nowMs, nowMs);
          state = reaction.state;
          answerAll(reaction.effects);
          const live = [...state.guests.values()];
          const lent = live.flatMap((guest) => guest.lease.cores);
          assert.equal(new Set(lent).size, lent.length, "a core is lent twice");
          const jobCores = [...state.jobs.values()].flatMap((job) => (job.present ? (job.cores ?? []) : []));
          for (const lease of state.book.leases.values()) {
            assert.ok(state.guests.has(lease.id), "lease without guest");
            assert.ok(!lease.cores.some((core) => jobCores.includes(core)), "a job's core is lent");
            assert.ok(lease.expiresAtMs > nowMs, "lease beyond its term");
          }
          for (const spare of state.spare) {
            assert.ok(
              !spare.cores.some((core) => lent.includes(core) || jobCores.includes(core)),
              "offered and taken",
            );
            assert.equal(state.announced.size, 0, "offered while a job was announced");
          }
        }
        // All starts end, all guests go, all deadlines pass: nobody waits any more.
        for (const leaseId of ids)
          for (const event of [
            { type: "started" as const, leaseId, port: 1 },
            { type: "guest_gone" as const, leaseId },
          ]) {
            const reaction = react(state, event, nowMs, nowMs);
            state = reaction.state;
            answerAll(reaction.effects);
          }
        const last = react(state, { type: "timer" }, nowMs + 10_000, nowMs);
        answerAll(last.effects);
        assert.equal(open.size, 0, "calls without an answer");
      },
    ),
    { numRuns: 300 },
  );
});
