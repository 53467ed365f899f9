/**
 * Nodes that are unlike, as most clusters have them: cores, memory, features and generic resources of their own. What each
 * offers is its own; a wish goes where it fits and is refused where no node has so much; a job by feature or by resource
 * takes back what is lent on its nodes, and no more.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { alice, allLend, ask, controller, root, sublet, type Wish } from "./users.ts";

const mib = 1024 * 1024;
const reserveMib = 512;
const memoryMib = [6144, 3072, 1536];
let cluster: Cluster;
before(async () => {
  cluster = await startCluster({
    waitForLockMs: 60_000,
    memoryMibPerNode: memoryMib,
    slurmWords: ["Feature=big,fast Gres=card:2", "Feature=small,fast", "Feature=small"],
    slurmConf: ["GresTypes=card"],
    gresConf: ["NodeName=n1 Name=card Count=2"],
    // Every wish is placed by the controller; `close` takes exact cores.
    agentSettings: {
      lease_here_first: false,
      reserve_memory_mib: reserveMib,
      pool_max: 0,
      reclaim: { prolog: "close" },
    },
    controllerSettings: { poll_interval_ms: 500 },
  });
  await allLend(cluster);
});
const held: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const letGo of held.splice(0)) await letGo();
  await cluster?.mend();
});
after(async () => {
  await cluster?.stop();
});

interface Offered {
  readonly node: string;
  readonly slurmState: string;
  readonly offer: {
    readonly spare: readonly {
      readonly class: string;
      readonly cores: number[];
      readonly memoryBytes: number;
    }[];
  } | null;
}

async function offers(): Promise<
  Map<string, { state: string; cores: number[]; mib: number; classes: string[] }>
> {
  const said = await sublet(cluster, "n3", root, ["--controller", controller, "nodes", "--json"]);
  return new Map(
    (said.json().nodes as Offered[]).map(({ node, slurmState, offer }) => [
      node,
      {
        state: slurmState,
        cores: (offer?.spare ?? []).flatMap(({ cores }) => cores).sort((a, b) => a - b),
        mib: (offer?.spare ?? []).reduce((sum, { memoryBytes }) => sum + memoryBytes, 0) / mib,
        classes: (offer?.spare ?? []).filter(({ cores }) => cores.length > 0).map((each) => each.class),
      },
    ]),
  );
}

/** The node that a wish went to, or the code of its refusal. Held until the test is over. */
async function place(wish: Wish, on = ""): Promise<string> {
  const { said, letGo } = await ask(cluster, alice, "n3", on, wish);
  held.push(letGo);
  return "id" in said ? said.node : said.code;
}

const leasesOf = async (): Promise<string[]> => {
  const said = await sublet(cluster, "n3", root, ["--controller", controller, "leases", "--json"]);
  return (said.json().leases as { node: string }[]).map(({ node }) => node).sort();
};

/** A job that runs until it is cancelled. */
async function job(...args: string[]): Promise<string> {
  const id = await cluster.sbatch({ args, script: "sleep 600" });
  await until("the job runs", 60_000, async () =>
    (await cluster.job(id)).state === "RUNNING" ? true : undefined,
  );
  return (await cluster.job(id)).fields.get("NodeList") ?? "";
}

test("each node offers its own cores and memory, and the controller adds up what they have", async () => {
  const found = await offers();
  for (const [k, { name, cpus }] of cluster.layout.nodes.entries()) {
    const offer = found.get(name);
    assert.deepEqual(offer?.cores, cpus, name);
    const most = (memoryMib[k] ?? 0) - reserveMib;
    assert.ok(offer.mib <= most && offer.mib > most - 256, `${name}: ${offer.mib} of ${most} MiB`);
    assert.deepEqual(offer.classes, ["CAPACITY_CLASS_IDLE"]);
  }
  assert.ok(new Set([...found.values()].map(({ cores }) => cores.length)).size > 1, "nodes of one size");
  const summary = await (await fetch("http://10.77.0.1:7704/api/v1/summary")).json();
  const cores = cluster.layout.nodes.reduce((sum, { cpus }) => sum + cpus.length, 0);
  assert.match(JSON.stringify(summary), new RegExp(`"total":${cores}\\b`));
});

test("a wish goes where it fits, and nowhere where nothing is so large", async () => {
  // Cores and memory that only one node has; that is held, so that the second has no place left.
  assert.equal(await place({ cores: 2 }), "n1");
  assert.equal(await place({ cores: 2 }), "RESOURCE_EXHAUSTED");
  assert.equal(await place({ cores: 3 }), "RESOURCE_EXHAUSTED");
  for (const letGo of held.splice(0)) await letGo();
  await until("n1 is whole again", 30_000, async () =>
    (await offers()).get("n1")?.cores.length === 2 ? true : undefined,
  );
  assert.equal(await place({ kind: "region", mib: 4096 }), "n1");
  assert.equal(await place({ kind: "region", mib: 2048 }), "n2");
  assert.equal(await place({ kind: "region", mib: 2048 }), "RESOURCE_EXHAUSTED");
  // A node that is named is asked for no more than it has.
  assert.equal(await place({ kind: "region", mib: 768 }, "n3"), "n3");
  assert.equal(await place({ kind: "region", mib: 768 }, "n3"), "RESOURCE_EXHAUSTED");
});

test("a job by feature takes back what is lent on the nodes of that feature, and no other", async () => {
  for (const node of ["n1", "n2", "n3"]) assert.equal(await place({ cores: 1 }, node), node);
  assert.deepEqual(await leasesOf(), ["n1", "n2", "n3"]);
  assert.equal(await job("--constraint=small&fast", "--exclusive", "--mem=0"), "n2");
  await until("the lease on n2 is gone", 30_000, async () =>
    (await leasesOf()).includes("n2") ? undefined : true,
  );
  assert.deepEqual(await leasesOf(), ["n1", "n3"]);
  const found = await offers();
  assert.deepEqual(found.get("n2")?.cores, [], "a node that is held whole offers nothing");
});

test("a job by generic resource takes one core of the large node: the other is offered beside it", async () => {
  assert.equal(await place({ cores: 2 }), "n1");
  assert.equal(await job("--gres=card:1", "--ntasks=1", "--mem=1024"), "n1");
  await until("the lease in the way is gone", 30_000, async () =>
    (await leasesOf()).includes("n1") ? undefined : true,
  );
  const offer = await until("the rest of n1 is offered", 30_000, async () => {
    const now = (await offers()).get("n1");
    return now?.cores.length === 1 && now.state.startsWith("mixed") ? now : undefined;
  });
  assert.deepEqual(offer.classes, ["CAPACITY_CLASS_UNALLOCATED"]);
  const most = (memoryMib[0] ?? 0) - 1024 - reserveMib;
  assert.ok(offer.mib <= most && offer.mib > most - 256, `${offer.mib} of ${most} MiB`);
  // Beside the job before an idle node; two cores are nowhere now.
  assert.equal(await place({ cores: 1 }), "n1");
  assert.equal(await place({ cores: 2 }), "RESOURCE_EXHAUSTED");
  // The second card fits beside the first job; the core that it takes is the lease's.
  assert.equal(await job("--gres=card:1", "--ntasks=1", "--mem=1024"), "n1");
  await until("that lease is gone too", 30_000, async () =>
    (await leasesOf()).includes("n1") ? undefined : true,
  );
  assert.deepEqual((await offers()).get("n1")?.cores ?? [], []);
});
