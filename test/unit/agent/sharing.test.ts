/** Consent and shared capacity in the reactor: who is whose neighbour, and what becomes of guests when that changes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { consentOf, ruleOf } from "../../../agent/consent/sharing.ts";
import type { AgentEvent, Effect } from "../../../agent/reactor/events.ts";
import { react } from "../../../agent/reactor/react.ts";
import type { UseSample } from "../../../src/capacity/shared.ts";
import type { Consent } from "../../../src/common/nouns.ts";
import { type ConsentConfig, consentConfig } from "../../../src/config/consent.ts";
import { Driver, mib, owner, request, token } from "./setup.ts";

const defaults = consentConfig(undefined);
const names = { partition: "main", account: "physics", qos: "normal" };

function seen(jobId: number, cores: readonly number[], memoryMib = 1024) {
  return { jobId, cores, memoryLimitBytes: memoryMib * mib, memoryUsedBytes: 0 };
}

function said(jobId: number, consent: Consent | undefined): AgentEvent {
  return { type: "prolog", call: 900 + jobId, jobId, uid: 5000, consent, ...names };
}

function use(atMs: number, usedMs: ReadonlyMap<number, number>, touchedMib = 100): UseSample {
  return {
    atMs,
    usedNs: new Map([0, 1, 2, 3].map((core) => [core, (usedMs.get(core) ?? 0) * 1e6])),
    totalNs: undefined,
    memoryLimitBytes: 1024 * mib,
    memoryCurrentBytes: touchedMib * mib,
    memoryInactiveFileBytes: 0,
  };
}

/** A node with job 7 on cores 0 and 1 (consent as said), watched for long enough. */
function beside(consent: Consent | undefined, rules: Partial<ConsentConfig> = {}): Driver {
  const driver = Driver.ready({ consent: { ...defaults, memoryMarginBytes: 64 * mib, ...rules } });
  driver.feed(said(7, consent));
  driver.feed({ type: "jobs", jobs: [seen(7, [0, 1])] });
  for (const _ of [0, 1]) {
    driver.feed({ type: "use", samples: new Map([[7, use(driver.nowMs, new Map())]]) });
    driver.nowMs += defaults.quietMs;
  }
  driver.feed({ type: "use", samples: new Map([[7, use(driver.nowMs, new Map())]]) });
  return driver;
}

function offered(driver: Driver): Record<string, readonly number[]> {
  return Object.fromEntries(driver.state.spare.map((each) => [each.class, each.cores]));
}

function ended(effects: readonly Effect[]): string[] {
  return effects.flatMap((effect) => (effect.type === "end" ? [effect.leaseId] : []));
}

test("the narrowest rule decides; the default only where it is share", () => {
  const rules = { ...defaults, account: { physics: "no" }, qos: { normal: "share" } } as const;
  assert.equal(ruleOf(rules, names), "no");
  assert.equal(ruleOf({ ...rules, account: {} }, names), "share");
  assert.equal(ruleOf({ ...defaults, partition: { main: "share" } }, names), "share");
  assert.equal(ruleOf(defaults, names), undefined);
  assert.equal(ruleOf({ ...defaults, default: "share" }, names), "share");
  assert.equal(ruleOf(defaults, { ...names, account: "constructor" }), undefined);
});

test("the job's own word comes before the site's, and what hooks do not say comes from Slurm", () => {
  const driver = Driver.ready({ consent: { ...defaults, account: { physics: "no" } } });
  const fact = { jobId: 7, uid: 5000, exclusive: false, ...names };
  driver.feed({ type: "facts", jobs: [fact] });
  assert.equal(consentOf(driver.state, 7), "no");
  driver.feed({ type: "prolog", call: 1, jobId: 7 });
  assert.equal(consentOf(driver.state, 7), "no");
  driver.feed(said(7, "share"));
  assert.equal(consentOf(driver.state, 7), "share");
});

test("beside a job that shares, its unused cores are offered in a class of their own, and lent last", () => {
  const driver = beside("share");
  assert.deepEqual(offered(driver), { unallocated: [2, 3], shared: [0, 1] });
  driver.run("a", { cores: 2, minCores: 2 });
  assert.deepEqual(offered(driver), { unallocated: [], shared: [0, 1] });
  driver.run("b");
  assert.equal(driver.state.book.leases.get("b")?.class, "shared");
  assert.deepEqual(offered(driver), { unallocated: [], shared: [0] });
});

test("who said no has no neighbour; of whom nobody said anything, as the site wants it", () => {
  assert.deepEqual(offered(beside("no")), {});
  assert.deepEqual(offered(beside(undefined)), { unallocated: [2, 3] });
  assert.deepEqual(offered(beside(undefined, { unallocated: "ask" })), {});
  assert.deepEqual(offered(beside("share", { unallocated: "ask" })), { unallocated: [2, 3], shared: [0, 1] });
});

test("a node held exclusively offers nothing without consent, and guests go when it is learnt", () => {
  const fact = { jobId: 7, uid: 5000, exclusive: true, ...names };
  const silent = beside(undefined);
  silent.run("a");
  const effects = silent.feed({ type: "facts", jobs: [fact] });
  assert.deepEqual(ended(effects), ["a"]);
  assert.ok(effects.some((effect) => effect.type === "unshared" && effect.leases === 1));
  silent.feed({ type: "guest_gone", leaseId: "a" });
  assert.deepEqual(offered(silent), {});
  const shares = beside("share");
  shares.feed({ type: "facts", jobs: [fact] });
  assert.deepEqual(offered(shares), { unallocated: [2, 3], shared: [0, 1] });
});

test("when the job uses its core again the shared lease on it goes, and only that", () => {
  const driver = beside("share");
  driver.run("own", { cores: 2, minCores: 2 });
  driver.run("one");
  driver.run("two");
  assert.deepEqual(driver.state.book.leases.get("one")?.cores, [1]);
  driver.nowMs += 500;
  const effects = driver.feed({
    type: "use",
    samples: new Map([[7, use(driver.nowMs, new Map([[1, 100]]))]]),
  });
  assert.deepEqual(ended(effects), ["one"]);
  assert.deepEqual(offered(driver), { unallocated: [], shared: [] });
});

test("a job's cgroup that changes ends no shared lease; a step that starts ends them all", () => {
  const driver = beside("share");
  driver.run("own", { cores: 2, minCores: 2 });
  driver.run("one");
  assert.deepEqual(ended(driver.feed({ type: "jobs", jobs: [seen(7, [0, 1], 1025)] })), []);
  const effects = driver.feed({
    type: "step",
    call: 77,
    jobId: 7,
    stepId: 1,
    cores: [0],
    memoryBytes: 0,
    uid: 5000,
    consent: undefined,
    ...names,
  });
  assert.deepEqual(ended(effects), ["one"]);
  assert.ok(!effects.some((effect) => effect.type === "answer"), "answered before the guest is gone");
  assert.equal(offered(driver).shared?.length ?? 0, 0, "offered again at once");
  assert.ok(driver.feed({ type: "guest_gone", leaseId: "one" }).some((effect) => effect.type === "answer"));
});

test("another job that appears on a shared core has it for itself", () => {
  const driver = beside("share");
  driver.run("own", { cores: 2, minCores: 2 });
  driver.run("one");
  assert.deepEqual(ended(driver.feed({ type: "jobs", jobs: [seen(7, [0, 1]), seen(8, [1])] })), ["one"]);
});

test("memory that a job does not touch is lent, and comes back from shared leases when it touches it", () => {
  const driver = beside("share", { memoryMarginBytes: 0 });
  // 4096 - 512 reserve - 1024 of the job = 2560 unallocated, and what it does not touch: 1024 - 100.
  assert.deepEqual(
    driver.state.spare.map((each) => each.memoryBytes / mib),
    [2560, 896],
  );
  driver.run("own", { cores: 2, minCores: 2, memoryBytes: 2500 * mib });
  driver.run("one", { memoryBytes: 800 * mib });
  assert.equal(driver.state.book.leases.get("one")?.class, "shared");
  driver.nowMs += 500;
  const effects = driver.feed({ type: "use", samples: new Map([[7, use(driver.nowMs, new Map(), 300)]]) });
  assert.deepEqual(ended(effects), ["one"]);
  assert.ok(driver.state.book.leases.has("own"));
});

const durable = { kind: "region", cores: 0, minCores: 0, durability: "evacuated" } as const;

test("no region that is to outlive its memory goes on what a job may want back: refused, with the reason", () => {
  const driver = beside("share", { memoryMarginBytes: 0 });
  driver.run("own", { cores: 2, minCores: 2, memoryBytes: 2500 * mib });
  for (const durability of ["evacuated", "mirrored"] as const) {
    const { call, effects } = driver.grant(durability, { ...durable, durability });
    const refusal = effects.find((effect) => effect.type === "refuse" && effect.call === call);
    assert.ok(refusal?.type === "refuse");
    assert.equal(refusal.error.details.reason, "no_memory");
    assert.match(refusal.error.message, /only memory of class shared, which takes no evacuated or mirrored/);
  }
  driver.run("content", { ...durable, durability: "ephemeral" });
  assert.equal(driver.state.book.leases.get("content")?.class, "shared");
});

test("whatever is asked for in any order, class shared has only what is not to outlive it", () => {
  const wishes = fc.array(
    fc.record({
      memoryBytes: fc.integer({ min: 1, max: 1500 }).map((size) => size * mib),
      durability: fc.constantFrom("ephemeral", "evacuated", "mirrored"),
    }),
    { maxLength: 8 },
  );
  let shared = 0;
  fc.assert(
    fc.property(wishes, fc.constantFrom(0, 300), (all, marginMib) => {
      const driver = beside("share", { memoryMarginBytes: marginMib * mib });
      for (const [index, wish] of all.entries()) driver.grant(`r${index}`, { ...durable, ...wish });
      for (const lease of driver.state.book.leases.values()) {
        if (lease.class !== "shared") continue;
        shared++;
        assert.equal(lease.durability, undefined, lease.id);
      }
    }),
  );
  assert.ok(shared > 0, "nothing was lent of class shared");
});

/** As a version lent it that did not look at durability. */
function lentBefore(marginMib: number): Driver {
  const driver = beside("share", { memoryMarginBytes: marginMib * mib });
  driver.run("own", { cores: 2, minCores: 2, memoryBytes: 2500 * mib });
  driver.run("r", { ...durable, durability: "ephemeral", memoryBytes: 600 * mib }, 5);
  const lease = driver.state.book.leases.get("r");
  const guest = driver.state.guests.get("r");
  assert.ok(lease?.class === "shared" && guest !== undefined);
  const old = { ...lease, durability: "evacuated" as const };
  const book = { leases: new Map(driver.state.book.leases).set("r", old) };
  const guests = new Map(driver.state.guests).set("r", { ...guest, lease: old });
  driver.state = { ...driver.state, book, guests };
  return driver;
}

test("one that lies there moves while the job that wakes has its margin, and goes at once when it has not", () => {
  // 4096 - 512 - (2500 + 32) - (600 + 32) = 420 are the job's: with its margin of 200 it may touch 220 without harm.
  const touches = (driver: Driver, touchedMib: number): Effect[] => {
    driver.nowMs += 100;
    return driver.feed({ type: "use", samples: new Map([[7, use(driver.nowMs, new Map(), touchedMib)]]) });
  };
  const driver = lentBefore(200);
  assert.deepEqual(ended(touches(driver, 220)), []);
  assert.equal(driver.state.book.leases.get("r")?.state, "ACTIVE");
  const effects = touches(driver, 300);
  assert.deepEqual(ended(effects), []);
  assert.equal(effects.find((effect) => effect.type === "unshared")?.leases, 1);
  const lease = driver.state.book.leases.get("r");
  assert.deepEqual([lease?.state, lease?.reason], ["DRAINING", "batch_job"]);
  const again = touches(driver, 310);
  assert.ok(!again.some((effect) => effect.type === "draining" || effect.type === "unshared"));
  assert.deepEqual(ended(driver.feed({ type: "jobs", jobs: [seen(7, [0, 1], 1025)] })), []);
  assert.deepEqual(ended(touches(driver, 400)), ["r"], "half of the margin is gone");
  assert.deepEqual(ended(touches(lentBefore(200), 400)), ["r"]);
  assert.deepEqual(ended(touches(lentBefore(0), 430)), ["r"], "no margin, no time");
});

const jobId = fc.constantFrom(7, 8);
const someCores = fc.uniqueArray(fc.nat(3), { minLength: 1, maxLength: 3 });
const anyEvent: fc.Arbitrary<(n: number, nowMs: number) => AgentEvent> = fc.oneof(
  fc.tuple(jobId, fc.constantFrom("share" as const, "share" as const, "no" as const, undefined)).map(
    ([id, consent]) =>
      (n: number): AgentEvent =>
        ({ ...said(id, consent), call: n }) as AgentEvent,
  ),
  fc.array(fc.tuple(jobId, someCores), { maxLength: 2 }).map(
    (jobs) => (): AgentEvent => ({
      type: "jobs",
      jobs: [...new Map(jobs)].map(([id, cores]) => seen(id, cores, 512)),
    }),
  ),
  fc.tuple(jobId, fc.uniqueArray(fc.nat(3), { maxLength: 1 }), fc.nat(600)).map(
    ([id, busy, touched]) =>
      (_: number, nowMs: number): AgentEvent => ({
        type: "use",
        samples: new Map([[id, use(nowMs, new Map(busy.map((core) => [core, nowMs])), touched)]]),
      }),
  ),
  fc.tuple(fc.nat(2), fc.nat(1500)).map(
    ([cores, memory]) =>
      (n: number): AgentEvent => ({
        type: "grant",
        call: n,
        leaseId: `l${n}`,
        request: {
          ...request,
          kind: cores === 0 ? "region" : "function",
          cores,
          minCores: cores,
          memoryBytes: (memory + 1) * mib,
        },
        owner,
        holder: undefined,
        token,
      }),
  ),
  fc.tuple(jobId, fc.boolean()).map(
    ([id, exclusive]) =>
      (): AgentEvent => ({
        type: "facts",
        jobs: [{ jobId: id, uid: 1, exclusive, ...names }],
      }),
  ),
  jobId.map(
    (id) =>
      (n: number): AgentEvent => ({ type: "epilog", call: n, jobId: id }),
  ),
);

test("whatever happens: a lease is on a job's core only beside consent and while the job leaves it unused", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(anyEvent, fc.integer({ min: 1, max: 12_000 })), { maxLength: 60 }),
      fc.constantFrom("lend" as const, "ask" as const),
      (steps, unallocated) => {
        let { state } = Driver.ready({ consent: { ...defaults, unallocated, memoryMarginBytes: 0 } });
        let nowMs = 1000;
        for (const [index, [make, stepMs]] of steps.entries()) {
          nowMs += stepMs;
          state = react(state, make(index, nowMs), nowMs, nowMs).state;
          for (const [id, guest] of state.guests)
            if (guest.phase === "ending")
              state = react(state, { type: "guest_gone", leaseId: id }, nowMs, nowMs).state;
          const jobs = [...state.jobs.values()];
          const refuses = jobs.some((job) => {
            const consent = consentOf(state, job.jobId);
            const exclusive = state.facts.get(job.jobId)?.exclusive === true;
            return consent === "no" || (consent === undefined && (exclusive || unallocated === "ask"));
          });
          if (refuses) assert.equal(state.book.leases.size, 0, "a guest beside a job that refuses");
          if (refuses) assert.deepEqual(state.spare, []);
          for (const core of [
            ...[...state.book.leases.values()].flatMap((lease) => lease.cores),
            ...state.spare.flatMap((each) => each.cores),
          ])
            for (const job of jobs) {
              if (job.cores?.includes(core) !== true) continue;
              assert.equal(consentOf(state, job.jobId), "share", `core ${core} of job ${job.jobId}`);
              assert.ok(state.uses.get(job.jobId)?.cores.includes(core), `core ${core} is in use`);
            }
          const lent = [...state.guests.values()].reduce(
            (sum, guest) => sum + guest.lease.memoryBytes + 32 * mib,
            0,
          );
          const needed = jobs.reduce((sum, job) => {
            const unused =
              consentOf(state, job.jobId) === "share" ? (state.uses.get(job.jobId)?.memoryBytes ?? 0) : 0;
            const limit = job.memoryLimitBytes ?? 0;
            return sum + limit - Math.min(unused, limit);
          }, 0);
          assert.ok(lent + needed + 512 * mib <= 4096 * mib, "more memory than there is");
        }
      },
    ),
    { numRuns: 500 },
  );
});

test("consent that a reload takes back ends the leases that it allowed; the rest of the node stays lent", () => {
  const driver = beside(undefined, { default: "share" });
  driver.run("a", { cores: 2, minCores: 2 });
  driver.run("b", { cores: 1 });
  const { setup } = driver.state;
  const ending = (consent: ConsentConfig): string[] =>
    ended(driver.feed({ type: "settings", setup: { ...setup, consent } }));
  assert.deepEqual(ending(setup.consent), []);
  assert.deepEqual(ending({ ...setup.consent, default: "no" }), ["b"]);
  assert.deepEqual(ending({ ...setup.consent, default: "no", unallocated: "ask" }), ["a"]);
});
