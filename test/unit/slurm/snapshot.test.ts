import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { makeSnapshot } from "../../../src/slurm/snapshot.ts";

const fixture = (name: string): string => readFileSync(new URL(`fixtures/${name}`, import.meta.url), "utf8");
const texts = (name: string) => ({
  nodes: fixture(`small-${name}-nodes.txt`),
  jobs: fixture(`small-${name}-jobs.txt`),
});

test("joins nodes and jobs of a busy cluster", () => {
  const snapshot = makeSnapshot(texts("busy"), 1000, 1795508704_000);
  assert.equal(snapshot.takenAtMs, 1000);
  assert.deepEqual(
    [...snapshot.nodes.values()].map((n) => [n.name, n.state, n.allocatedCores, n.jobs, n.exclusive]),
    [
      ["n1", "mixed", 2, 2, true], // one job is --exclusive=user
      ["n2", "allocated", 4, 1, true],
      ["n3", "mixed", 2, 1, false],
    ],
  );
  // Job 5 is planned on all nodes ten minutes on; job 6 on n1 is later.
  for (const node of snapshot.nodes.values()) assert.equal(node.plannedStartMs, 1000 + 600_000, node.name);
});

test("a node in maintenance, a draining one with a misleading reason, one that is down", () => {
  const snapshot = makeSnapshot(texts("down"), 0, 0);
  assert.deepEqual(
    [...snapshot.nodes.values()].map((n) => [n.name, n.state]),
    [
      ["n1", "reserved"],
      ["n2", "down"],
      ["n3", "draining"],
    ],
  );
});

test("a node that Slurm calls idle while a suspended job holds it for itself is exclusive", () => {
  const node = makeSnapshot(texts("mixed"), 0, 0).nodes.get("n2");
  assert.deepEqual([node?.state, node?.allocatedCores, node?.jobs, node?.exclusive], ["idle", 0, 1, true]);
});

test("no nodes, a cut text, an error message as text: no snapshot", () => {
  const good = texts("busy");
  for (const bad of [
    { ...good, nodes: "" },
    { ...good, nodes: good.nodes.slice(0, -40) },
    { ...good, nodes: `${good.nodes}slurm_load_node error: Unable to contact slurm controller\n` },
    { ...good, jobs: good.jobs.slice(0, -2) },
    { ...good, jobs: good.jobs.replace("|n1|", "|n[1-|") },
  ])
    assert.throws(() => makeSnapshot(bad, 0, 0), { code: "INTERNAL" });
});

test("10,000 nodes and jobs are read well within the poller's interval", () => {
  const nodeLine = fixture("small-busy-nodes.txt").split("\n")[0] as string;
  const nodes = Array.from({ length: 10_000 }, (_, i) => nodeLine.replace("NodeName=n1", `NodeName=n${i}`));
  const jobs = nodes.map((_, i) => `${i}|RUNNING|u|1|a|p|OK|1|5|N/A|n${i}|(null)|normal|.`);
  const startedMs = performance.now();
  const snapshot = makeSnapshot({ nodes: `${nodes.join("\n")}\n`, jobs: `${jobs.join("\n")}\n` }, 0, 0);
  assert.equal(snapshot.nodes.size, 10_000);
  assert.equal(snapshot.nodes.get("n9999")?.jobs, 1);
  // Usually a tenth of a second; the interval is ten.
  assert.ok(performance.now() - startedMs < 10_000, `${performance.now() - startedMs} ms`);
});

test("the states of a real testbed, one fixture after the other", () => {
  const expected: Record<string, string> = {
    idle: "idle idle idle",
    busy: "mixed allocated allocated",
    completing: "idle allocated idle",
    drained: "draining draining reserved",
    maintenance: "draining draining reserved",
    down: "draining down down",
  };
  for (const [name, states] of Object.entries(expected)) {
    const [nodes, jobs] = ["nodes", "jobs"].map((what) => fixture(`testbed/${name}-${what}.txt`));
    const snapshot = makeSnapshot({ nodes: nodes ?? "", jobs: jobs ?? "" }, 0, 1795510203_000);
    assert.equal([...snapshot.nodes.values()].map(({ state }) => state).join(" "), states, name);
  }
});

test("specialized cores are not Slurm's to allocate", () => {
  const snapshot = makeSnapshot({ nodes: fixture("testbed/idle-nodes.txt"), jobs: "" }, 0, 0);
  assert.deepEqual(
    [...snapshot.nodes.values()].map(({ cores }) => cores),
    [2, 1, 1],
  );
});
