/** What the controller keeps of jobs: receipts of agents, and the facts that agents are told. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FactsTold, factsByNode } from "../../../src/controller/facts.ts";
import { checkReceipt, ReceiptStore } from "../../../src/controller/receipts.ts";
import { checkReport } from "../../../src/controller/report.ts";
import { briefReceipt } from "../../../src/rpc/receipts.ts";
import { makeSnapshot } from "../../../src/slurm/snapshot.ts";
import { receiptMessage as receipt, reportMessage } from "./samples.ts";

test("receipts are told apart by job, node and life; the same again changes nothing", () => {
  const store = new ReceiptStore();
  store.add(receipt({ node: "n2" }));
  store.add(receipt());
  store.add(receipt());
  store.add(receipt({ fromUnixMs: 500 }));
  store.add(receipt({ jobId: 8 }));
  assert.deepEqual(
    store.of(7).map(({ node, fromUnixMs }) => [node, fromUnixMs]),
    [
      ["n1", 500],
      ["n1", 1000],
      ["n2", 1000],
    ],
  );
  assert.deepEqual(store.of(9), []);
});

test("for a list of jobs the guests of a receipt are one line, which says only what they have in common", () => {
  const guest = (changes: object) => ({
    leaseId: "a",
    uid: 7,
    kind: "LEASE_KIND_FUNCTION" as const,
    class: "CAPACITY_CLASS_SHARED" as const,
    coreSeconds: 1.5,
    byteSeconds: 10,
    leases: 1,
    ...changes,
  });
  const whole = receipt({ guests: [guest({}), guest({ leaseId: "b", uid: 8 }), guest({ coreSeconds: 2 })] });
  assert.deepEqual(briefReceipt(whole), {
    ...whole,
    guests: [guest({ leaseId: "", uid: 0, coreSeconds: 5, byteSeconds: 30, leases: 3 })],
  });
  assert.deepEqual(briefReceipt(receipt()).guests, []);
  const store = new ReceiptStore();
  store.add(receipt({ jobId: 9 }));
  store.add(receipt({ jobId: 8 }));
  assert.deepEqual(
    [...store.all()].map(({ jobId }) => jobId),
    [9, 8],
  );
});

test("a bounded number is kept, the newest", () => {
  const store = new ReceiptStore();
  for (let jobId = 1; jobId <= 20_010; jobId++) store.add(receipt({ jobId }));
  assert.equal(store.size, 20_000);
  assert.deepEqual(store.of(10), []);
  assert.equal(store.of(11).length, 1);
});

test("a receipt that makes no sense is refused, and so is one of another node", () => {
  const guest = {
    leaseId: "l-1",
    uid: 1,
    kind: "LEASE_KIND_FUNCTION" as const,
    class: "CAPACITY_CLASS_SHARED" as const,
    coreSeconds: 1,
    byteSeconds: 1,
    leases: 1,
  };
  assert.ok(checkReceipt(receipt({ guests: [guest] }), "n1"));
  for (const bad of [
    receipt({ node: "n2" }),
    receipt({ jobId: 0 }),
    receipt({ guests: Array(300).fill(guest) }),
    receipt({ guests: [{ ...guest, coreSeconds: Number.NaN }] }),
    receipt({ guests: [{ ...guest, leaseId: "../x" }] }),
    receipt({ actions: [{ action: "<script>", count: 1 }] }),
    receipt({ toUnixMs: 2 ** 60 }),
  ])
    assert.throws(() => checkReceipt(bad, "n1"), { code: "INVALID_ARGUMENT" });
  const report = { ...reportMessage("n1"), receipts: [receipt({ node: "n2" })] };
  assert.throws(() => checkReport(report), { code: "INVALID_ARGUMENT" });
});

const nodesText = ["n1", "n2"]
  .map(
    (name) =>
      `NodeName=${name} CPUAlloc=1 CPUTot=2 RealMemory=100 AllocMem=10 State=MIXED Partitions=main \n`,
  )
  .join("");
const jobLine = (id: number, sharing: string, nodes: string, qos = "long"): string =>
  `${id}|RUNNING|u|5000|physics|main|${sharing}|1|5|N/A|${nodes}|(null)|${qos}|.\n`;
const snapshot = (jobs: string) => makeSnapshot({ nodes: nodesText, jobs }, 0, 0);

test("facts: who holds the node, under which account, partition and QOS, and whether for himself", () => {
  const facts = factsByNode(
    snapshot(
      `${jobLine(7, "OK", "n[1-2]")}${jobLine(8, "NO", "n2", "(null)")}9|PENDING|u|1|a|p|NO|1|5|N/A||n1|q|.\n`,
    ),
  );
  const seven = { jobId: 7, uid: 5000, partition: "main", account: "physics", qos: "long", exclusive: false };
  assert.deepEqual(facts.get("n1"), [seven]);
  assert.deepEqual(facts.get("n2"), [seven, { ...seven, jobId: 8, qos: "", exclusive: true }]);
});

test("an agent is told facts when they are news to it, and again after its stream was gone", () => {
  const told = new FactsTold();
  const first = snapshot(jobLine(7, "OK", "n1"));
  assert.equal(told.newsFor("n1", undefined), undefined);
  assert.equal(told.newsFor("n1", first)?.length, 1);
  assert.equal(told.newsFor("n1", first), undefined);
  assert.equal(told.newsFor("n1", snapshot(jobLine(7, "OK", "n1"))), undefined);
  assert.deepEqual(told.newsFor("n2", first), []);
  assert.deepEqual(told.newsFor("n1", snapshot("")), []);
  told.forget("n1");
  assert.deepEqual(told.newsFor("n1", snapshot("")), []);
});
