import assert from "node:assert/strict";
import { test } from "node:test";
import { billingOf, QuotasTold } from "../../../../agent/usage/billing.ts";
import type { JobFacts, SlurmJobFacts } from "../../../../src/common/nouns.ts";

const said = (uid: number, account: string): JobFacts => ({
  uid,
  consent: undefined,
  partition: "main",
  account,
  qos: "",
});
const fact = (jobId: number, uid: number, account: string): [number, SlurmJobFacts] => [
  jobId,
  { jobId, uid, account, partition: "main", qos: "", exclusive: false },
];

test("nobody pays for somebody else's lease", () => {
  const state = {
    facts: new Map([fact(7, 1, "physics"), fact(8, 2, "chemistry"), fact(9, 2, "biology")]),
    said: new Map([[10, said(3, "history")]]),
  };
  const account = (uid: number, jobId: number) => billingOf(state, { uid, jobId })?.account;
  assert.equal(account(1, 7), "physics");
  assert.equal(account(2, 9), "biology");
  assert.equal(account(1, 8), "physics", "his own job counts, whatever he names");
  assert.equal(account(2, 0), "chemistry");
  assert.equal(account(3, 10), "history", "as the hooks say, before a controller does");
  assert.equal(account(4, 7), undefined);
});

test("what a controller said holds until the day is over", () => {
  const told = new QuotasTold();
  const physics = {
    account: "physics",
    limitCoreSeconds: 5,
    usedCoreSeconds: 6,
    resetsInMs: 1000,
    timeZone: "UTC",
  };
  const billing = { account: "physics", partition: "" };
  told.learn("a", [physics], 0);
  told.learn("b", [], 0);
  assert.equal(told.mayGrant(billing, 999), false);
  assert.match(told.refusal(billing, "n1", 999)?.message ?? "", /physics has used 6 of 5/);
  assert.equal(told.mayGrant(undefined, 999), false, "it may be that account");
  assert.equal(told.refusal(undefined, "n1", 999), undefined);
  assert.equal(told.mayGrant(billing, 1000), true);
  told.learn("a", [physics], 2000);
  told.learn("a", [], 2001);
  assert.equal(told.mayGrant(billing, 2001), true);
});
