import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type CapacityClass, type Durability, isDurable } from "../../../src/common/nouns.ts";
import {
  type Candidate,
  openMs,
  type PlacementOffer,
  type PlacementRequest,
  place,
  type SlurmView,
} from "../../../src/placement/place.ts";

const mib = 1024 * 1024;
const nowMs = 1_000_000;

const request = (changes: Partial<PlacementRequest> = {}): PlacementRequest => ({
  kind: "function",
  cores: 2,
  minCores: 2,
  memoryBytes: 64 * mib,
  termMs: 60_000,
  excludeNodes: new Set(),
  node: undefined,
  seed: "a",
  ...changes,
});

const offer = (
  node: string,
  cores: number,
  changes: Partial<PlacementOffer> & { class?: CapacityClass; mib?: number } = {},
): PlacementOffer => ({
  node,
  receivedAtMs: nowMs - 100,
  connected: true,
  horizonMs: 0,
  spare: [
    {
      class: changes.class ?? "unallocated",
      cores: Array.from({ length: cores }, (_, i) => i),
      memoryBytes: (changes.mib ?? 1024) * mib,
    },
  ],
  ...changes,
});

const slurm = (states: Record<string, string>, more: object = {}): SlurmView => ({
  nodes: new Map(
    Object.entries(states).map(([name, state]) => [
      name,
      { state, exclusive: false, plannedStartMs: undefined, ...more },
    ]),
  ),
});

const names = (candidates: readonly Candidate[]): string[] => candidates.map(({ node }) => node);

test("a node is open as long as placement would not leave it out", () => {
  const view = slurm({ a: "idle", b: "draining", c: "planned" });
  assert.equal(openMs("a", undefined, nowMs), 86_400_000);
  assert.equal(openMs("a", view, nowMs), 86_400_000);
  assert.deepEqual(
    ["b", "c", "stranger"].map((name) => openMs(name, view, nowMs)),
    [0, 0, 0],
  );
  assert.equal(openMs("a", slurm({ a: "idle" }, { exclusive: true }), nowMs), 0);
  const planned = (inMs: number): SlurmView => slurm({ a: "mixed" }, { plannedStartMs: nowMs + inMs });
  assert.equal(openMs("a", planned(119_999), nowMs), 0);
  assert.equal(openMs("a", planned(200_000), nowMs), 200_000);
  for (const termMs of [150_000, 250_000])
    assert.equal(
      place(request({ termMs }), [offer("a", 4)], planned(200_000), [], nowMs).candidates.length > 0,
      openMs("a", planned(200_000), nowMs) >= termMs,
    );
});

test("nodes that Slurm does not leave to us are out, each with its reason", () => {
  const states = [
    "draining",
    "down",
    "reserved",
    "powering",
    "planned",
    "unknown",
    "idle",
    "mixed",
    "allocated",
  ];
  const view = slurm(Object.fromEntries(states.map((state) => [state, state])));
  const offers = [...states, "stranger"].map((name) => offer(name, 4));
  const { candidates, out } = place(request(), offers, view, [], nowMs);
  assert.deepEqual(names(candidates).sort(), ["allocated", "idle", "mixed"]);
  assert.deepEqual(Object.fromEntries(out.map(({ node, reason }) => [node, reason])), {
    draining: "slurm_state",
    down: "slurm_state",
    reserved: "slurm_state",
    powering: "slurm_state",
    unknown: "slurm_state",
    planned: "planned_soon",
    stranger: "unknown_to_slurm",
  });
  assert.equal(place(request(), offers, undefined, [], nowMs).candidates.length, offers.length);
});

test("a node held exclusively, or wanted by a planned job within the margin or the term, is out", () => {
  const one = (more: object, changes = {}) =>
    place(request(changes), [offer("n1", 4)], slurm({ n1: "idle" }, more), [], nowMs).out[0]?.reason;
  assert.equal(one({ exclusive: true }), "exclusive_job");
  assert.equal(one({ plannedStartMs: nowMs + 119_000 }), "planned_soon");
  assert.equal(one({ plannedStartMs: nowMs - 5 }), "planned_soon");
  assert.equal(one({ plannedStartMs: nowMs + 121_000 }), undefined);
  assert.equal(one({ plannedStartMs: nowMs + 121_000 }, { termMs: 300_000 }), "planned_soon");
});

test("silent agents, excluded nodes and all but the named one are out", () => {
  const offers = [
    offer("gone", 4, { connected: false }),
    offer("old", 4, { receivedAtMs: nowMs - 31_000 }),
    offer("tried", 4),
    offer("closed", 0, { spare: [] }),
    offer("small", 1),
    offer("tight", 4, { mib: 63 }),
    offer("good", 2),
  ];
  const { candidates, out } = place(
    request({ excludeNodes: new Set(["tried"]) }),
    offers,
    undefined,
    [],
    nowMs,
  );
  assert.deepEqual(names(candidates), ["good"]);
  assert.deepEqual(
    out.map(({ node, reason }) => [node, reason]),
    [
      ["gone", "agent_gone"],
      ["old", "offer_old"],
      ["tried", "excluded"],
      ["closed", "closed"],
      ["small", "no_cores"],
      ["tight", "no_memory"],
    ],
  );
  assert.deepEqual(names(place(request({ node: "good" }), offers, undefined, [], nowMs).candidates), [
    "good",
  ]);
  assert.deepEqual(names(place(request({ node: "small" }), offers, undefined, [], nowMs).candidates), []);
});

test("the whole wish first, then the fullest part", () => {
  const offers = [offer("n1", 1), offer("n3", 3), offer("n4", 4, { class: "idle" }), offer("n2", 2)];
  const { candidates } = place(request({ cores: 4, minCores: 1 }), offers, undefined, [], nowMs);
  assert.deepEqual(
    candidates.map(({ node, cores }) => [node, cores]),
    [
      ["n4", 4],
      ["n3", 3],
      ["n2", 2],
      ["n1", 1],
    ],
  );
});

test("functions go beside jobs first, regions to idle nodes; spread there, pack here", () => {
  const offers = [
    offer("beside8", 8, { mib: 8 }),
    offer("beside4", 4, { mib: 4 }),
    offer("idle8", 8, { class: "idle", mib: 8 }),
    offer("idle4", 4, { class: "idle", mib: 4 }),
    offer("shared", 8, { class: "shared", mib: 8 }),
  ];
  const ordered = (changes: Partial<PlacementRequest>) =>
    names(place(request({ memoryBytes: mib, ...changes }), offers, undefined, [], nowMs).candidates);
  assert.deepEqual(ordered({}), ["beside8", "beside4", "idle4", "idle8", "shared"]);
  assert.deepEqual(ordered({ kind: "region", cores: 0, minCores: 0 }), [
    "idle4",
    "idle8",
    "beside8",
    "beside4",
    "shared",
  ]);
});

test("a region that is to outlive its memory stays off shared capacity, with a reason of its own", () => {
  const part = (name: CapacityClass, mibs: number) => ({ class: name, cores: [], memoryBytes: mibs * mib });
  const offers = [
    offer("shared", 8, { class: "shared" }),
    offer("both", 0, { spare: [part("unallocated", 32), part("shared", 512)] }),
    offer("neither", 0, { spare: [part("unallocated", 32), part("shared", 16)] }),
    offer("room", 0, { spare: [part("unallocated", 128), part("shared", 512)] }),
  ];
  const region = { kind: "region", cores: 0, minCores: 0 } as const;
  for (const durability of ["evacuated", "mirrored"] as const) {
    const { candidates, out } = place(request({ ...region, durability }), offers, undefined, [], nowMs);
    assert.deepEqual(
      candidates.map((each) => [each.node, each.class]),
      [["room", "unallocated"]],
    );
    assert.deepEqual(
      out.map(({ node, reason }) => [node, reason]),
      [
        ["shared", "only_shared"],
        ["both", "only_shared"],
        ["neither", "no_memory"],
      ],
    );
    assert.match(out[0]?.detail ?? "", /class shared, which takes no evacuated or mirrored region/);
  }
  // An older peer says nothing of it.
  for (const durability of ["ephemeral", undefined] as const) {
    const wish = request({ ...region, ...(durability === undefined ? {} : { durability }) });
    assert.deepEqual(names(place(wish, offers, undefined, [], nowMs).candidates).sort(), [
      "both",
      "room",
      "shared",
    ]);
  }
});

test("capacity that ends within the term comes after capacity that lasts", () => {
  const offers = [
    offer("ends", 8, { horizonMs: 30_000 }),
    offer("lasts", 8, { horizonMs: 90_000, class: "idle" }),
  ];
  assert.deepEqual(names(place(request(), offers, undefined, [], nowMs).candidates), ["lasts", "ends"]);
});

test("a term is fitted to what is likely to last, and never longer than asked nor shorter than 15 s", () => {
  const fitted = (horizonMs: number, termMs = 60_000): number | undefined =>
    place(request({ termMs }), [offer("n1", 8, { horizonMs })], undefined, [], nowMs).candidates[0]?.termMs;
  assert.equal(fitted(0), 60_000, "nobody knows");
  assert.equal(fitted(600_000), 60_000);
  assert.equal(fitted(30_100), 30_000, "it was said 100 ms ago");
  assert.equal(fitted(1_000), 15_000);
  assert.equal(fitted(1_000, 5_000), 5_000, "less was asked for");
});

test("equal nodes take turns by the seed", () => {
  const offers = Array.from({ length: 8 }, (_, i) => offer(`n${i}`, 4));
  const first = new Set(
    Array.from(
      { length: 64 },
      (_, i) => place(request({ seed: `lease${i}` }), offers, undefined, [], nowMs).candidates[0]?.node,
    ),
  );
  assert.ok(first.size >= 6, [...first].join());
});

const anyOffers = fc.uniqueArray(
  fc.record({
    node: fc.integer({ min: 0, max: 12 }).map((n) => `n${n}`),
    cores: fc.nat(6),
    mib: fc.nat(300),
    class: fc.constantFrom<CapacityClass>("idle", "unallocated", "shared"),
    connected: fc.boolean(),
    ageMs: fc.nat(60_000),
  }),
  { selector: (o) => o.node, maxLength: 12 },
);
const anyRequest = fc
  .record({
    cores: fc.nat(5),
    min: fc.nat(5),
    mib: fc.nat(200),
    region: fc.boolean(),
    durability: fc.constantFrom<Durability>("ephemeral", "evacuated", "mirrored"),
  })
  .map(({ cores, min, mib: wanted, region, durability }) =>
    request({
      kind: region ? "region" : "function",
      cores: region ? 0 : cores + 1,
      minCores: region ? 0 : Math.min(min, cores + 1),
      memoryBytes: wanted * mib,
      ...(region ? { durability } : {}),
    }),
  );

test("any sequence of requests: never more proposed than offered, a refused node never twice", () => {
  fc.assert(
    fc.property(
      anyOffers,
      fc.array(anyRequest, { maxLength: 30 }),
      fc.infiniteStream(fc.boolean()),
      (specs, wanted, says) => {
        const offers = specs.map((o) =>
          offer(o.node, o.cores, {
            class: o.class,
            mib: o.mib,
            connected: o.connected,
            receivedAtMs: nowMs - o.ageMs,
          }),
        );
        const granted: { node: string; cores: number; memoryBytes: number }[] = [];
        for (const [index, wish] of wanted.entries()) {
          const tried = new Set<string>();
          for (let tries = 0; tries < 6; tries++) {
            const asked = { ...wish, excludeNodes: tried, seed: `${index}` };
            const { candidates, out } = place(asked, offers, undefined, granted, nowMs);
            assert.equal(candidates.length + out.length, offers.length);
            for (const candidate of candidates) {
              assert.ok(!tried.has(candidate.node));
              assert.ok(candidate.cores <= wish.cores && candidate.cores >= wish.minCores);
              assert.ok(wish.cores === 0 || candidate.cores > 0);
              assert.ok(candidate.class !== "shared" || !isDurable(wish));
            }
            const [first] = candidates;
            if (first === undefined) break;
            tried.add(first.node);
            if (says.next().value) {
              granted.push(first);
              break;
            }
          }
        }
        for (const { node, spare, connected, receivedAtMs } of offers) {
          const here = granted.filter((lease) => lease.node === node);
          const sum = (pick: "cores" | "memoryBytes") =>
            here.reduce((total, lease) => total + lease[pick], 0);
          assert.ok(sum("cores") <= (spare[0]?.cores.length ?? 0));
          assert.ok(sum("memoryBytes") <= (spare[0]?.memoryBytes ?? 0));
          assert.ok(here.length === 0 || (connected && nowMs - receivedAtMs <= 30_000));
        }
      },
    ),
  );
});

test("the order does not depend on the order of the offers", () => {
  fc.assert(
    fc.property(anyOffers, anyRequest, (specs, wish) => {
      const offers = specs.map((o) => offer(o.node, o.cores, { class: o.class, mib: o.mib }));
      assert.deepEqual(
        place(wish, offers, undefined, [], nowMs).candidates,
        place(wish, offers.toReversed(), undefined, [], nowMs).candidates,
      );
    }),
  );
});

test("10,000 offers are placed within 250 ms", () => {
  const offers = Array.from({ length: 10_000 }, (_, i) => offer(`n${i}`, 1 + (i % 8)));
  place(request(), offers, undefined, [], nowMs);
  const startedMs = performance.now();
  place(request(), offers, undefined, [], nowMs);
  assert.ok(performance.now() - startedMs < 250, `${performance.now() - startedMs} ms`);
});
