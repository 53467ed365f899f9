/**
 * An earlier version and this tree's in one cluster, as daemons: what docs/upgrade.md promises of each mixture. Off the
 * gate (`npm run test:versions`): the earlier tree is built first.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { enter } from "../../deploy/testbed/namespaces.ts";
import { baseEnv, until } from "../../deploy/testbed/shell.ts";
import { controller as address, alice, hold, root, sublet } from "../cluster/users.ts";
import { as, Mixed, type Version } from "./mixed.ts";
import { oldCommit, oldTree, whyNoOldTree } from "./old-tree.ts";

const skip = whyNoOldTree() ?? false;
const versions: readonly Version[] = ["old", "new"];
const nodes = ["n1", "n2"] as const;

let cluster: Cluster;
let mixed: Mixed;

async function listed(version: Version): Promise<{ node: string; leases: number; offer: Offer | null }[]> {
  const said = await mixed.sublet(version, "n1", root, ["--json", "nodes"]);
  assert.equal(said.status, 0, `${version} sublet nodes: ${said.error}`);
  return JSON.parse(said.out).nodes;
}
interface Offer {
  readonly spare: readonly { readonly cores: readonly number[] }[];
}

/** Both nodes lend again, as both versions of the command see it. */
async function allLend(): Promise<void> {
  for (const version of versions)
    await until(`both nodes lend, says the ${version} command`, 60_000, async () => {
      const found = await listed(version).catch(() => []);
      const lending = found.filter(({ offer }) => offer?.spare.some(({ cores }) => cores.length > 0));
      return lending.length === nodes.length ? true : undefined;
    });
}

/** Leases and calls of both libraries from either node, a job that takes its node back. */
async function works(): Promise<void> {
  await allLend();
  for (const version of versions)
    for (const from of nodes) for (const on of nodes) await mixed.calls(version, from, on);
  for (const [from, on] of [
    ["n1", "n2"],
    ["n2", "n1"],
  ] as const) {
    await allLend();
    const held = await hold(cluster, alice, from, on);
    const job = await cluster.sbatch({ args: [`--nodelist=${on}`, "--exclusive"], script: "true" });
    assert.equal((await cluster.waitJob(job, 60_000)).state, "COMPLETED");
    await until(`the lease on ${on} is gone`, 10_000, async () => {
      const all = await listed("new");
      return all.find(({ node }) => node === on)?.leases === 0 ? true : undefined;
    });
    await held.letGo();
    assert.doesNotMatch((await cluster.nodeStates()).get(on) ?? "", /drain|down/i);
  }
}

/** What drain answers for a node: undefined when it was done. */
async function drained(node: string): Promise<string | undefined> {
  const said = await sublet(cluster, "n1", root, ["--controller", address, "--json", "drain", node]);
  const { outcomes, error } = said.json();
  const [outcome] = outcomes ?? [];
  if (said.status === 0) {
    assert.equal((await sublet(cluster, "n1", root, ["--controller", address, "resume", node])).status, 0);
    return undefined;
  }
  return outcome?.message ?? error?.message ?? said.error;
}

interface Caller {
  /** The lease's id and calls answered so far. */
  progress(): [id: string, calls: number];
  /** Ends in order. */
  end(): Promise<void>;
}

/** A program that holds one lease and calls on it five times a second, linked to a version's libsublet. */
async function caller(version: Version, node: string): Promise<Caller> {
  const folder = mkdtempSync(join(cluster.stateDir, "caller-"));
  chmodSync(folder, 0o777);
  const program = join(folder, "hold");
  const lib = join(mixed.native(version), "lib");
  const source = fileURLToPath(new URL("../packages/hold.c", import.meta.url));
  execFileSync("cc", [
    ...["-std=gnu11", "-o", program, source, "-I", join(mixed.root(version), "functions/include")],
    ...["-L", lib, `-Wl,-rpath,${lib}`, "-lsublet"],
  ]);
  const file = join(folder, "progress");
  const library = join(mixed.native(version), "functions/libecho.so");
  const [command = "", ...args] = enter(cluster.stateDir, node, [...as(alice), program, library, file]);
  const child: ChildProcess = spawn(command, args, {
    env: { ...baseEnv, ...mixed.env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    said += chunk;
  });
  const ended = once(child, "close");
  const progress = (): [string, number] => {
    assert.equal(child.exitCode, null, said);
    const [id = "", calls = "0"] = readFileSync(file, "utf8").split(" ");
    return [id, Number(calls)];
  };
  await until("its first call", 30_000, () => {
    try {
      return progress();
    } catch (thrown) {
      if (child.exitCode !== null) throw thrown;
      return undefined; // not yet
    }
  });
  return {
    progress,
    async end() {
      writeFileSync(`${file}.stop`, "");
      const [status] = await ended;
      assert.equal(status, 0, said);
    },
  };
}

/** Calls go on, on the same lease, through what is done meanwhile and for a while after it. */
async function goesOn(version: Version, node: string, what: () => Promise<void>): Promise<void> {
  const client = await caller(version, node);
  const [id] = client.progress();
  await what();
  const [, before] = client.progress();
  await until("ten more calls", 30_000, () => (client.progress()[1] >= before + 10 ? true : undefined));
  assert.equal(client.progress()[0], id);
  await client.end();
}

const usage = async (): Promise<number> => {
  const said = await sublet(cluster, "n1", root, [
    "--controller",
    address,
    "--json",
    "usage",
    "--from",
    "2d",
  ]);
  assert.equal(said.status, 0, said.out);
  return said.json().rows.reduce((sum: number, row: { coreSeconds: number }) => sum + row.coreSeconds, 0);
};

describe(`this tree beside ${skip === false ? oldCommit().slice(0, 10) : "an earlier one"}`, {
  skip,
}, () => {
  before(async () => {
    const folder = oldTree();
    cluster = await startCluster({ nodes: nodes.length, waitForLockMs: 60_000 });
    mixed = new Mixed(cluster, folder);
    await mixed.controller("old");
    for (const node of nodes) await mixed.agent("old", node, { starter: true });
  });
  after(async () => await cluster?.stop());

  test("all is old, and called by both libraries", works);

  test("who wants a fabric that old executors do not know calls them over TCP", async () => {
    await allLend();
    for (const provider of ["tcp;msg", "net"])
      await mixed.calls("new", "n1", "n2", { SUBLET_FABRIC_PROVIDER: provider });
  });

  test("a new controller with old agents; a caller does not notice it come", async () => {
    await goesOn("old", "n1", () => mixed.controller("new"));
    await works();
    assert.match((await drained("n2")) ?? "", /runs another version/);
  });

  test("one new agent with its old starter beside an old one; its guest goes on", async () => {
    await goesOn("old", "n1", () => mixed.agent("new", "n1"));
    assert.match(await mixed.starterOf("n1"), /build\/old/);
    await works();
    assert.equal(await drained("n1"), undefined);
    assert.match((await drained("n2")) ?? "", /runs another version/);
    await until("what the new agent lent is told", 60_000, async () =>
      (await usage()) > 0 ? true : undefined,
    );
  });

  test("and with a new starter; both are drained when both are new", async () => {
    await mixed.agent("new", "n1", { starter: true });
    assert.doesNotMatch(await mixed.starterOf("n1"), /build\/old/);
    await works();
    await goesOn("new", "n2", () => mixed.agent("new", "n2"));
    for (const node of nodes) assert.equal(await drained(node), undefined);
  });

  test("an old controller with new agents: all but what it lacks works, and is told when a new one comes", async () => {
    const before = await usage();
    await goesOn("new", "n1", () => mixed.controller("old"));
    await works();
    assert.match((await drained("n1")) ?? "", /runs another version/);
    await mixed.controller("new");
    await until("what was lent meanwhile is told", 60_000, async () =>
      (await usage()) > before ? true : undefined,
    );
  });

  test("back: an old agent with a new starter, and its guest goes on", async () => {
    // One from the pool would end: the old agent knows no pool, and cannot tell which cgroup it is in.
    await mixed.agent("new", "n1", { settings: { pool_max: 0 } });
    await goesOn("new", "n1", () => mixed.agent("old", "n1"));
    assert.doesNotMatch(await mixed.starterOf("n1"), /build\/old/);
    await works();
    await goesOn("old", "n1", () => mixed.agent("new", "n1"));
  });
});
