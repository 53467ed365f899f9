import assert from "node:assert/strict";
import { test } from "node:test";
import { knownProblems } from "../../../agent/findings.ts";
import { type Answer, formatGroups, groupAnswers } from "../../../src/cli/doctor/cluster.ts";

const well = { version: "1.0.0", findings: { "cgroup.version": "2", cores: "0-3" }, problems: [] };
const many = (first: number, last: number): Answer[] =>
  Array.from({ length: last - first + 1 }, (_, i) => ({
    node: `n${first + i}`,
    health: well,
    clockOffsetMs: 3,
  }));
const text = (answers: readonly Answer[]): string => formatGroups(groupAnswers(answers), undefined);

test("equal answers are one line, what is wrong comes last, the nodes are named", () => {
  const answers: Answer[] = [
    ...many(1, 16),
    { node: "n17", health: well, clockOffsetMs: -90_200 },
    ...many(18, 1998),
    { node: "n1999", why: "the agent does not answer" },
    { node: "n2000", why: "the agent does not answer" },
    { node: "n2001", why: "no agent, and Slurm says down", excused: true },
  ];
  const lines = text(answers).trimEnd().split("\n");
  assert.deepEqual(lines, [
    "1,997 nodes ok: n[1-16,18-1998]",
    "n2001: no agent, and Slurm says down",
    "2 nodes, n[1999-2000]: the agent does not answer",
    "n17: clock 90 s behind",
  ]);
});

test("what an agent says is wrong, is; what it found other than most did, is only shown", () => {
  const drained: Answer = { node: "n5", health: { ...well, problems: ["drained: disk"] } };
  const old: Answer = { node: "n6", health: { ...well, version: "0.9.0" } };
  const other: Answer = {
    node: "n7",
    health: { ...well, findings: { "cgroup.version": "1", cores: "0-7" } },
  };
  const groups = groupAnswers([...many(1, 4), drained, old, other]);
  assert.deepEqual(
    groups.map(({ result, nodes, says }) => [result, nodes.join(), says.join()]),
    [
      ["ok", "n1,n2,n3,n4", ""],
      ["warn", "n6", "version is 0.9.0, mostly 1.0.0"],
      ["warn", "n7", "cgroup.version is 1, mostly 2"],
      ["fail", "n5", "drained: disk"],
    ],
  );
});

test("an agent knows its own troubles", () => {
  assert.deepEqual(knownProblems({ starterUp: true, drain: undefined }, { "cgroup.alarms": "" }, true), []);
  const drain = { uid: 0, why: "disk", sinceUnixMs: 1 };
  const facts = { "cgroup.alarms": "memory.max", "guard.policy_refused": "yes" };
  assert.deepEqual(
    knownProblems({ starterUp: false, drain }, facts, false).map((each) => each.split(":")[0]),
    [
      "the starter is not connected",
      "no controller is connected",
      "drained",
      "the guard's new policy was refused",
      "limits of the guests did not take",
    ],
  );
});
