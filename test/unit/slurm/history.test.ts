import assert from "node:assert/strict";
import { test } from "node:test";
import { SubletError } from "../../../src/common/errors.ts";
import { type HistoryJob, parseEvents, parseSinfo, SacctParser } from "../../../src/slurm/history.ts";

const header = "JobIDRaw|Start|End|NNodes|AllocTRES|NodeList|CPUTimeRAW|TotalCPU|MaxRSS|NTasks";

function jobsOf(parser: SacctParser, lines: readonly string[]): HistoryJob[] {
  const found = lines.map((line) => parser.take(line));
  return [...found, parser.end()].filter((job) => job !== undefined);
}

test("jobs of sacct, with what their steps used", () => {
  const parser = new SacctParser();
  const jobs = jobsOf(parser, [
    header,
    "7|1000000000|1000003600|2|billing=8,cpu=8,mem=16G,node=2|n[1-2]|28800|04:00:00||",
    "7.batch|1000000000|1000003600|1|cpu=4,mem=8G,node=1|n1|14400|00:00.123|1048576K|1",
    "7.0|1000000000|1000003600|2|cpu=8,mem=16G,node=2|n[1-2]|28800|03:59:59|2G|4",
    "8|1000000000|Unknown|1|cpu=1,mem=512M,node=1|n1|60|00:00:00||",
    "9|Unknown|1000000100|1||None assigned|0|00:00:00||",
    "10|1000000000|1000000100|1|cpu=1|n[1|0|1-00:00:00||",
  ]);
  assert.equal(jobs.length, 2);
  assert.deepEqual(jobs[0], {
    startMs: 1e12,
    endMs: 1e12 + 3_600_000,
    nodes: ["n1", "n2"],
    cores: 4,
    memoryMib: 8192,
    busy: 0.5,
    usedMib: 4096,
  });
  assert.deepEqual(jobs[1], {
    startMs: 1e12,
    endMs: undefined,
    nodes: ["n1"],
    cores: 1,
    memoryMib: 512,
    busy: undefined,
    usedMib: undefined,
  });
  assert.deepEqual([parser.skipped, parser.garbage], [1, 1]);
});

test("columns are found by name, in each answer anew, and a record without them says how to make one", () => {
  const parser = new SacctParser();
  assert.equal(jobsOf(parser, [header, "1|1000000000|1000000100|1|cpu=1|n1|100|00:10"]).length, 1);
  const moved = "NodeList|End|Start|AllocTRES|NNodes|JobIDRaw";
  assert.equal(jobsOf(parser, [moved, "n1|1000000100|1000000000|cpu=1|1|2"])[0]?.startMs, 1e12);
  assert.throws(
    () => parser.take("JobID|Start|End"),
    (error) => error instanceof SubletError && /no column JobIDRaw.*sacct -a -X -P/.test(error.message),
  );
});

test("nodes of sinfo: one of several partitions is one node, flags of its state are dropped", () => {
  assert.deepEqual(parseSinfo("n1|4|1000|batch*|idle\nn1|4|1000|debug|idle\nn2|8|2000+|batch*|down*\n"), [
    { node: "n1", cores: 4, memoryMib: 1000, partitions: ["batch", "debug"], state: "idle" },
    { node: "n2", cores: 8, memoryMib: 2000, partitions: ["batch"], state: "down" },
  ]);
  assert.throws(() => parseSinfo("n1|four|1000|batch|idle"), /line 1 of sinfo/);
});

test("outages: those of the whole cluster are not a node's, and one goes on", () => {
  assert.deepEqual(
    parseEvents("|1000000000|Unknown|\nn1|1000000000|1000000100|DOWN*\nn2|1000000000|Unknown|DRAIN\n", 2e12),
    [
      { node: "n1", startMs: 1e12, endMs: 1e12 + 100_000 },
      { node: "n2", startMs: 1e12, endMs: 2e12 },
    ],
  );
});
