/**
 * What an agent counts as waiting of jobs, on this machine's real cgroups and scheduler: guests at idle priority that spin and
 * wait beside a quiet job are none of it, a job that somebody keeps from its cores is. Needs root; nothing stays.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { guestDirs } from "../../agent/cgroup/guests.ts";
import { pressureUs } from "../../agent/guard/signals.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { localClient } from "../unit/agent/local-client.ts";
import { busyIn, end, last, lease, makeJob, skip, type World, world } from "./world.ts";

const patienceMs = 60_000;
/** Two of the agent's slow ticks. */
const watchedSeconds = 9;
const cores = Array.from({ length: last + 1 }, (_, core) => core);
/** 50 ms of sleep, then a little work. */
const quiet = "perl -e 'while (1) { select undef, undef, undef, 0.05; $i++ for 1 .. 5000 }'";

interface Figures {
  readonly coreSeconds: number;
  readonly waitedSeconds: number;
}

async function figures(here: World): Promise<Figures> {
  const address = /"metrics":"([^"]+)"/.exec(here.log())?.[1] ?? "";
  const text = await page(`http://${address}/metrics`);
  const value = (name: string): number =>
    Number(new RegExp(`^sublet_${name}\\{resource="cpu"\\} (.+)$`, "m").exec(text)?.[1] ?? 0);
  return {
    coreSeconds: value("job_core_seconds_total"),
    waitedSeconds: value("job_waited_core_seconds_total"),
  };
}

function nodePressure(): number | undefined {
  try {
    return pressureUs(readFileSync("/proc/pressure/cpu", "utf8"));
  } catch {
    return undefined; // A kernel without PSI.
  }
}

/** Waiting of jobs, and of the node's tasks, as shares of time, from the agent's next look on. */
async function share(here: World): Promise<{ jobs: number; node: number | undefined }> {
  const before = await figures(here);
  const after = (seconds: number, since: Figures): Promise<Figures> =>
    until("the agent has watched the job", patienceMs, async () => {
      const now = await figures(here);
      return now.coreSeconds > since.coreSeconds + seconds * cores.length ? now : undefined;
    });
  const from = await after(0, before);
  const fromMs = performance.now();
  const fromUs = nodePressure();
  const to = await after(watchedSeconds, from);
  const toUs = nodePressure();
  return {
    jobs: (to.waitedSeconds - from.waitedSeconds) / (to.coreSeconds - from.coreSeconds),
    node:
      fromUs === undefined || toUs === undefined
        ? undefined
        : (toUs - fromUs) / 1000 / (performance.now() - fromMs),
  };
}

test("a quiet job beside guests that wait does not wait; one that is kept from its cores does", {
  skip,
}, async (t) => {
  const here = await world(t, 'mode = "off"\n');
  await here.agent();
  const client = await localClient(here.socket);
  t.after(() => client.close());
  const job = makeJob(here, 77);
  for (const core of cores) await busyIn(here, job, core, quiet);
  const held = await lease(client, 0);
  const guests = guestDirs(here.guests, held.id);
  const idle = [...cores, ...cores].map((core) => busyIn(here, guests, core));
  const beside = await share(here);
  for (const guest of idle) await end(await guest, "SIGKILL");

  for (const core of cores) await busyIn(here, job, core);
  for (const core of cores) await busyIn(here, [], core);
  const contended = await share(here);
  const percent = (part: number | undefined): string =>
    part === undefined ? "not told" : `${(100 * part).toFixed(2)} %`;
  t.diagnostic(
    `beside idle guests the job waited ${percent(beside.jobs)}, somebody on the node ${percent(beside.node)}; ` +
      `contended, the job ${percent(contended.jobs)}`,
  );
  assert.ok(beside.jobs < 0.1, `${beside.jobs}`);
  assert.ok(beside.node === undefined || beside.node > 0.5, "the node's pressure tells of the guests");
  assert.ok(contended.jobs > 0.25, `${contended.jobs}`);
});
