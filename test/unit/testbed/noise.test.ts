import assert from "node:assert/strict";
import { test } from "node:test";
import { noiseOf, progressOf, slowdown, stepOf } from "../../../deploy/testbed/main-job/noise.ts";

/** 25 steps in 0.1 s, from the 75th on in 0.2 s. */
const output = `LAMMPS
 12 13
A_began_at_1000.5
Step CPU
       0            0
      25          0.1
      50          0.2
      75          0.3
     100          0.5
     125          0.7
     150  9.0e-1
Loop time of 3
`;

test("A's own account: steps and when", () => {
  const progress = progressOf(output);
  assert.equal(progress.length, 7, "lines before the table are none of it");
  assert.deepEqual(progress.at(-1), { step: 150, unixS: 1001.4 });
  assert.deepEqual(progressOf("srun: error"), []);
});

/** On its core for the half of the time until 1001, then all of it. */
const ran = [
  { unixS: 1000, cpuS: 0, waitedS: 0 },
  { unixS: 1001, cpuS: 0.5, waitedS: 0.4 },
  { unixS: 1003, cpuS: 2.5, waitedS: 0.4 },
];
const near = (value: number | undefined, wanted: number) =>
  assert.ok(Math.abs((value ?? Number.NaN) - wanted) < 1e-6, `${value} is not ${wanted}`);

test("time of a step within a stretch", () => {
  const stretch = (fromS: number, toS: number) => ({ company: "alone" as const, cycle: 0, fromS, toS });
  const progress = progressOf(output);
  const step = stepOf(progress, ran, stretch(1000, 1000.85));
  near(step?.wallMs, 4);
  near(step?.cpuMs, 2);
  near(step?.waitedMs, 1.6);
  near(stepOf(progress, ran, stretch(1000.75, 1002))?.wallMs, 8);
  near(stepOf(progress, [], stretch(1000.75, 1002))?.wallMs, 8);
  assert.equal(stepOf(progress, ran, stretch(1000.75, 1001.1)), undefined, "two lines are too few");
});

test("a slowdown is that of each cycle", () => {
  const noise = noiseOf(output, ran, [
    { company: "functions", cycle: 0, fromS: 1000.75, toS: 1002 },
    { company: "alone", cycle: 0, fromS: 1000, toS: 1000.85 },
    { company: "alone", cycle: 1, fromS: 2000, toS: 2001 },
    { company: "functions", cycle: 1, fromS: 1000, toS: 1002 },
  ]);
  assert.deepEqual([noise.alone.length, noise.functions.length, noise.job.length], [2, 2, 0]);
  const found = slowdown(noise, "functions", "alone");
  assert.equal(found.cycles, 1, "A said nothing in the other one");
  near(found.median, 1);
  assert.equal(slowdown(noise, "job", "alone").cycles, 0);
});
