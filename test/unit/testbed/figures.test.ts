import assert from "node:assert/strict";
import { test } from "node:test";
import {
  latenciesOf,
  loopTimeOf,
  metricValues,
  optionsRunOf,
  parseEvents,
  utilisationOf,
} from "../../../deploy/testbed/main-job/figures.ts";

const output = `slurmstepd: some noise
{"event":"lease","unix_s":10.5,"id":"a","node":"n1","workers":1,"same_node":0,"request_us":8123.4}
{"event":"region","unix_s":11,"node":"n2","bytes":536870912,"wrong_pieces":0,"put_bytes_per_s":2e9,"get_bytes_per_s":3e9}
{"event":"round","unix_s":12,"round":0,"seconds":0.25,"remote":40,"local":60,"retried":0}
{"event":"lease_ended","unix_s":13,"id":"a","node":"n1","state":3,"reason":"batch job","calls":40}
{"event":"latency","unix_s":14,"what":"hot","path":"same node","p50_us":0.5,"p99_us":0.9,"count":100}
{"event":"priced","unix_s":15,"options":2000000,"rounds":1,"ranks":1,"checksum":"00ff","sum_of_calls":1.5,"seconds":0.25,"remote":40,"local":60,"retried":2}
{"event":"cut off
`;

test("the events of a run are read; noise and a torn last line are passed over", () => {
  const events = parseEvents(output);
  const run = optionsRunOf(events);
  assert.equal(run.checksum, "00ff");
  assert.equal(run.retried, 2);
  assert.deepEqual(run.leases, [{ node: "n1", requestUs: 8123.4 }]);
  assert.deepEqual(run.ended, [{ node: "n1", revoked: true, reason: "batch job" }]);
  assert.equal(run.region?.wrongPieces, 0);
  assert.equal(latenciesOf(events)[0]?.p50Us, 0.5);
  assert.equal(optionsRunOf([]).checksum, undefined);
});

test("the loop time is the one LAMMPS prints", () => {
  assert.equal(loopTimeOf("x\nLoop time of 12.25 on 1 procs for 250 steps with 32000 atoms\n"), 12.25);
  assert.equal(loopTimeOf("ERROR: no such file"), undefined);
});

test("utilisation weighs samples by the time they stand for", () => {
  const sample = (atMs: number, jobs: number, leased: number) => ({
    atMs,
    cores: { total: 4, jobs, leased },
    memoryBytes: { total: 100, jobs: 0, leased: 0 },
  });
  const mean = utilisationOf([sample(0, 2, 0), sample(1000, 2, 2), sample(4000, 0, 0)], "cores");
  assert.equal(mean.slurmAlone, 0.5);
  assert.equal(mean.withSublet, (2 * 1000 + 4 * 3000) / 16000);
  assert.ok(Number.isNaN(utilisationOf([], "cores").slurmAlone));
});

test("metric values are found by exact name", () => {
  const page =
    '# TYPE sublet_cores gauge\nsublet_cores{state="total"} 4\nsublet_cores_x 1\nsublet_snapshot_age_seconds 2.5\n';
  assert.deepEqual([...metricValues(page, "sublet_cores")], [['state="total"', 4]]);
  assert.equal(metricValues(page, "sublet_snapshot_age_seconds").get(""), 2.5);
});
