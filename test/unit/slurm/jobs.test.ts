import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { jobStateOf, parseJobs } from "../../../src/slurm/jobs.ts";

const fixture = (name: string): string => readFileSync(new URL(`fixtures/${name}`, import.meta.url), "utf8");

test("reads what squeue of Slurm 22.05 prints", () => {
  const jobs = parseJobs(fixture("small-busy-jobs.txt"));
  assert.deepEqual(
    jobs.map((job) => [job.id, job.state, job.sharing, job.nodes.join(), job.plannedNodes.join()]),
    [
      [1, "running", "cores", "n1", ""],
      [2, "running", "exclusive", "n2", ""],
      [3, "running", "oversubscribe", "n3", ""],
      [4, "running", "user", "n1", ""],
      [5, "pending", "exclusive", "", "n1,n2,n3"],
      [6, "pending", "cores", "", "n1"],
      [7, "pending", "cores", "", ""],
      [8, "pending", "cores", "", ""],
    ],
  );
  assert.deepEqual(jobs[2], {
    id: 3,
    state: "running",
    user: "root",
    uid: 0,
    account: undefined,
    partitions: ["share"],
    sharing: "oversubscribe",
    cores: 2,
    startUnixMs: 1795508704_000,
    endUnixMs: 1795509184_000,
    nodes: ["n3"],
    plannedNodes: [],
    qos: "normal",
  });
  assert.equal(jobs[6]?.startUnixMs, undefined);
});

test("a suspended job still holds its nodes, an unknown state may", () => {
  const job = parseJobs(fixture("small-mixed-jobs.txt"))[0];
  assert.deepEqual([job?.state, job?.nodes], ["holding", ["n2"]]);
  assert.equal(jobStateOf("COMPLETING"), "holding");
  assert.equal(jobStateOf("SOMETHING_NEW"), "holding");
});

test("no jobs are no jobs, sharing that we do not know is exclusive", () => {
  assert.deepEqual(parseJobs(""), []);
  assert.equal(parseJobs("9|RUNNING|u|1|a|p|TOPO|1|5|N/A|n1|(null)|normal|.\n")[0]?.sharing, "exclusive");
});

test("what is cut or not ours is an error, never fewer jobs", () => {
  const text = fixture("small-busy-jobs.txt");
  for (let length = 1; length < text.length; length++) {
    if (text[length - 1] === "\n") continue;
    assert.throws(() => parseJobs(text.slice(0, length)), { code: "INTERNAL" }, `cut at ${length}`);
  }
  const line = "9|RUNNING|u|1|a|p|OK|1|5|N/A|n1|(null)|normal|.\n";
  assert.equal(parseJobs(line).length, 1);
  for (const [from, to] of [
    ["9|", "x|"],
    ["|u|1|", "|u|-1|"],
    ["|1|5|", "|1|2026-11-24T08:25:04|"],
    ["|p|", "|p|q|"],
  ] as const)
    assert.throws(() => parseJobs(line.replace(from, to)), { code: "INTERNAL" }, to);
  assert.throws(() => parseJobs("squeue: something is wrong\n"), { code: "INTERNAL" });
  assert.throws(() => parseJobs(line.replace("|n1|", "|n[1-|")));
});

test("any fields survive the way through a line", () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9_-]{0,8}$/);
  const nodes = fc.uniqueArray(fc.nat(500), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(
      fc.nat(1e9),
      name,
      fc.nat(4e9),
      name,
      fc.nat(1e6),
      nodes,
      (id, user, uid, account, cores, on) => {
        fc.pre(account !== "null");
        const list = `n[${on.join(",")}]`;
        const [job] = parseJobs(`${id}|RUNNING|${user}|${uid}|${account}|a,b|OK|${cores}|1|2|${list}||q|.\n`);
        assert.deepEqual(
          [job?.id, job?.user, job?.uid, job?.account, job?.cores, job?.nodes, job?.partitions],
          [id, user, uid, account, cores, on.map((n) => `n${n}`), ["a", "b"]],
        );
      },
    ),
  );
});
