/** The accounting of a whole controller over real gRPC: records in, acknowledgements and quotas out, usage to who may see it. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Controller } from "../../../src/controller/controller.ts";
import { checkUsage } from "../../../src/controller/usage.ts";
import type { ReportStream } from "../../../src/rpc/client.ts";
import { usageToWire } from "../../../src/rpc/convert.ts";
import type { ReportResponse } from "../../../src/rpc/messages.ts";
import type { CommandRunner } from "../../../src/slurm/poller.ts";
import { record } from "../accounting/records.ts";
import { eventually } from "../agent/fake-starter.ts";
import { fakeAgent } from "./fake-agent.ts";
import { mib, reportMessage } from "./samples.ts";
import { atEnd, clientOf, controllerWith, stateFolder, until } from "./whole.ts";

/** Alice (uid 20001) has job 7 of account physics, Bob (20002) job 8 of account chemistry, both on n1. */
const slurm: CommandRunner = async ({ question }) => ({
  stdout:
    question === "nodes"
      ? "NodeName=n1 CPUAlloc=1 CPUTot=8 RealMemory=4000 AllocMem=100 State=MIXED Partitions=main\n"
      : [
          "7|RUNNING|alice|20001|physics|main|OK|1|1700000000|1900000000|n1||normal|.",
          "8|RUNNING|bob|20002|chemistry|main|OK|1|1700000000|1900000000|n1||normal|.",
          "",
        ].join("\n"),
  stderr: "",
});

async function accountingWith(tables = "", stateDir = stateFolder()): Promise<Controller> {
  const toml = `[accounting]\ntime_zone = "UTC"\n${tables}`;
  const controller = await controllerWith({ runner: slurm, stateDir, toml });
  const client = clientOf(controller);
  await until("a snapshot", async () => (await client.listNodes({})).snapshotValid);
  return controller;
}

/** A stream of n1's, with all that came down. */
async function streamOf(controller: Controller): Promise<ReportStream & { heard: ReportResponse[] }> {
  const stream = await clientOf(controller).report();
  const heard: ReportResponse[] = [];
  atEnd(() => stream.close());
  void (async () => {
    for await (const response of stream.responses) heard.push(response);
  })().catch(() => undefined); // It ends with the test.
  return { ...stream, heard };
}

const now = Date.now();
const span = { beginUnixMs: now - 100_000, endUnixMs: now };

test("usage is acknowledged when it is stored, completed from Slurm, and shown to who may see it", async () => {
  const stateDir = stateFolder();
  const controller = await accountingWith("", stateDir);
  const stream = await streamOf(controller);
  const usage = [
    record({ ...span, account: "", partition: "" }),
    record({ ...span, leaseId: "L2", uid: 20002, account: "", jobId: 7 }),
    record({ ...span, leaseId: "L3", coreSeconds: 1e9 }),
  ].map(usageToWire);
  stream.send({ ...reportMessage("n1"), usage });
  const acked = (): string[] => stream.heard.flatMap(({ ackedUsage }) => ackedUsage).sort();
  await eventually("all are acknowledged", () => acked().length === 3);
  assert.deepEqual(acked(), ["L1/0", "L2/0", "L3/0"]);

  const ask = async (uid: number, groupBy: ("USAGE_GROUP_ACCOUNT" | "USAGE_GROUP_USER")[], user = "") =>
    (await clientOf(controller, uid).getUsage({ from: "yesterday", groupBy, user })).rows.map(
      (row) => `${row.account} ${row.user} ${row.coreSeconds}`,
    );
  const both = ["USAGE_GROUP_ACCOUNT", "USAGE_GROUP_USER"] as const;
  assert.deepEqual(
    await ask(0, [...both]),
    ["chemistry bob 200", "physics alice 200"],
    "a job of somebody else's does not pay; what cannot be is not stored",
  );
  assert.deepEqual(await ask(20001, [...both]), ["physics alice 200"]);
  assert.deepEqual(await ask(20001, [...both], "bob"), [], "others' usage is not his to see");
  assert.deepEqual(await ask(0, [], "alice"), ["  200"]);
  await assert.rejects(clientOf(controller).getUsage({ from: "soon" }), {
    code: "INVALID_ARGUMENT",
    message: /"soon" is no day: write 2026-11-25/,
  });

  // The next controller finds it.
  await controller.close();
  const next = await accountingWith("", stateDir);
  const again = await streamOf(next);
  again.send({ ...reportMessage("n1"), usage: usage.slice(0, 1) });
  await eventually("told again, acknowledged again", () =>
    again.heard.some((each) => each.ackedUsage.length === 1),
  );
  const { rows } = await clientOf(next).getUsage({ from: "yesterday" });
  assert.equal(rows[0]?.coreSeconds, 400, "and counted once");
  const page = await (await fetch(`http://${next.metricsAddress}/metrics`)).text();
  assert.match(page, /^sublet_usage_records_total\{outcome="duplicate"\} 1$/m);
});

test("an account that has used its quota is refused, clearly; others are not", async () => {
  const controller = await accountingWith("[accounting.quota]\nphysics = 150\n");
  const agent = await fakeAgent({ node: "n1", cores: 4, memoryBytes: 1024 * mib });
  atEnd(() => agent.close());
  await agent.join(controller.address);
  const client = clientOf(controller);
  const lease = async (uid: number, jobId: number) =>
    await client.requestLease({
      request: { kind: "LEASE_KIND_FUNCTION", cores: 1, memoryBytes: 16 * mib },
      owner: { uid, gid: uid, jobId, node: "n1" },
    });
  const granted = await lease(20001, 7);
  assert.deepEqual([granted.lease?.account, granted.lease?.partition], ["physics", "main"]);
  await client.releaseLease({ leaseId: granted.lease?.id ?? "", node: "n1", caller: null });

  const stream = await streamOf(controller);
  const begin = Math.max(
    span.beginUnixMs,
    Date.parse(`${new Date(now).toISOString().slice(0, 10)}T00:00:00Z`),
  );
  const usage = [record({ beginUnixMs: begin, endUnixMs: begin + 75_000, account: "physics" })];
  stream.send({ ...reportMessage("n1", { address: agent.address }), usage: usage.map(usageToWire) });
  await eventually("agents hear of it", () =>
    stream.heard.some(({ quota }) => quota?.exhausted.some(({ account }) => account === "physics")),
  );
  for (const jobId of [7, 0, 8])
    await assert.rejects(lease(20001, jobId), (error: { code: string; message: string; details: object }) => {
      assert.equal(error.code, "RESOURCE_EXHAUSTED");
      assert.match(
        error.message,
        /account physics has used \d+ of 150 core-seconds today: leases are granted again at midnight \(UTC\), in/,
      );
      assert.partialDeepStrictEqual(error.details, { reason: "quota" });
      return true;
    });
});

test("without a state_dir that can be written the controller lends, and says why it keeps no accounts", async () => {
  const file = join(stateFolder(), "file");
  writeFileSync(file, "");
  const controller = await accountingWith("", join(file, "below"));
  const stream = await streamOf(controller);
  stream.send({ ...reportMessage("n1"), usage: [usageToWire(record(span))] });
  await eventually("the report is heard", () => stream.heard.length > 0);
  await assert.rejects(clientOf(controller).getUsage({}), { code: "UNAVAILABLE", message: /ENOTDIR/ });
  assert.deepEqual(
    stream.heard.flatMap(({ ackedUsage }) => ackedUsage),
    [],
    "the agent keeps what it has",
  );
  const page = await (await fetch(`http://${controller.metricsAddress}/metrics`)).text();
  assert.match(page, /^sublet_accounting_database_up 0$/m);
});

test("a record that cannot be is told from one that can", () => {
  const good = usageToWire(record());
  const bad = [
    { ...good, leaseId: "../x" },
    { ...good, node: "n2" },
    { ...good, beginUnixMs: good.endUnixMs + 1 },
    { ...good, byteSeconds: good.byteSeconds * 1.1 },
    { ...good, coreSeconds: Number.NaN },
    { ...good, coreSeconds: -1 },
    { ...good, slice: 2 ** 60 },
    { ...good, state: "LEASE_STATE_UNSPECIFIED" as const },
    { ...good, account: "x".repeat(300) },
  ];
  const checked = checkUsage([...bad, good], "n1");
  assert.equal(checked.invalid.length, bad.length);
  assert.deepEqual(checked.records, [record()]);
});
