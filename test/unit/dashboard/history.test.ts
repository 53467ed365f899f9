/** What the history survives: kill -9, a full disk, a month of samples; and how fast a month is read. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, describe, it } from "node:test";
import { HistoryStore, resolutions } from "../../../src/dashboard/history.ts";
import { historyOf } from "../../../src/dashboard/points.ts";
import { sample, samplesIn, startMs } from "./history-life.ts";

const life = join(import.meta.dirname, "history-life.ts");
const scratch = mkdtempSync(join(tmpdir(), "sublet-history-"));
after(() => rmSync(scratch, { recursive: true, force: true }));
const dayMs = 86_400_000;
const node = [process.execPath, "--disable-warning=ExperimentalWarning", life] as const;

/** Kills a writer after it said that `count` more samples are saved; how many it said. */
async function writeAndKill(file: string, count: number): Promise<{ began: number; saved: number }> {
  const child = spawn(node[0], [...node.slice(1), "write", file], { stdio: ["ignore", "pipe", "inherit"] });
  let began = 0;
  let saved = 0;
  for await (const line of createInterface(child.stdout)) {
    const [word, number] = line.split(" ");
    if (word === "began") began = Number(number);
    else saved = Number(number);
    if (saved >= began + count) child.kill("SIGKILL");
  }
  return { began, saved };
}

describe("the history's file", () => {
  it("has all that was saved after kill -9, again and again", async () => {
    const file = join(scratch, "killed.db");
    let saved = 0;
    for (const count of [3, 40, 117, 300]) {
      const life = await writeAndKill(file, count);
      assert.ok(life.began >= saved, `${life.began} of ${saved} saved samples are there`);
      saved = life.saved;
    }
    const troubles: string[] = [];
    const store = await HistoryStore.open({ file, onTrouble: (why) => troubles.push(why) });
    assert.ok(samplesIn(store) >= saved);
    store.close();
    assert.deepEqual(troubles, []);
    assert.equal(existsSync(`${file}.unreadable`), false);
  });

  it("loses nothing to a full disk, nor to a start while it is full, and says so once", (t) => {
    const script = `mount -t tmpfs -o size=400k small "$1" && exec "$2" "$3" "$4" full "$1"`;
    const argv = ["--mount", "sh", "-c", script, "sh", scratch, ...node];
    if (spawnSync("unshare", ["--mount", "mount", "-t", "tmpfs", "small", scratch]).status !== 0)
      return t.skip("this user may not mount a small file system");
    const { stdout, stderr, status } = spawnSync("unshare", argv, { encoding: "utf8", timeout: 60_000 });
    assert.equal(status, 0, stderr);
    const { whileFull, found, after: had, names, troubles } = JSON.parse(stdout);
    t.diagnostic(JSON.stringify(troubles));
    assert.equal(whileFull.length, 1, "the same trouble twice is said once");
    assert.match(whileFull[0], /full/);
    assert.ok(
      found === 0 || found >= 60,
      "what was saved before is read, or waits for the room to open the file",
    );
    assert.equal(had, 60 + 30);
    assert.ok(
      !names.some((name: string) => name.includes("unreadable")),
      "a full disk is no reason to put a history aside",
    );
  });

  it("keeps 31 days in some MB, and a month is read in a moment", async (t) => {
    const file = join(scratch, "month.db");
    const troubles: string[] = [];
    const store = await HistoryStore.open({ file, onTrouble: (why) => troubles.push(why) });
    const days = 33;
    const everyMs = 30_000;
    const steps = (days * dayMs) / everyMs;
    for (let i = 0; i <= steps; i++) {
      store.add(sample, startMs + i * everyMs, i * everyMs);
      if (i % 2000 === 0) store.save();
    }
    store.close();
    const again = await HistoryStore.open({ file, onTrouble: (why) => troubles.push(why) });
    const most = resolutions.reduce((sum, { keepMs, stepMs }) => sum + keepMs / stepMs, 0);
    assert.ok(again.points <= most && again.points > 0.99 * most, `${again.points} of ${most}`);
    const bytes = statSync(file).size;
    assert.ok(bytes < 8 * 2 ** 20, `${bytes} bytes`);
    const toMs = startMs + days * dayMs;
    const read = () => historyOf(again.between(toMs - 30 * dayMs, toMs), toMs - 30 * dayMs, toMs, 4_800_000);
    const beginMs = performance.now();
    const month = read();
    const firstMs = performance.now() - beginMs;
    for (let i = 0; i < 20; i++) read();
    const laterMs = (performance.now() - beginMs - firstMs) / 20;
    t.diagnostic(
      `30 days: ${month.atMs.length} points in ${firstMs.toFixed(1)} ms, then ${laterMs.toFixed(1)} ms; ${bytes} bytes on disk`,
    );
    assert.ok(month.cores.lent.every((cores) => cores !== null && Math.abs(cores - 10) < 1e-6));
    again.close();
    assert.deepEqual(troubles, []);
  });
});
