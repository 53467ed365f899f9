/** Receipts into the admin comments of Slurm's accounting: what is asked, what is written, how often, and what when it fails. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SubletError } from "../../../src/common/errors.ts";
import { JobComments } from "../../../src/controller/comments.ts";
import { controllerMetrics } from "../../../src/metrics/controller.ts";
import { createRegistry } from "../../../src/metrics/registry.ts";
import type { ReceiptMessage } from "../../../src/rpc/messages.ts";
import type { SlurmCommand } from "../../../src/slurm/commands.ts";
import { commentCommand, mergedComment, parseRecords, recordsCommand } from "../../../src/slurm/comments.ts";

const hour = 3_600_000;
const unixMs = 1_700_000_000_000;

function receipt(jobId: number, changes: Partial<ReceiptMessage> = {}): ReceiptMessage {
  const guest = {
    leaseId: "l",
    uid: 1,
    kind: "LEASE_KIND_FUNCTION" as const,
    class: "CAPACITY_CLASS_SHARED" as const,
    coreSeconds: 2,
    byteSeconds: 1024,
    leases: 1,
  };
  const pressure = {
    durationMs: 2000,
    cpuUs: 10_000,
    memoryUs: 0,
    ioUs: 0,
    watchedMs: 1000,
    memoryWatchedMs: 0,
  };
  return {
    jobId,
    node: "n1",
    uid: 5000,
    fromUnixMs: unixMs - 10_000,
    toUnixMs: unixMs - 1000,
    ended: true,
    consent: "CONSENT_SHARE",
    guests: [guest],
    actions: [],
    alone: pressure,
    beside: pressure,
    pressureOf: "tasks",
    ...changes,
  };
}
const line =
  "sublet: 1 guest, 2.0 core s, 1 KiB s, guard acted 0 times, cpu pressure 1.00 % without and 1.00 % with guests";

/** A Slurm with these comments, by job; what it was asked; a clock. */
function world(comments: Record<number, string>, perMinute = 60) {
  const asked: SlurmCommand[] = [];
  const logged: string[] = [];
  const registry = createRegistry();
  const metrics = controllerMetrics(registry);
  const it = {
    asked,
    logged,
    nowMs: 0,
    state: "COMPLETED",
    on: true,
    broken: undefined as string | undefined,
    receipts: new Map<number, ReceiptMessage[]>(),
    written: () => asked.filter(({ question }) => question === "comment").map(({ args }) => args.at(-1)),
    async outcomes(): Promise<Record<string, number>> {
      const { values } = await metrics.jobComments.get();
      return Object.fromEntries(
        values.filter(({ value }) => value > 0).map((each) => [each.labels.outcome, each.value]),
      );
    },
    async pass(seconds: number): Promise<void> {
      for (let second = 0; second < seconds; second++) {
        it.nowMs += 1000;
        writer.tick();
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
    tell(...told: ReceiptMessage[]): void {
      for (const each of told) it.receipts.set(each.jobId, [...(it.receipts.get(each.jobId) ?? []), each]);
      writer.told(told);
    },
  };
  const writer = new JobComments({
    config: () => ({ adminComment: it.on, adminCommentsPerMinute: perMinute }),
    async runner(command) {
      asked.push(command);
      if (it.broken === command.question) throw new SubletError("UNAVAILABLE", `${command.program}: no`);
      if (command.question !== "records") return { stdout: "", stderr: "" };
      const ids = (command.args.find((arg) => arg.startsWith("--jobs=")) ?? "").slice(7).split(",");
      const rows = ids.filter((id) => Number(id) in comments);
      return {
        stdout: rows.map((id) => [id, it.state, comments[Number(id)], id].join("\u001f")).join("\n"),
        stderr: "",
      };
    },
    receiptsOf: (jobId) => it.receipts.get(jobId) ?? [],
    nowMs: () => it.nowMs,
    unixMs: () => unixMs,
    log: {
      info: (_: unknown, text: string) => void logged.push(text),
      warn: (_: unknown, text: string) => void logged.push(text),
    } as never,
    metrics,
  });
  return it;
}

test("the commands ask slurmdbd only, and what they print is read as a whole or not at all", () => {
  const { args } = recordsCommand([7, 8]);
  assert.ok(args.includes("--jobs=7,8"));
  assert.equal(recordsCommand([7]).rpcs + commentCommand(7, "x").rpcs, 0);
  const rows = [
    "7|COMPLETED||7",
    "8|CANCELLED by 1000|a=b, c|8",
    "9|RUNNING|x|9",
    "10|COMPLETED|one",
    "two|10",
    "11.batch|COMPLETED||11.batch",
    "12|FAILED|a|b|12",
  ];
  const text = rows.join("\n").replaceAll("|", "\u001f");
  assert.deepEqual(
    [...parseRecords(text)],
    [
      [7, { ended: true, comment: "" }],
      [8, { ended: true, comment: "a=b, c" }],
      [9, { ended: false, comment: "x" }],
    ],
  );
});

test("what is in a comment stays, ours comes behind, once; what sacctmgr would spoil is left alone", () => {
  assert.equal(mergedComment("", "sublet: x"), "sublet: x");
  assert.equal(mergedComment("ticket 7 sublet=share", "sublet: x"), "ticket 7 sublet=share; sublet: x");
  for (const there of [
    "sublet: y",
    "ticket 7; sublet: y",
    'say "no"',
    "it's",
    "`id`",
    "two\nlines",
    "Ticket 7",
    "x".repeat(2000),
  ])
    assert.equal(mergedComment(there, "sublet: x"), undefined, there);
});

test("a job of several nodes with guests is written once, after all of them told; one without guests never", async () => {
  const it = world({ 7: "", 8: "" });
  it.tell(receipt(7), receipt(8, { guests: [] }));
  await it.pass(10);
  it.tell(receipt(7, { node: "n2" }));
  await it.pass(14);
  assert.deepEqual(it.asked, []);
  await it.pass(20);
  assert.deepEqual(
    it.asked.map(({ program }) => program),
    ["sacct", "sacctmgr"],
  );
  assert.deepEqual(it.written(), [
    `admincomment=${line.replace("1 guest, 2.0", "2 guests, 4.0").replace("1 KiB", "2 KiB")}`,
  ]);
  assert.deepEqual(await it.outcomes(), { written: 1 });
});

test("told again by a new life of the controller, it is read and not written; what is old is not even read", async () => {
  const it = world({ 7: `ticket 7; ${line}`, 8: "" });
  it.tell(receipt(7), receipt(8, { toUnixMs: unixMs - 2 * hour }));
  await it.pass(60);
  assert.deepEqual(
    it.asked.map(({ args }) => args.find((arg) => arg.startsWith("--jobs="))),
    ["--jobs=7"],
  );
  assert.deepEqual(await it.outcomes(), { kept: 1 });
});

test("off by its key, at any time", async () => {
  const it = world({ 7: "" });
  it.on = false;
  it.tell(receipt(7));
  it.on = true;
  await it.pass(60);
  it.tell(receipt(7));
  it.on = false;
  await it.pass(60);
  it.on = true;
  await it.pass(60);
  assert.deepEqual(it.asked, []);
});

test("no more sacctmgr in a minute than configured, one sacct a round", async () => {
  const jobs = Array.from({ length: 30 }, (_, index) => index + 1);
  const it = world(Object.fromEntries(jobs.map((job) => [job, ""])), 12);
  it.tell(...jobs.map((job) => receipt(job)));
  await it.pass(15 + 60);
  assert.ok(it.written().length <= 14, `${it.written().length}`);
  await it.pass(120);
  assert.equal(it.written().length, 30);
  assert.equal(it.asked.filter(({ question }) => question === "records").length, 15);
});

test("a job that the accounting does not know the end of is asked for again, some times", async () => {
  const it = world({ 7: "", 8: "" });
  it.state = "RUNNING";
  it.tell(receipt(7));
  await it.pass(40);
  assert.deepEqual(it.written(), []);
  it.state = "COMPLETED";
  await it.pass(60);
  assert.equal(it.written().length, 1);
  it.tell(receipt(99));
  await it.pass(600);
  assert.deepEqual(await it.outcomes(), { written: 1, dropped: 1 });
});

test("while slurmdbd is away rounds become rare, it is said once, and nothing is lost", async () => {
  const it = world({ 7: "" });
  it.broken = "records";
  it.tell(receipt(7));
  await it.pass(600);
  assert.ok(it.asked.length <= 8, `${it.asked.length} calls in ten minutes`);
  assert.deepEqual(it.logged.length, 1);
  it.broken = undefined;
  await it.pass(301);
  assert.equal(it.written().length, 1);
  assert.equal(it.logged.length, 2);
  assert.match(it.logged[1] ?? "", /again/);
});

test("a job whose comment cannot be written does not hold up the others", async () => {
  const it = world({ 7: "", 8: "" });
  it.broken = "comment";
  it.tell(receipt(7), receipt(8));
  await it.pass(3600);
  assert.deepEqual(await it.outcomes(), { failed: 2 });
  assert.equal(it.logged.length, 1);
});
