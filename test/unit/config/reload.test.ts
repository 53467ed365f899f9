/** Reload: all or nothing, which keys changed, which want a restart, and that a half-written file is never applied. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { SubletError } from "../../../src/common/errors.ts";
import { type AgentConfig, compileAgent, readAgent } from "../../../src/config/config.ts";
import { createReloader, type Reloaded } from "../../../src/config/reload.ts";

const folder = mkdtempSync(join(tmpdir(), "sublet-reload-"));
const file = join(folder, "agent.toml");
const dropIns = join(folder, "agent.conf.d");
const base = 'node = "n1"\nfabric_address = "a"\ncores = "0-3"\n';
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Daemon {
  readonly prepare?: (config: AgentConfig) => void;
  readonly open?: (config: AgentConfig) => Promise<void>;
  readonly alsoLive?: (key: string) => boolean;
}

function world(text: string, { prepare, ...others }: Daemon = {}) {
  mkdirSync(dropIns, { recursive: true });
  writeFileSync(file, base + text);
  const environment = {};
  const seen: { reloaded: Reloaded[]; refused: SubletError[]; applied: AgentConfig[] } = {
    reloaded: [],
    refused: [],
    applied: [],
  };
  const reloader = createReloader({
    running: readAgent({ file, environment }),
    read: (read) => readAgent({ file, environment }, read),
    compile: compileAgent,
    prepare(config) {
      prepare?.(config);
      return () => void seen.applied.push(config);
    },
    ...others,
    onReloaded: (reloaded) => void seen.reloaded.push(reloaded),
    onRefused: (error) => void seen.refused.push(error),
    stable: { quietMs: 20, timeoutMs: 1_000 },
  });
  return { seen, reloader };
}

describe("a reload", () => {
  it("changes what is live, keeps what is not, and says which is which and where from", async () => {
    const { seen, reloader } = world('pool_max = 1\nlisten = "0.0.0.0:1"\n');
    writeFileSync(file, `${base}pool_max = 2\nlisten = "0.0.0.0:2"\n`);
    writeFileSync(join(dropIns, "a.toml"), '[consent.account]\nphysics = "share"\n');
    await reloader.reload();
    assert.deepEqual(seen.refused, []);
    assert.deepEqual(seen.reloaded[0], {
      changed: [
        { key: "pool_max", from: "1", to: "2", where: `${file}:4` },
        {
          key: "consent.account",
          from: "{}",
          to: '{ physics = "share" }',
          where: `${join(dropIns, "a.toml")}:1`,
        },
      ],
      pending: [{ key: "listen", from: '"0.0.0.0:1"', to: '"0.0.0.0:2"', where: `${file}:5` }],
    });
    const [config] = seen.applied;
    assert.deepEqual([config?.poolMax, config?.listen], [2, "0.0.0.0:1"]);
    assert.deepEqual(config?.consent.account, { physics: "share" });
    assert.equal(reloader.running.config, config);
  });
  it("names a key that wants a restart each time, until the file says the old value again", async () => {
    const { seen, reloader } = world("guest_uid_count = 10\n");
    writeFileSync(file, `${base}guest_uid_count = 20\n`);
    await reloader.reload();
    await reloader.reload();
    writeFileSync(file, `${base}guest_uid_count = 10\n`);
    await reloader.reload();
    assert.deepEqual(
      seen.reloaded.map(({ pending }) => pending.map(({ key }) => key)),
      [["guest_uid_count"], ["guest_uid_count"], []],
    );
  });
  it("goes back to the default of a key that is in no file any more", async () => {
    const { seen, reloader } = world("lease_term_ms = 1000\n[reclaim]\nbudget_ms = 5\n");
    writeFileSync(file, base);
    await reloader.reload();
    const [config] = seen.applied;
    assert.deepEqual([config?.leaseTermMs, config?.reclaim.budgetMs], [60_000, 1_000]);
  });
  for (const [what, text] of [
    ["a mistyped key", "pool_max = 3\npool_mux = 3\n"],
    ["broken TOML", "pool_max = 3\n[consent\n"],
    ["a value out of bounds", "pool_max = 3\nspin_us = -1\n"],
    ["values that contradict each other", "pool_max = 3\nlease_term_ms = 9\nlease_term_max_ms = 8\n"],
    ["a file without its last newline", "pool_max = 3"],
  ] as const)
    it(`with ${what} applies nothing at all`, async () => {
      const { seen, reloader } = world("pool_max = 1\n");
      const before = reloader.running;
      writeFileSync(file, base + text);
      await reloader.reload();
      assert.equal(seen.refused.length, 1);
      assert.deepEqual([seen.reloaded, seen.applied], [[], []]);
      assert.equal(reloader.running, before);
    });
  it("with a live key that does not fit to one that wants a restart applies nothing", async () => {
    const { seen, reloader } = world('reserve_cores = "0"\n');
    writeFileSync(file, 'node = "n1"\nfabric_address = "a"\ncores = "0-7"\nreserve_cores = "7"\n');
    await reloader.reload();
    assert.match(seen.refused[0]?.message ?? "", /reserve_cores: 7 not among cores/);
    assert.deepEqual(seen.applied, []);
  });
  it("that the daemon refuses applies nothing", async () => {
    const { seen, reloader } = world("", {
      prepare({ poolMax }) {
        if (poolMax === 9) throw new Error("no such guard");
      },
    });
    writeFileSync(file, `${base}pool_max = 9\n`);
    await reloader.reload();
    assert.match(seen.refused[0]?.message ?? "", /no such guard/);
    assert.deepEqual(seen.applied, []);
  });
  it("changes at once, too, what belongs to a part that does not run, while it does not", async () => {
    let runs = false;
    const { seen, reloader } = world('listen = "0.0.0.0:1"\n', {
      alsoLive: (key) => key === "listen" && !runs,
    });
    writeFileSync(file, `${base}listen = "0.0.0.0:2"\n`);
    await reloader.reload();
    runs = true;
    writeFileSync(file, `${base}listen = "0.0.0.0:3"\n`);
    await reloader.reload();
    assert.deepEqual(
      seen.reloaded.map(({ changed, pending }) => [changed, pending].map((all) => all.map(({ to }) => to))),
      [
        [['"0.0.0.0:2"'], []],
        [[], ['"0.0.0.0:3"']],
      ],
    );
    assert.deepEqual(
      seen.applied.map(({ listen }) => listen),
      ["0.0.0.0:2", "0.0.0.0:2"],
    );
  });
  it("opens what it needs before anything is applied, and applies nothing when that fails", async () => {
    const ports = ["taken", "free"];
    const { seen, reloader } = world("pool_max = 1\n", {
      async open() {
        assert.deepEqual(seen.applied, []);
        if (ports.shift() === "taken") throw new Error("no such port");
      },
    });
    writeFileSync(file, `${base}pool_max = 2\n`);
    await reloader.reload();
    assert.match(seen.refused[0]?.message ?? "", /no such port/);
    assert.deepEqual([seen.reloaded, seen.applied, reloader.running.config.poolMax], [[], [], 1]);
    await reloader.reload();
    assert.equal(seen.applied[0]?.poolMax, 2);
  });
  it("that is asked for again meanwhile is done again, with what is there then", async () => {
    const { seen, reloader } = world("pool_max = 1\n");
    const first = reloader.reload();
    await sleep(5);
    writeFileSync(file, `${base}pool_max = 5\n`);
    await Promise.all([first, reloader.reload(), reloader.reload(), reloader.reload()]);
    assert.equal(seen.applied.at(-1)?.poolMax, 5);
    assert.ok(seen.applied.length <= 2);
  });
});

describe("a file that is being written", () => {
  const pieces = ["pool_max = 7\n", "[lending]\n", 'mode = "shadow"\n', "[reclaim]\n", "budget_ms = 7\n"];
  it("is taken when it is whole, though each piece alone would do", async () => {
    const { seen, reloader } = world("pool_max = 1\n");
    let text = base;
    writeFileSync(file, text);
    const writing = (async () => {
      for (const piece of pieces) {
        await sleep(8);
        text += piece;
        writeFileSync(file, text);
      }
    })();
    await Promise.all([writing, reloader.reload()]);
    assert.deepEqual(seen.refused, []);
    assert.equal(seen.applied.length, 1);
    const [config] = seen.applied;
    assert.deepEqual([config?.poolMax, config?.lending.mode, config?.reclaim.budgetMs], [7, "shadow", 7]);
  });
  it("that never comes to rest is refused", async () => {
    const { seen, reloader } = world("");
    let writing = true;
    const writer = (async () => {
      for (let n = 0; writing; n++) {
        writeFileSync(`${file}.new`, `${base}spin_us = ${n % 1000}\n`);
        renameSync(`${file}.new`, file);
        await sleep(3);
      }
    })();
    await reloader.reload();
    writing = false;
    await writer;
    assert.match(seen.refused[0]?.message ?? "", /agent\.toml: is being written; nothing was applied/);
    assert.deepEqual(seen.applied, []);
  });
  it("that was only truncated so far is refused", async () => {
    const { seen, reloader } = world("");
    writeFileSync(file, "");
    await reloader.reload();
    assert.match(seen.refused[0]?.message ?? "", /is empty/);
  });
});
