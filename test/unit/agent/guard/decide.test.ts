import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  closedBy,
  type Decided,
  decide,
  type GuardAction,
  type GuardState,
  type GuestFacts,
  initialGuardState,
  type Reading,
} from "../../../../agent/guard/decide.ts";
import { type GuardPolicy, parsePolicy } from "../../../../agent/guard/policy.ts";

const node = { cores: 8, memoryBytes: 2 ** 33 };
const policyOf = (text: string): GuardPolicy => parsePolicy(text, "guard.toml", node);
const policy = policyOf("");

function guest(leaseId: string, grantedUnixMs: number, more: Partial<GuestFacts> = {}): GuestFacts {
  const usual = { kind: "function", cores: 1, memoryBytes: 1000, durable: false, moving: false } as const;
  return { leaseId, grantedUnixMs, ...usual, ...more };
}

const delay = (value: number, leaseIds: readonly string[], jobId = 7): Reading => ({
  signal: "job_run_delay",
  jobId,
  value,
  leaseIds,
});

/** Drives the guard with a look every 200 ms. */
class World {
  readonly policy: GuardPolicy;
  guests: GuestFacts[];
  state: GuardState = initialGuardState;
  nowMs = 0;

  constructor(guests: GuestFacts[], of: GuardPolicy = policy) {
    this.guests = guests;
    this.policy = of;
  }

  look(readings: readonly Reading[]): readonly GuardAction[] {
    this.nowMs += 200;
    const decided: Decided = decide(this.policy, this.state, this.guests, readings, this.nowMs);
    this.state = decided.state;
    for (const { rung, leaseId } of decided.actions)
      if (rung === undefined)
        this.guests = this.guests.flatMap((each) =>
          each.leaseId !== leaseId ? [each] : each.durable ? [{ ...each, moving: true }] : [],
        );
    return decided.actions;
  }

  /** They have moved, or their time is over. */
  moved(): void {
    this.guests = this.guests.filter(({ moving }) => !moving);
  }

  /** What happens within a time, as words. */
  run(forMs: number, readings: () => readonly Reading[]): string[] {
    const words: string[] = [];
    for (let ms = 0; ms < forMs; ms += 200)
      for (const { action, leaseId, rung } of this.look(readings()))
        words.push(`${action} ${leaseId}${rung?.action === "throttle" ? ` ${rung.quotaPercent}` : ""}`);
    return words;
  }

  get ids(): string[] {
    return this.guests.map((each) => each.leaseId);
  }
}

test("step by step: all throttled, then frozen newest first and twice as many each time, then ended", () => {
  const world = new World([guest("old", 1), guest("new", 3), guest("mid", 2)]);
  const words = world.run(20_000, () => [delay(50, world.ids)]);
  assert.deepEqual(words, [
    "throttle new 50",
    "throttle mid 50",
    "throttle old 50",
    "throttle new 10",
    "throttle mid 10",
    "throttle old 10",
    "freeze new",
    "freeze mid",
    "freeze old",
    "evict new",
    "evict mid",
    "evict old",
  ]);
});

test("of guests of the same moment the cheapest goes first; a region before a function", () => {
  const of = policyOf('[throttle]\nquota_percent = []\n[freeze]\nscope = "node"\n');
  const world = new World(
    [
      guest("dear", 5, { cores: 4 }),
      guest("cheap", 5),
      guest("region", 1, { kind: "region", cores: 0 }),
      guest("younger", 6, { cores: 4 }),
    ],
    of,
  );
  const words = world.run(20_000, () => [delay(50, world.ids)]);
  assert.deepEqual(words.slice(0, 4).sort(), [
    "freeze cheap",
    "freeze dear",
    "freeze region",
    "freeze younger",
  ]);
  assert.deepEqual(words.slice(4), ["shrink region", "evict younger", "evict cheap", "evict dear"]);
});

const durable = { kind: "region", cores: 0, durable: true } as const;

test("durable regions: never frozen, after all ephemeral ones, before functions; nobody ends while one moves", () => {
  const of = policyOf('[throttle]\nquota_percent = [50]\n[freeze]\nscope = "node"\n');
  const world = new World(
    [
      guest("f", 9),
      guest("new", 8, durable),
      guest("old", 3, durable),
      guest("ephemeral", 1, { kind: "region", cores: 0 }),
    ],
    of,
  );
  const hot = (): Reading[] => [delay(50, world.ids)];
  assert.deepEqual(world.run(2_800, hot), [
    "throttle f 50",
    "throttle new 50",
    "throttle old 50",
    "throttle ephemeral 50",
    "freeze f",
    "freeze ephemeral",
  ]);
  assert.deepEqual(world.run(2_000, hot), ["shrink ephemeral", "shrink new", "shrink old"]);
  assert.deepEqual(world.run(20_000, hot), [], "they move: nobody else ends, and they are left alone");
  world.moved();
  assert.deepEqual(world.run(800, hot), [], "what came back is given time to tell");
  assert.deepEqual(world.run(400, hot), ["evict f"]);
});

test("a durable region that moves for a job's sake is let go; a signal that may not end it leaves it throttled", () => {
  const world = new World([guest("r", 1, durable)]);
  assert.deepEqual(
    world.run(3_000, () => [delay(50, ["r"])]),
    ["throttle r 50", "throttle r 10"],
  );
  world.guests = [guest("r", 1, { ...durable, moving: true })];
  assert.deepEqual(
    world.run(10_000, () => [delay(50, ["r"])]),
    [],
  );
  assert.equal(world.state.holds.get("r")?.rung, 0);
  const mild = new World([guest("r", 1, durable)], policyOf('[job_run_delay]\nstrongest = "freeze"\n'));
  assert.deepEqual(
    mild.run(60_000, () => [delay(50, ["r"])]),
    ["throttle r 50", "throttle r 10"],
  );
});

test("calm: back in the reverse order, then nothing", () => {
  const world = new World([guest("old", 1), guest("new", 2)]);
  world.run(3600, () => [delay(50, world.ids)]);
  assert.deepEqual([...world.state.holds.values()].map((hold) => hold.rung).sort(), [2, 3]);
  const words = world.run(60_000, () => [delay(0, world.ids)]);
  assert.deepEqual(words, ["thaw new 10", "relax old 50", "relax new 50", "relax old", "relax new"]);
  assert.deepEqual(
    world.run(60_000, () => [delay(0, world.ids)]),
    [],
  );
});

test("between the thresholds everything stays; a spike shorter than escalate_ms does nothing", () => {
  const world = new World([guest("a", 1)]);
  for (let i = 0; i < 50; i++) {
    assert.deepEqual(
      world.run(800, () => [delay(50, ["a"])]),
      [],
    );
    assert.deepEqual(
      world.run(200, () => [delay(3, ["a"])]),
      [],
    );
  }
  assert.deepEqual(
    world.run(1400, () => [delay(50, ["a"])]),
    ["throttle a 50"],
  );
  assert.deepEqual(
    world.run(100_000, () => [delay(3, ["a"])]),
    [],
  );
});

test("only who may be the cause is touched", () => {
  const world = new World([guest("near", 1), guest("far", 2)]);
  const words = world.run(20_000, () => [delay(50, ["near"]), delay(0, ["near", "far"], 8)]);
  assert.ok(words.length > 0 && words.every((word) => word.includes("near")));
});

test("a signal goes no further than its strongest action; frozen too long is let down, and not frozen as long", () => {
  const of = policyOf('[job_run_delay]\nstrongest = "freeze"\n[freeze]\nmax_ms = 10000\n');
  const world = new World([guest("a", 1)], of);
  const words = world.run(14_000, () => [delay(50, ["a"])]);
  assert.deepEqual(words, ["throttle a 50", "throttle a 10", "freeze a", "thaw a 10"]);
  assert.deepEqual(
    world.run(8_000, () => [delay(50, ["a"])]),
    [],
  );
  assert.deepEqual(
    world.run(4_000, () => [delay(50, ["a"])]),
    ["freeze a"],
  );
});

test("frozen while the signal is neither hot nor calm: ended after freeze.max_ms", () => {
  const world = new World([guest("a", 1)]);
  world.run(3400, () => [delay(50, ["a"])]);
  assert.equal(world.state.holds.get("a")?.frozenSinceMs, 3200);
  assert.deepEqual(
    world.run(29_600, () => [delay(3, ["a"])]),
    [],
  );
  assert.deepEqual(
    world.run(400, () => [delay(3, ["a"])]),
    ["evict a"],
  );
});

test("who has to be held again soon after waits twice as long", () => {
  const of = policyOf('[throttle]\nquota_percent = [50]\n[job_run_delay]\nstrongest = "throttle"\n');
  const world = new World([guest("a", 1)], of);
  const spells: number[] = [];
  for (let round = 0; round < 3; round++) {
    assert.deepEqual(
      world.run(1400, () => [delay(50, ["a"])]),
      ["throttle a 50"],
    );
    const from = world.nowMs;
    while (world.look([delay(0, ["a"])]).length === 0);
    spells.push(world.nowMs - from);
  }
  assert.ok((spells[1] ?? 0) >= 10_000 && (spells[2] ?? 0) >= 20_000, spells.join());
});

test("a newcomer is throttled with the others at once, and the node is closed while somebody is frozen", () => {
  const world = new World([guest("a", 1)]);
  assert.equal(closedBy(policy, world.state, world.nowMs), false);
  world.run(3400, () => [delay(50, world.ids)]);
  assert.equal(closedBy(policy, world.state, world.nowMs), true);
  world.guests.push(guest("b", 9));
  assert.deepEqual(
    world.run(200, () => [delay(50, world.ids)]),
    ["throttle b 50"],
  );
});

test("headroom is bad below, and a signal that the policy does not use is no reading", () => {
  const headroom = (value: number): Reading => ({
    signal: "node_memory_headroom",
    jobId: undefined,
    value,
    leaseIds: ["a"],
  });
  assert.deepEqual(
    new World([guest("a", 1)]).run(1400, () => [headroom(100)]),
    ["throttle a 50"],
  );
  assert.deepEqual(
    new World([guest("a", 1)]).run(9000, () => [headroom(400)]),
    [],
  );
  const off = policyOf("[node_memory_headroom]\nuse = false\n");
  assert.deepEqual(
    new World([guest("a", 1)], off).run(9000, () => [headroom(100)]),
    [],
  );
});

interface Round {
  readonly steps: number;
  readonly values: readonly number[];
  readonly comes: boolean;
  readonly durable: boolean;
  readonly goes: boolean;
}

const rounds: fc.Arbitrary<Round[]> = fc.array(
  fc.record({
    steps: fc.integer({ min: 1, max: 60 }),
    values: fc.array(fc.constantFrom(0, 1, 3, 4, 6, 50), { minLength: 2, maxLength: 2 }),
    comes: fc.boolean(),
    durable: fc.boolean(),
    goes: fc.boolean(),
  }),
  { maxLength: 25 },
);
const anyPolicy = fc
  .record({
    quotas: fc.constantFrom("[]", "[50]", "[50, 10]"),
    throttle: fc.constantFrom("node", "guest"),
    freeze: fc.constantFrom("node", "guest"),
    strongest: fc.constantFrom("throttle", "freeze", "shrink", "evict"),
    escalate: fc.constantFrom(200, 1000),
    relax: fc.constantFrom(400, 5000),
  })
  .map((each) =>
    policyOf(
      `escalate_ms = ${each.escalate}\nrelax_ms = ${each.relax}\n[throttle]\nquota_percent = ${each.quotas}\nscope = "${each.throttle}"\n` +
        `[freeze]\nscope = "${each.freeze}"\n[job_run_delay]\nstrongest = "${each.strongest}"\n`,
    ),
  );

test("whatever the signals do: no faster than the hold times, one rung at a time, nothing after the end, calm in the end", () => {
  fc.assert(
    fc.property(rounds, anyPolicy, (story, of) => {
      const world = new World([guest("g0", 1), guest("g1", 2, { kind: "region", cores: 0 })], of);
      const rungs = new Map<string, number>();
      const changed = new Map<string, { atMs: number; up: boolean }>();
      const ended = new Set<string>();
      let made = 2;
      const step = (readings: Reading[]): void => {
        const known = new Map(world.guests.map((each) => [each.leaseId, each]));
        const moving = world.guests.some((each) => each.moving);
        const { holds } = world.state;
        for (const { action, leaseId, rung } of world.look(readings)) {
          assert.ok(known.has(leaseId), "who is not here cannot be touched");
          assert.ok(!ended.has(leaseId), `${leaseId} had ended`);
          const is = known.get(leaseId);
          if (is?.durable) assert.notEqual(action, "freeze");
          const last = changed.get(leaseId);
          const up = !["relax", "thaw"].includes(action);
          const sinceMs = world.nowMs - (last?.atMs ?? Number.NEGATIVE_INFINITY);
          const forced = action === "thaw" && of.signals.job_run_delay.strongest === "freeze";
          if (up) assert.ok(sinceMs >= of.escalateMs, `up after ${sinceMs} ms`);
          else assert.ok(sinceMs >= of.relaxMs || forced, `down after ${sinceMs} ms`);
          const before = rungs.get(leaseId) ?? 0;
          if (rung === undefined) {
            ended.add(leaseId);
            const top = of.rungs.length - (is?.durable ? 2 : 1);
            assert.equal(before, top, "ended from the highest rung only");
            const frozenMs = world.nowMs - (holds.get(leaseId)?.frozenSinceMs ?? world.nowMs);
            assert.ok(!moving || frozenMs >= of.freezeMaxMs, "ended while another moves");
          } else assert.equal(of.rungs.indexOf(rung), before + (up ? 1 : -1));
          rungs.set(leaseId, rung === undefined ? -1 : of.rungs.indexOf(rung));
          changed.set(leaseId, { atMs: world.nowMs, up });
        }
      };
      for (const round of story) {
        if (round.comes && world.guests.length < 5)
          world.guests.push(guest(`g${made++}`, made, round.durable ? durable : {}));
        if (round.goes) world.guests.shift();
        if (round.goes) world.moved();
        for (let i = 0; i < round.steps; i++)
          step(
            round.values.map((value, job) =>
              delay(
                value,
                world.ids.filter((_, k) => k % 2 === job || job === 0),
                job,
              ),
            ),
          );
      }
      for (let ms = 0; ms < 64 * of.relaxMs * of.rungs.length; ms += 200) step([]);
      for (const hold of world.state.holds.values()) assert.equal(hold.rung, 0, "held though all is calm");
      assert.equal(world.state.hot.size, 0);
    }),
    { numRuns: 150 },
  );
});
