/** The picture of `sublet top`, its keys, and the whole of it on a real terminal. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { repaint } from "../../../src/cli/table-options.ts";
import { barCells, type Cluster, firstView, frame, listed } from "../../../src/cli/top/frame.ts";
import { keysOf, press } from "../../../src/cli/top/keys.ts";
import { decodeMessage, encodeMessage } from "../../../src/rpc/schema.ts";
import { startMunged } from "../rpc/munged.ts";

function cluster(count: number): Cluster {
  const nodes = Array.from({ length: count }, (_, index) => ({
    node: `n${index + 1}`,
    slurmState: index % 3 === 0 ? "idle" : "mixed",
    slurmCores: 64,
    slurmAllocCores: index % 3 === 0 ? 0 : 32,
    slurmMemoryBytes: 2 ** 38,
    slurmAllocMemoryBytes: index % 3 === 0 ? 0 : 2 ** 37,
    leases: index % 2,
    leasedCores: (index % 2) * 4,
    leasedMemoryBytes: (index % 2) * 2 ** 33,
    partitions: [index % 2 === 0 ? "main" : "gpu"],
    ...(index % 10 === 9
      ? {}
      : {
          offer: {
            node: `n${index + 1}`,
            lending: "LENDING_ON" as const,
            spare: [{ class: "CAPACITY_CLASS_IDLE" as const, cores: [0, 1, 2, index], memoryBytes: 2 ** 34 }],
          },
          offerAgeMs: 1500,
        }),
  }));
  const found = decodeMessage(
    "ListNodesResponse",
    encodeMessage("ListNodesResponse", { nodes, snapshotValid: true, snapshotAgeMs: 3000 }),
  );
  return {
    controller: "head:7700",
    found,
    leases: [],
    gain: undefined,
    reclaims: undefined,
    stale: undefined,
  };
}

const plain = { width: 80, height: 16, colour: false };

describe("the picture", () => {
  it("has bars, leases, notices, the list and what can be done", () => {
    const { lines, page } = frame(cluster(20), firstView, plain, "12:00:00");
    assert.equal(lines.length, 16);
    assert.match(lines[0] ?? "", /^sublet top 12:00:00 {2}head:7700 {2}20 nodes, Slurm asked 3 s ago$/);
    assert.match(lines[1] ?? "", /^cores {2}\[#+\++\.+ +\] +1,280$/);
    assert.match(lines[2] ?? "", /# used 33% {2}= held unused 0% {2}\+ lent 3% {2}\. spare 6% {2}closed 59%/);
    assert.match(lines[6] ?? "", /^! 2 nodes have no agent/);
    assert.match(lines[7] ?? "", /^NODEv +SLURM +LENDING +ALLOC +LENT +SPARE +SPARE MEM +LEASES +HEARD$/);
    assert.match(lines[8] ?? "", /^n1 +idle +on +0\/64 +0 +4 +16 GiB/);
    assert.match(lines.at(-1) ?? "", /^1-7 of 20 {3}q quit/);
    assert.equal(page, 7);
  });
  it("fits every terminal, and is one line per node when nobody asked for less", () => {
    for (const [width, height] of [
      [20, 5],
      [40, 12],
      [80, 24],
      [200, 50],
    ] as const)
      for (const view of [
        firstView,
        { ...firstView, help: true },
        { ...firstView, typing: true, search: "x" },
      ]) {
        const { lines } = frame(cluster(100), view, { width, height, colour: false }, "12:00:00");
        assert.ok(lines.length <= height);
        for (const line of lines) assert.ok(line.length <= width, `${width}: ${line}`);
      }
    const all = frame(cluster(100), firstView, { ...plain, height: undefined }, "").lines;
    assert.equal(all.filter((line) => /^n\d/.test(line)).length, 100);
  });
  it("has no escape without colour, and the same text with it", () => {
    const bare = frame(cluster(5), firstView, plain, "").lines;
    const bright = frame(cluster(5), firstView, { ...plain, colour: true }, "").lines;
    assert.ok(!bare.join("").includes("\u001b"));
    assert.ok(bright.join("").includes("\u001b[32m"));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: escapes are what is taken out.
    const stripped = bright.map((line) => line.replace(/\u001b\[\d+m/g, "").trimEnd());
    assert.deepEqual(stripped, bare);
  });
  it("says what was lent today, where it is known", () => {
    const gain = decodeMessage(
      "GetGainResponse",
      encodeMessage("GetGainResponse", {
        coreHours: { lent: 1234 },
        cost: { leasesReclaimed: 3, guardActions: 1 },
      }),
    );
    const { lines } = frame({ ...cluster(3), gain }, firstView, { ...plain, width: 100 }, "");
    assert.ok(
      lines.includes(
        "lent today 1,234 core hours, 0 GiB hours; 3 leases taken back, the guard acted 1 times",
      ),
    );
  });
  it("says how long reclaims took in the last hour, where it is known", () => {
    const lines = (reclaims: Cluster["reclaims"]) =>
      frame({ ...cluster(3), reclaims }, firstView, plain, "").lines.filter((line) => /reclaim/.test(line));
    assert.deepEqual(lines(undefined), []);
    assert.deepEqual(lines({ count: 0, p50Us: 0, p99Us: 0, maxUs: 0 }), ["reclaims in the last hour: none"]);
    assert.deepEqual(lines({ count: 1200, p50Us: 1_540, p99Us: 21_400, maxUs: 1_900_000 }), [
      "reclaims in the last hour: 1,200; p50 1.5 ms, p99 21 ms, longest 1,900 ms",
    ]);
    assert.deepEqual(lines({ count: 2, p50Us: 0, p99Us: 0, maxUs: 0 }), [
      "reclaims in the last hour: 2; not measured",
    ]);
  });
  it("says when it is an old one", () => {
    const { lines } = frame({ ...cluster(3), stale: "no answer" }, firstView, plain, "");
    assert.ok(lines.some((line) => line.startsWith("! no answer: this picture is an old one")));
  });
  it("has bars that are full, and show the least of what there is", () => {
    const amounts = { used: 10_000, heldUnused: 0, lent: 1, spare: 1, closed: 1 };
    assert.deepEqual(barCells(amounts, 10), [7, 0, 1, 1, 1]);
    assert.equal(
      barCells({ used: 0, heldUnused: 0, lent: 0, spare: 0, closed: 0 }, 10).reduce((a, b) => a + b),
      10,
    );
  });
  it("writes only lines that changed", () => {
    const before = ["a", "b", "c"];
    assert.equal(repaint(before, ["a", "x", "c"]), "\u001b[2;1Hx\u001b[K");
    assert.equal(repaint(before, before), "");
    assert.equal(repaint(before, ["a"]), "\u001b[2;1H\u001b[J");
  });
});

describe("keys", () => {
  const view = (...keys: string[]) =>
    keys.reduce((now, key) => {
      const act = press(now, key, 10, 100);
      assert.ok(typeof act !== "string", key);
      return act;
    }, firstView);
  it("move within the list", () => {
    assert.equal(view("j", "j", "k").top, 1);
    assert.equal(view("\u001b[6~").top, 10);
    assert.equal(view("G").top, 90);
    assert.equal(view("G", "j", "\u001b[B").top, 90);
    assert.equal(view("k").top, 0);
  });
  it("sort, turn round and search", () => {
    assert.equal(view("S").sort, "spare");
    assert.equal(view(">", ">").sort, "lent");
    const { nodes } = cluster(30).found;
    const names = (...keys: string[]) => listed(nodes, view(...keys)).map(({ node }) => node);
    assert.equal(names("r")[0], "n30");
    assert.equal(names("L")[0], "n2");
    assert.deepEqual(names("/", ..."n2", "7", "\r"), ["n27"]);
    assert.equal(names("/", ..."no agent").length, 3);
    assert.equal(names("/", ..."gpu").length, 15);
    assert.equal(view("/", "q").search, "q");
    assert.equal(view("/", "q", "\u001b").search, "");
  });
  it("end it and hold it", () => {
    assert.equal(press(firstView, "q", 1, 1), "quit");
    assert.equal(press(firstView, "\u0003", 1, 1), "quit");
    assert.equal(press({ ...firstView, typing: true }, "\u0003", 1, 1), "quit");
    assert.equal(press(firstView, "\u001a", 1, 1), "suspend");
    assert.ok(view(" ").paused);
  });
  it("arrive whole", () => {
    assert.deepEqual(keysOf("j\u001b[A\u001b[5~q\u001b"), ["j", "\u001b[A", "\u001b[5~", "q", "\u001b"]);
  });
});

/** A tmux of the test's own, on a socket of its own: what a person sees. */
describe("on a terminal", {
  skip: spawnSync("tmux", ["-V"]).status === 0 ? false : "there is no tmux",
}, () => {
  const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
  const tmux = (...args: string[]): string => {
    const done = spawnSync("tmux", ["-L", `sublet-top-${process.pid}`, "-f", "/dev/null", ...args], {
      encoding: "utf8",
    });
    return done.stdout;
  };
  async function seen(what: RegExp): Promise<string> {
    const endMs = performance.now() + 30_000;
    for (;;) {
      const picture = tmux("capture-pane", "-p", "-t", "top");
      if (what.test(picture)) return picture;
      assert.ok(performance.now() < endMs, `${what} in vain:\n${picture}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  it("scrolls, searches, follows the window's size, and leaves the terminal as it was", async () => {
    const peer = spawn(process.execPath, [path("../../bench/cli-peer.ts"), "200"], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    try {
      const [line] = (await once(createInterface(peer.stdout), "line")) as [string];
      const { address, munge } = JSON.parse(line) as { address: string; munge: string };
      tmux("new-session", "-d", "-s", "top", "-x", "80", "-y", "24", "sh");
      const top = `${process.execPath} ${path("../../../src/cli/main.ts")} --controller ${address} top --delay 1`;
      tmux(
        "send-keys",
        "-t",
        "top",
        `clear; echo before; SUBLET_MUNGE_SOCKET=${munge} ${top}; echo ended $?`,
        "Enter",
      );
      await seen(/1-\d+ of 200/);
      tmux("send-keys", "-t", "top", "G");
      await seen(/n00200 /);
      tmux("send-keys", "-t", "top", "/n0001", "Enter");
      await seen(/search: n0001 .*of 10 /);
      tmux("resize-window", "-t", "top", "-x", "50", "-y", "15");
      const narrow = await seen(/^cores {2}\[.{30,40}\]/m);
      assert.ok(narrow.split("\n").every((each) => each.length <= 50));
      tmux("send-keys", "-t", "top", "q");
      const after = await seen(/ended 0/);
      assert.match(after, /before/);
      assert.doesNotMatch(after, /n00010/);
    } finally {
      tmux("kill-server");
      peer.stdin.end();
      await once(peer, "exit");
    }
  });

  it("says what it waits for while the controller does not answer", async () => {
    const munged = await startMunged();
    const silent = createServer(() => {});
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as AddressInfo;
    try {
      tmux("new-session", "-d", "-s", "top", "-x", "80", "-y", "24", "sh");
      const top = `${process.execPath} ${path("../../../src/cli/main.ts")} --controller 127.0.0.1:${port} --timeout 20 top`;
      tmux("send-keys", "-t", "top", `clear; SUBLET_MUNGE_SOCKET=${munged.socket} ${top}`, "Enter");
      await seen(new RegExp(`waiting for the controller 127\\.0\\.0\\.1:${port}, \\d+ s`));
    } finally {
      tmux("kill-server");
      silent.close();
      await munged.stop();
    }
  });
});
