import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { openMsOf, type Reporter, startReporter } from "../../../agent/offer/reporter.ts";
import { UsageSender } from "../../../agent/offer/usage.ts";
import { SubletError } from "../../../src/common/errors.ts";
import type { ReportStream } from "../../../src/rpc/client.ts";
import type {
  Init,
  LeaseMessage,
  OfferMessage,
  ReceiptMessage,
  ReportRequest,
  ReportResponse,
  UsageRecordMessage,
} from "../../../src/rpc/messages.ts";
import { eventually } from "./fake-starter.ts";

/** A controller's end of the stream, driven by the test. */
class FakeStream implements ReportStream {
  readonly sent: Init<ReportRequest>[] = [];
  slow = false;
  #wake: (() => void) | undefined;
  readonly #queue: (ReportResponse | "end")[] = [];

  send(report: Init<ReportRequest>): boolean {
    this.sent.push(report);
    return !this.slow;
  }
  answer(response: Partial<ReportResponse> | "end" = {}): void {
    this.#queue.push(
      response === "end"
        ? "end"
        : {
            ackedRevision: 0,
            resendFull: false,
            endedLeases: [],
            horizon: null,
            drainingLeases: [],
            openMs: 0,
            jobFacts: null,
            ackedUsage: [],
            quota: null,
            ...response,
          },
    );
    this.#wake?.();
  }
  close(): void {
    this.answer("end");
  }
  get responses(): AsyncIterable<ReportResponse> {
    return this.#read();
  }
  async *#read(): AsyncGenerator<ReportResponse> {
    for (;;) {
      const next = this.#queue.shift();
      if (next === "end") return;
      if (next !== undefined) yield next;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}

interface World {
  readonly reporter: Reporter;
  readonly streams: FakeStream[];
  readonly contacts: boolean[];
  readonly ended: string[];
  readonly kept: ReceiptMessage[];
  readonly facts: number[][];
  readonly horizons: number[];
  readonly quotas: string[];
  readonly usage: UsageRecordMessage[];
  failures: number;
  tries: number;
  revision: number;
}

const lease = (id: string): LeaseMessage => ({ id }) as LeaseMessage;

function world(t: TestContext, failures = 0): World {
  const streams: FakeStream[] = [];
  const contacts: boolean[] = [];
  const ended: string[] = [];
  const kept: ReceiptMessage[] = [];
  const facts: number[][] = [];
  const horizons: number[] = [];
  const quotas: string[] = [];
  const usage: UsageRecordMessage[] = [];
  const here = {
    streams,
    contacts,
    ended,
    kept,
    facts,
    horizons,
    quotas,
    usage,
    failures,
    tries: 0,
    revision: 1,
  };
  const reporter = startReporter({
    client: {
      address: "c:1",
      report: async () => {
        here.tries += 1;
        if (here.failures-- > 0) throw new SubletError("UNAVAILABLE", "down");
        streams.push(new FakeStream());
        return streams.at(-1) as FakeStream;
      },
    },
    source: {
      offer: () => ({ revision: here.revision }) as OfferMessage,
      leases: () => [lease("all")],
      receipts: () => kept,
      usage: {
        next: (most) => usage.slice(0, most),
        acked: (keys) => {
          for (const key of keys)
            usage.splice(0, Infinity, ...usage.filter((each) => `${each.leaseId}/${each.slice}` !== key));
        },
      },
    },
    onQuota: (exhausted) => quotas.push(exhausted.map(({ account }) => account).join()),
    onContact: (connected) => contacts.push(connected),
    onEnded: (leases) => ended.push(...leases.map(({ id }) => id)),
    onHorizon: ({ confidence }) => horizons.push(confidence),
    onFacts: (jobs) => facts.push(jobs.map(({ jobId }) => jobId)),
    foldMs: 20,
    backoffFirstMs: 2,
    backoffMaxMs: 8,
  });
  t.after(() => reporter.close());
  return Object.assign(here, { reporter });
}

const ids = (report: Init<ReportRequest> | undefined): string =>
  (report?.leases ?? []).map((each) => each.id).join();

test("a stream begins with everything, then come folded changes", async (t) => {
  const here = world(t);
  await eventually("stream", () => here.streams[0]?.sent.length === 1);
  const [stream] = here.streams;
  assert.ok(stream !== undefined);
  assert.deepEqual([stream.sent[0]?.full, ids(stream.sent[0])], [true, "all"]);
  assert.equal(here.reporter.connected, false);
  stream.answer();
  await eventually("connected", () => here.reporter.connected);
  for (let i = 0; i < 50; i++) here.reporter.leaseChanged(lease(`l${i % 3}`));
  here.revision = 7;
  here.reporter.offerChanged();
  await eventually("second report", () => stream.sent.length === 2);
  assert.deepEqual(
    [stream.sent[1]?.full, ids(stream.sent[1]), stream.sent[1]?.offer?.revision],
    [false, "l0,l1,l2", 7],
  );
  here.reporter.keepalive();
  await eventually("third report", () => stream.sent.length === 3);
  assert.equal(ids(stream.sent[2]), "");
});

test("resend_full, and a controller that reads slowly", async (t) => {
  const here = world(t);
  await eventually("stream", () => here.streams[0]?.sent.length === 1);
  const stream = here.streams[0] as FakeStream;
  stream.answer({ resendFull: true });
  await eventually("full again", () => stream.sent.length === 2);
  assert.equal(stream.sent[1]?.full, true);
  stream.slow = true;
  here.reporter.leaseChanged(lease("a"));
  await eventually("third", () => stream.sent.length === 3);
  here.reporter.leaseChanged(lease("b"));
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(stream.sent.length, 3);
  stream.answer({ endedLeases: [lease("far"), lease("away")] });
  await eventually("goes on", () => stream.sent.length === 4);
  assert.equal(ids(stream.sent[3]), "b");
  assert.deepEqual(here.ended, ["far", "away"]);
});

test("receipts: new ones at once, a few per report; all that are kept at the start of a stream", async (t) => {
  const here = world(t);
  await eventually("stream", () => here.streams[0]?.sent.length === 1);
  const stream = here.streams[0] as FakeStream;
  const jobsIn = (report: Init<ReportRequest> | undefined) => report?.receipts?.map((each) => each.jobId);
  assert.deepEqual(jobsIn(stream.sent[0]), []);
  here.kept.push(...Array.from({ length: 20 }, (_, i) => ({ jobId: i }) as ReceiptMessage));
  here.reporter.receiptsAdded(here.kept);
  await eventually("both parts", () => stream.sent.length === 3);
  assert.deepEqual([jobsIn(stream.sent[1])?.length, jobsIn(stream.sent[2])], [16, [16, 17, 18, 19]]);
  stream.close();
  await eventually("next stream, both parts", () => here.streams[1]?.sent.length === 2);
  assert.deepEqual(
    here.streams[1]?.sent.map((report) => jobsIn(report)?.length),
    [16, 4],
  );
});

test("facts of jobs are passed on, none is no news", async (t) => {
  const here = world(t);
  await eventually("stream", () => here.streams.length === 1);
  here.streams[0]?.answer();
  here.streams[0]?.answer({ jobFacts: { jobs: [] } });
  const fact = { jobId: 7, uid: 1, partition: "", account: "", qos: "", exclusive: false };
  here.streams[0]?.answer({ jobFacts: { jobs: [fact] } });
  await eventually("facts", () => here.facts.length === 2);
  assert.deepEqual(here.facts, [[], [7]]);
});

test("contact lost: tries again until it answers, and begins with everything", async (t) => {
  const here = world(t, 5);
  await eventually("stream after failures", () => here.streams[0]?.sent.length === 1);
  assert.equal(here.tries, 6);
  here.streams[0]?.answer();
  await eventually("connected", () => here.reporter.connected);
  here.streams[0]?.answer("end");
  await eventually("second stream", () => here.streams[1]?.sent.length === 1);
  assert.equal(here.streams[1]?.sent[0]?.full, true);
  here.streams[1]?.answer();
  await eventually("connected again", () => here.reporter.connected);
  assert.deepEqual(here.contacts, [true, false, true]);
});

test("for how long the node is open: as the last answer said, less what has passed, and not without contact", async (t) => {
  const here = world(t);
  await eventually("stream", () => here.streams[0]?.sent.length === 1);
  assert.equal(here.reporter.openMs(), 0);
  here.streams[0]?.answer({ openMs: 60_000 });
  await eventually("told", () => here.reporter.openMs() > 0);
  assert.ok(here.reporter.openMs() <= 60_000 && here.reporter.openMs() > 50_000);
  const closed = { ...here.reporter, connected: true, openMs: () => 0 };
  const away = { ...here.reporter, connected: false, openMs: () => 0 };
  assert.equal(openMsOf([]), 0);
  assert.equal(openMsOf([away]), 0);
  assert.ok(openMsOf([here.reporter, away]) > 50_000);
  assert.equal(openMsOf([here.reporter, closed]), 0);
  t.mock.method(performance, "now", () => performance.timeOrigin);
  assert.equal(here.reporter.openMs(), 0, "an answer of long ago says nothing");
  t.mock.restoreAll();
  here.streams[0]?.answer({ openMs: 0 });
  await eventually("closed", () => here.reporter.openMs() === 0);
  here.streams[0]?.answer({ openMs: 60_000 });
  await eventually("open", () => here.reporter.openMs() > 0);
  here.streams[0]?.answer("end");
  await eventually("no contact", () => here.reporter.openMs() === 0);
});

test("closing ends the trying", async (t) => {
  const here = world(t, 1_000_000);
  await eventually("some tries", () => here.tries > 2);
  here.reporter.close();
  const { tries } = here;
  await new Promise((resolve) => setTimeout(resolve, 40));
  assert.ok(here.tries <= tries + 1);
});

test("a model of horizons is passed on, none is no news", async (t) => {
  const here = world(t);
  await eventually("stream", () => here.streams.length === 1);
  here.streams[0]?.answer();
  here.streams[0]?.answer({ horizon: { tables: [], confidence: 0.8, ageEdgesMs: [] } });
  await eventually("a model", () => here.horizons.length === 1);
  assert.deepEqual(here.horizons, [0.8]);
});

const record = (slice: number): UsageRecordMessage => ({ leaseId: "L1", slice }) as UsageRecordMessage;
const slices = (report: Init<ReportRequest> | undefined): number[] =>
  (report?.usage ?? []).map(({ slice }) => slice ?? -1);

test("usage goes out once until it is acknowledged, then what has come since; again on a new stream", async (t) => {
  const here = world(t);
  here.usage.push(record(0), record(1));
  await eventually("stream", () => here.streams[0]?.sent.length === 1);
  const [stream] = here.streams;
  assert.deepEqual(slices(stream?.sent[0]), [0, 1]);
  stream?.answer();
  here.usage.push(record(2));
  here.reporter.usageAdded();
  await eventually("a report", () => stream?.sent.length === 2);
  assert.deepEqual(slices(stream?.sent[1]), [], "it is on its way");
  stream?.answer({ ackedUsage: ["L1/0", "L1/1"] });
  await eventually("the rest", () => stream?.sent.length === 3);
  assert.deepEqual(slices(stream?.sent[2]), [2]);
  stream?.answer("end");
  await eventually("next stream", () => here.streams[1]?.sent.length === 1);
  assert.deepEqual(slices(here.streams[1]?.sent[0]), [2]);
});

test("who has nothing left is forgotten when a new stream does not say so", async (t) => {
  const here = world(t);
  await eventually("stream", () => here.streams.length === 1);
  const exhausted = [
    { account: "a", limitCoreSeconds: 1, usedCoreSeconds: 1, resetsInMs: 1, timeZone: "UTC" },
  ];
  here.streams[0]?.answer({ quota: { exhausted } });
  here.streams[0]?.answer();
  here.streams[0]?.answer("end");
  await eventually("next stream", () => here.streams.length === 2);
  here.streams[1]?.answer();
  await eventually("heard", () => here.quotas.length === 2);
  assert.deepEqual(here.quotas, ["a", ""]);
});

test("a controller whose data base is away is asked with one record, ever more rarely, then gets all", () => {
  const all = Array.from({ length: 500 }, (_, slice) => record(slice));
  const sender = new UsageSender({
    next: (most) => all.slice(0, most),
    acked: (keys) => all.splice(0, keys.length),
  });
  const counts: number[] = [];
  for (let second = 0; second <= 240; second += 5) {
    const sent = sender.next(second * 1000).length;
    if (sent > 0) counts.push(second, sent);
  }
  assert.deepEqual(counts, [0, 200, 15, 1, 45, 1, 105, 1, 165, 1, 225, 1]);
  assert.equal(sender.acked(["L1/0"]), true);
  assert.equal(sender.next(241_000).length, 200);
});
