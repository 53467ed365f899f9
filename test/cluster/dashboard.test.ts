/** The dashboard of a running cluster: its figures are those of the RPCs, and what it changes it changes for admins only. */
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { until } from "../../deploy/testbed/shell.ts";
import type { LeaseRow, NodeDetail, NodeTable, Reclaims, Summary } from "../../src/dashboard/api.ts";
import { alice, allLend, controller, hold, root, sublet } from "./users.ts";

let cluster: Cluster;
const url = "http://10.77.0.1:7704";
before(async () => {
  cluster = await startCluster({ waitForLockMs: 60_000, controllerSettings: { poll_interval_ms: 500 } });
  await allLend(cluster);
});
afterEach(() => cluster?.mend());
after(async () => {
  await cluster?.stop();
});

async function get<T>(path: string): Promise<T> {
  const response = await fetch(`${url}/api/v1/${path}`, {
    headers: { connection: "close" },
    signal: AbortSignal.timeout(10_000),
  });
  assert.equal(response.status, 200, path);
  return (await response.json()) as T;
}

async function post(path: string, body: unknown, cookie = ""): Promise<Response> {
  return await fetch(`${url}/api/v1/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", connection: "close", cookie },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(20_000),
  });
}

async function loginAs(user: typeof root): Promise<string> {
  const args = ["--controller", controller, "dashboard", "--login", "--json"];
  const said = await sublet(cluster, "n1", user, args);
  assert.equal(said.status, 0, said.out + said.error);
  const { credential, loginUrl } = said.json();
  assert.equal(loginUrl, `http://localhost:7704/#/login/${encodeURIComponent(credential)}`);
  const response = await post("login", { credential });
  assert.equal(response.status, 200, await response.clone().text());
  assert.equal((await post("login", { credential })).status, 401, "a credential is good once");
  return (response.headers.get("set-cookie") ?? "").split(";")[0] ?? "";
}

test("nodes and leases are those of the command line, and cores are told by what holds them", async () => {
  const held = await hold(cluster, alice, "n1", "n2");
  try {
    await until("the page has the lease", 10_000, async () =>
      (await get<LeaseRow[]>("leases")).length === 1 ? true : undefined,
    );
    const [lease] = await get<LeaseRow[]>("leases");
    const listed = (
      await sublet(cluster, "n1", root, ["--controller", controller, "leases", "--json"])
    ).json().leases;
    assert.deepEqual([lease?.id, lease?.node], [listed[0].id, listed[0].node]);
    // Looked at once a second for all viewers.
    const table = await until("the table has it", 10_000, async () => {
      const found = await get<NodeTable>("nodes");
      return found.coresLent.some((cores) => cores > 0) ? found : undefined;
    });
    const nodes = (await sublet(cluster, "n1", root, ["--controller", controller, "nodes", "--json"])).json()
      .nodes;
    assert.deepEqual(
      table.names,
      nodes.map(({ node }: { node: string }) => node),
    );
    const index = table.names.indexOf(lease?.node ?? "");
    assert.equal(table.coresLent[index], 1);
    const detail = await get<NodeDetail>(`nodes/${lease?.node}`);
    assert.equal(detail.cores.filter(({ use }) => use === "guest").length, 1);
    const { cores, leases } = await get<Summary>("summary");
    assert.equal(cores.used + cores.heldUnused + cores.lent + cores.spare + cores.closed, cores.total);
    assert.deepEqual([cores.lent, leases.functions], [1, 1]);
  } finally {
    await held.letGo();
  }
});

test("a reclaim for a job is in the distribution, with how long it took", async () => {
  const held = await hold(cluster, alice, "n1", "n2");
  try {
    await until("the page has the lease", 10_000, async () =>
      (await get<LeaseRow[]>("leases")).length === 1 ? true : undefined,
    );
    await cluster.sbatch({ script: "sleep 1", args: ["--nodes=3", "--exclusive"] });
    const found = await until("the page has the reclaim", 30_000, async () => {
      const reclaims = await get<Reclaims>("reclaims");
      return reclaims.count > 0 ? reclaims : undefined;
    });
    assert.ok(found.latest.some(({ durationMs, leases }) => durationMs > 0 && leases === 1));
    assert.equal(found.counts.reduce((sum, count) => sum + count, 0) > 0, true);
  } finally {
    await held.letGo();
  }
  await cluster.waitIdle(30_000);
});

test("draining wants an admin who has logged in with MUNGE", async () => {
  const drain = { nodes: ["n2"], reason: "test of the dashboard" };
  assert.equal((await post("drain", drain)).status, 401);
  assert.equal((await post("drain", drain, await loginAs(alice))).status, 403);
  const cookie = await loginAs(root);
  const outcomes = (await (await post("drain", drain, cookie)).json()) as { node: string; ok: boolean }[];
  assert.deepEqual(
    outcomes.map(({ node, ok }) => [node, ok]),
    [["n2", true]],
  );
  await until("the page says so", 10_000, async () =>
    (await get<NodeDetail>("nodes/n2")).lending === "drained" ? true : undefined,
  );
  assert.equal((await post("resume", drain, cookie)).status, 200);
});

test("from another machine, without TLS, nobody logs in: the page is read only", async () => {
  const { credential } = (
    await sublet(cluster, "n1", root, ["--controller", controller, "dashboard", "--login", "--json"])
  ).json();
  const script = `
    const ask = async (path, body) => {
      const answer = await fetch("${url}/api/v1/" + path, body && {
        method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
      return [answer.status, await answer.json()];
    };
    const login = await ask("login", { credential: ${JSON.stringify(credential)} });
    console.log(JSON.stringify({ login, whoami: await ask("whoami"), summary: (await ask("summary"))[0] }));`;
  const { stdout, stderr, exitCode } = await cluster.runOnNode("n1", [process.execPath, "-e", script]);
  assert.equal(exitCode, 0, stderr);
  const { login, whoami, summary } = JSON.parse(stdout);
  assert.equal(login[0], 403);
  assert.match(login[1].error, /over a network without TLS/);
  assert.match(login[1].hint, /\[dashboard\.tls\].*ssh -L/);
  assert.match(whoami[1].noLogin, /without TLS/);
  assert.equal(summary, 200);
  assert.equal((await post("login", { credential })).status, 200, "and the credential was not spent by it");
});
