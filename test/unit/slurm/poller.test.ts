import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { SubletError } from "../../../src/common/errors.ts";
import { jobsCommand, nodesCommand, type SlurmCommand } from "../../../src/slurm/commands.ts";
import {
  type CommandOutput,
  createPoller,
  maxPollDelayMs,
  nextDelayMs,
  type PollReport,
} from "../../../src/slurm/poller.ts";

const fixture = (name: string): string => readFileSync(new URL(`fixtures/${name}`, import.meta.url), "utf8");
const goodTexts: Record<string, string> = {
  nodes: fixture("small-busy-nodes.txt"),
  jobs: fixture("small-busy-jobs.txt"),
};
const intervalMs = 10_000;

type Answer = (command: SlurmCommand, advance: (ms: number) => void) => CommandOutput;
const good: Answer = (command) => ({ stdout: goodTexts[command.question] as string, stderr: "" });

/** A poller on a clock that only moves when a command or a pause takes time; each poll has its own answer. */
async function poll(answers: readonly Answer[]) {
  let nowMs = 5_000;
  const asked: string[] = [];
  const reports: PollReport[] = [];
  const ages: (number | undefined)[] = [];
  let rpcs = 0;
  let running = 0;
  const stop = new AbortController();
  const poller = createPoller({
    intervalMs,
    timeoutMs: 10_000,
    maxDelayMs: maxPollDelayMs,
    clock: {
      nowMs: () => nowMs,
      unixMs: () => 1795508704_000 + nowMs,
      random: () => 0.5,
      async sleep(ms) {
        assert.ok(ms > 0);
        nowMs += ms;
      },
    },
    async runner(command, { timeoutMs, signal }) {
      assert.equal(timeoutMs, 10_000);
      assert.equal(signal.aborted, false);
      assert.equal(++running, 1, "two commands at once");
      asked.push(command.question);
      try {
        await Promise.resolve();
        const answer = answers[reports.length] as Answer;
        return answer(command, (ms) => {
          nowMs += ms;
        });
      } finally {
        running--;
      }
    },
    onRpcs: (command) => {
      rpcs += command.rpcs;
    },
    onPoll: (report) => {
      reports.push(report);
      ages.push(poller.ageMs());
      if (reports.length === answers.length) stop.abort();
    },
  });
  assert.equal(poller.ageMs(), undefined);
  await poller.run(stop.signal);
  return { poller, asked, reports, ages, rpcs: () => rpcs };
}

test("polls nodes, then jobs, one at a time, at the interval, and counts what it asks", async () => {
  const { poller, asked, reports, rpcs } = await poll([good, good]);
  assert.deepEqual(asked, ["nodes", "jobs", "nodes", "jobs"]);
  assert.deepEqual(
    reports.map((r) => [r.outcome, r.nextInMs]),
    [
      ["ok", intervalMs],
      ["ok", intervalMs],
    ],
  );
  assert.equal(poller.snapshot()?.nodes.size, 3);
  assert.equal(poller.snapshot()?.takenAtMs, 15_000);
  assert.equal(rpcs(), 8);
});

test("slurmctld is gone: the snapshot stays, ages, and the pause doubles up to five minutes", async () => {
  const gone: Answer = (_, advance) => {
    advance(9000);
    throw new SubletError("UNAVAILABLE", "squeue: Unable to contact slurm controller (connect failure)");
  };
  const { poller, reports, ages, asked } = await poll([good, gone, gone, gone, gone, gone, good]);
  assert.deepEqual(
    reports.map((r) => [r.outcome, r.nextInMs]),
    [
      ["ok", 10_000],
      ["failed", 20_000],
      ["failed", 40_000],
      ["failed", 80_000],
      ["failed", 160_000],
      ["failed", 300_000],
      ["ok", 10_000],
    ],
  );
  assert.equal(asked.length, 2 + 5 + 2, "after a failed command nothing more is asked");
  assert.equal(ages[1], 10_000 + 9000);
  assert.equal(ages[6], 0);
  assert.equal(poller.snapshot()?.nodes.size, 3);
});

test("the jobs command times out: no half snapshot", async () => {
  const half: Answer = (command, advance) => {
    if (command.question === "nodes") return good(command, advance);
    advance(10_000);
    throw new SubletError("DEADLINE_EXCEEDED", "squeue gave no answer within 10000 ms");
  };
  const { poller, reports } = await poll([half]);
  assert.equal(reports[0]?.outcome, "timeout");
  assert.equal(poller.snapshot(), undefined);
  assert.equal(poller.ageMs(), undefined);
});

test("slow answers are used, and asked for less often", async () => {
  const slow: Answer = (command, advance) => {
    advance(4000);
    return good(command, advance);
  };
  const { poller, reports } = await poll([slow, good]);
  assert.deepEqual(
    reports.map((r) => [r.outcome, r.nextInMs]),
    [
      ["slow", 80_000],
      ["ok", 10_000],
    ],
  );
  assert.ok(poller.snapshot());
});

test("a site that limits us is asked less often, its answer is used", async () => {
  const limited: Answer = (command, advance) => ({
    ...good(command, advance),
    stderr: "squeue: RPC rate limited 1 time(s). Sleeping then trying again.\n",
  });
  const refused: Answer = () => {
    throw new SubletError("UNAVAILABLE", "scontrol: slurm_load_node error: Rate limit exceeded");
  };
  const { poller, reports } = await poll([limited, limited, refused, good]);
  assert.deepEqual(
    reports.map((r) => [r.outcome, r.nextInMs]),
    [
      ["limited", 20_000],
      ["limited", 40_000],
      ["limited", 80_000],
      ["ok", 10_000],
    ],
  );
  assert.ok(poller.snapshot());
});

test("garbage and cut output keep the last good snapshot", async () => {
  const garbage: Answer = () => ({ stdout: "\u0000\u0001 not Slurm\n", stderr: "" });
  const cut: Answer = (command) => ({
    stdout: (goodTexts[command.question] as string).slice(0, -30),
    stderr: "",
  });
  const nothing: Answer = () => ({ stdout: "", stderr: "" });
  const { poller, reports } = await poll([good, garbage, cut, nothing]);
  assert.deepEqual(
    reports.map((r) => r.outcome),
    ["ok", "garbage", "garbage", "garbage"],
  );
  assert.equal(poller.snapshot()?.takenAtMs, 5_000);
});

test("the end of the process is no poll that failed", async () => {
  const stop = new AbortController();
  const reports: PollReport[] = [];
  const poller = createPoller({
    intervalMs,
    timeoutMs: 1000,
    maxDelayMs: maxPollDelayMs,
    clock: { nowMs: () => 0, unixMs: () => 0, random: () => 0, sleep: async () => assert.fail("slept") },
    runner: async () => {
      stop.abort();
      throw new SubletError("ABORTED", "ended with us");
    },
    onPoll: (report) => reports.push(report),
  });
  await poller.run(stop.signal);
  assert.deepEqual(reports, []);
});

test("one that stood still until the deadline is asked again soon", () => {
  const options = { intervalMs: 2000, maxDelayMs: maxPollDelayMs };
  assert.equal(nextDelayMs(options, 1, 15_000, 0.5), 15_000);
  assert.equal(nextDelayMs(options, 4, 15_000, 0.5), 32_000);
  assert.equal(nextDelayMs(options, 0, 15_000, 0.5), 150_000, "a slow answer did keep it busy");
});

test("any pause lies between the interval less jitter and five minutes", () => {
  const options = { intervalMs, maxDelayMs: maxPollDelayMs };
  fc.assert(
    fc.property(
      fc.nat(1000),
      fc.nat(1e7),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (failures, tookMs, random) => {
        const delayMs = nextDelayMs(options, failures, tookMs, random);
        assert.ok(delayMs >= intervalMs && delayMs <= maxPollDelayMs, `${delayMs}`);
        assert.ok(failures === 0 || delayMs >= 0.8 * 2 * intervalMs || delayMs === maxPollDelayMs);
      },
    ),
  );
});

test("the commands are pinned", () => {
  assert.equal(
    [nodesCommand.program, ...nodesCommand.args].join(" "),
    "scontrol --all --oneliner show nodes",
  );
  assert.ok(jobsCommand.args.includes("--format=%A|%T|%u|%U|%a|%P|%h|%C|%S|%e|%N|%Y|%q|."));
});
