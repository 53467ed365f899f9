/**
 * Code that a node keeps, with the real agent, starter, executors and libsublet: a second lease of a user is sent nothing,
 * another user's is, and none of it is left beside a job, or by who was killed. What lies below a folder that nodes share is
 * not sent the first time, either.
 */
import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { type LoneNode, loneNode, native, skip } from "./lone-node.ts";

const run = promisify(execFile);
const users = [4001, 4002] as const;

const echo = join(native, "functions", "libecho.so");

/** Leases, loads and calls so many times, one lease after the other. */
async function leases(here: LoneNode, uid: number, rounds: number, library = echo): Promise<void> {
  const { stdout } = await run(
    join(native, "bin", "sublet-cold-leases"),
    ["n1", `${rounds}`, "50", library],
    { uid, gid: uid, env: { SUBLET_AGENT_SOCKET: join(here.dir, "agent.sock") } },
  );
  assert.equal(stdout.trim().split("\n").length, rounds);
}

interface Figures {
  readonly hits: number;
  readonly misses: number;
  readonly paths: number;
  readonly unread: number;
  readonly kept: number;
  readonly refused: number;
  readonly libraries: number;
  readonly bytes: number;
}

async function figures(here: LoneNode): Promise<Figures> {
  const text = await page(`http://${here.metrics}/metrics`);
  const of = (line: string): number =>
    Number(
      text
        .split("\n")
        .find((each) => each.startsWith(`${line} `))
        ?.split(" ")[1],
    );
  return {
    hits: of('sublet_code_cache_lookups_total{outcome="hit"}'),
    misses: of('sublet_code_cache_lookups_total{outcome="miss"}'),
    paths: of('sublet_code_cache_lookups_total{outcome="path"}'),
    unread: of("sublet_code_cache_unread_total"),
    kept: of('sublet_code_cache_offers_total{outcome="kept"}'),
    refused: of('sublet_code_cache_offers_total{outcome="refused"}'),
    libraries: of("sublet_code_cache_libraries"),
    bytes: of("sublet_code_cache_bytes"),
  };
}

/** Libraries in memory that a process holds. */
function held(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).includes("memfd:sublet-code");
    } catch {
      return false; // closed meanwhile
    }
  }).length;
}

/** One holds the figures. */
const empty = 1;

/** Copies are made when nothing else wants the core, and with their lease they end. */
const patienceMs = 60_000;

/** Holds a lease that has loaded the library until the figures say what is waited for. */
async function hold(
  here: LoneNode,
  uid: number,
  library: string,
  done: (now: Figures) => boolean,
): Promise<void> {
  const lib = join(native, "lib");
  const folder = join(here.dir, `hold-${uid}`);
  const [program, progress] = [join(folder, "hold"), join(folder, "progress")];
  mkdirSync(folder, { recursive: true });
  chownSync(folder, uid, uid);
  rmSync(`${progress}.stop`, { force: true });
  const link = ["-L", lib, `-Wl,-rpath,${lib}`, "-lsublet"];
  execFileSync("cc", ["-std=gnu11", "-o", program, "test/packages/hold.c", "-Ifunctions/include", ...link]);
  const child = spawn(program, [library, progress], {
    uid,
    gid: uid,
    env: { SUBLET_AGENT_SOCKET: join(here.dir, "agent.sock") },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const ended = once(child, "exit");
  try {
    await until("what a held lease brings", patienceMs, async () => {
      assert.equal(child.exitCode, null);
      return done(await figures(here)) ? true : undefined;
    });
  } finally {
    writeFileSync(`${progress}.stop`, "");
    const [status] = await ended;
    assert.equal(status, 0);
  }
}

/** Has the user's library kept, and returns how many leases that took: a copy that is too slow is given up. */
async function keep(here: LoneNode, uid: number): Promise<number> {
  for (let rounds = 1; ; rounds++) {
    const { kept, refused } = await figures(here);
    await hold(here, uid, echo, (now) => now.kept > kept || now.refused > refused);
    if ((await figures(here)).kept > kept) return rounds;
  }
}

test("a user's second lease is sent no code; another user's is; a job, or the end of who keeps it, leaves none", {
  skip,
}, async (t) => {
  const here = await loneNode(t);
  chmodSync(here.dir, 0o755);
  const first = here.start();
  await here.client();
  const rounds = await keep(here, users[0]);
  const before = await figures(here);
  assert.deepEqual([before.hits, before.misses, before.libraries], [0, rounds, 1]);
  assert.ok(before.bytes > 0 && before.bytes % 4096 === 0);
  await leases(here, users[0], 3);
  const after = await figures(here);
  assert.deepEqual([after.hits, after.misses, after.libraries], [3, rounds, 1]);
  const others = await keep(here, users[1]);
  const two = await figures(here);
  assert.deepEqual(
    [two.hits, two.misses, two.libraries, two.bytes],
    [3, rounds + others, 2, 2 * before.bytes],
  );

  const client = await here.client();
  await client.call({ body: "hook", hook: { event: "HOOK_EVENT_PROLOG", jobId: 9, uid: 1 } });
  await until("none beside a job", patienceMs, async () => {
    const now = await figures(here);
    return now.libraries === 0 && now.bytes === 0 && held(here.starterPid()) === empty ? true : undefined;
  });
  // Nobody has seen a job by that number: the node lends again after announce_timeout_ms.
  await keep(here, users[0]);
  assert.equal(held(here.starterPid()), empty + 1);

  first.kill("SIGKILL");
  await once(first, "exit");
  await until("none without an agent", patienceMs, async () =>
    held(here.starterPid()) === empty ? true : undefined,
  );
  here.start();
  await here.client();
  await keep(here, users[0]);
  const { hits } = await figures(here);
  await leases(here, users[0], 1);
  assert.equal((await figures(here)).hits, hits + 1);
});

test("a library below a shared folder is read with its user's rights, and sent when that does not do", {
  skip,
}, async (t) => {
  const here = await loneNode(t);
  chmodSync(here.dir, 0o755);
  const shared = join(here.dir, "shared");
  const settings = join(here.dir, "agent.toml");
  mkdirSync(shared, { mode: 0o755 });
  const own = join(shared, "own.so");
  const link = join(shared, "link.so");
  const outside = join(here.dir, "outside.so");
  for (const path of [own, outside]) {
    copyFileSync(echo, path);
    chownSync(path, users[0], users[0]);
    chmodSync(path, 0o700);
  }
  symlinkSync(outside, link);
  writeFileSync(settings, `code_from_paths = ["${shared}"]\n${readFileSync(settings, "utf8")}`);
  const agent = here.start();
  await here.client();
  const counts = async (): Promise<number[]> => {
    const { paths, hits, misses, unread } = await figures(here);
    return [paths, hits, misses, unread];
  };
  await hold(here, users[0], own, ({ paths }) => paths === 1);
  await leases(here, users[0], 2, own);
  assert.deepEqual(await counts(), [1, 2, 0, 0]);
  // Who may not read it by that name is not read it: his client could, and sends it.
  await leases(here, users[1], 1, echo);
  assert.deepEqual(await counts(), [1, 2, 1, 0]);

  agent.kill("SIGKILL"); // in the middle of nothing: what was told goes with the connection
  await once(agent, "exit");
  await until("none without an agent", patienceMs, async () =>
    held(here.starterPid()) === empty ? true : undefined,
  );
  here.start();
  await here.client();
  await leases(here, users[0], 1, link); // the client names what it leads to, which is not shared
  assert.deepEqual(await counts(), [1, 2, 2, 0]);
});
