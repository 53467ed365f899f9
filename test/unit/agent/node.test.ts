import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { connectStarter } from "../../../agent/executor/starter.ts";
import { watchMetrics } from "../../../agent/metrics.ts";
import { nodeAdmin } from "../../../agent/node/admin.ts";
import { nodeService } from "../../../agent/node/service.ts";
import { offerMessage } from "../../../agent/offer/messages.ts";
import { Shell } from "../../../agent/shell.ts";
import { version } from "../../../src/common/version.ts";
import { connectNode, type NodeClient } from "../../../src/rpc/client.ts";
import type { Identity } from "../../../src/rpc/identity.ts";
import { serve } from "../../../src/rpc/server.ts";
import { fakeStarter } from "./fake-starter.ts";
import { mib, setup } from "./setup.ts";

const silent = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** A fake identity for tests: the credential is the uid itself. */
function fakeIdentity(uid: number): Identity {
  return {
    credential: async () => `${uid}`,
    verify: async (credential) => ({ uid: Number(credential), gid: Number(credential) }),
  };
}

interface World {
  readonly shell: Shell;
  as(uid: number): NodeClient;
  page(): Promise<string>;
}

async function world(t: TestContext): Promise<World> {
  const dir = mkdtempSync(join(tmpdir(), "sublet-node-"));
  const fake = await fakeStarter(join(dir, "starter.sock"));
  const shell = new Shell({
    setup,
    tree: { layout: { version: 1, mounts: new Map(), missing: [] }, root: "none" },
    log: silent,
    availableBytes: () => 4096 * mib,
    order: (guest) => ({
      unixPath: `/x/${guest.lease.id}`,
      tcpAddress: "127.0.0.1",
      spinUs: 1,
      executor: "/x",
    }),
    startTimeoutMs: 1000,
  });
  const starter = await connectStarter({
    socketPath: fake.path,
    spawn: undefined,
    timeoutMs: 1000,
    onExited: (leaseId) => shell.dispatch({ type: "executor_exited", leaseId }),
    onLost: () => undefined,
  });
  const registry = watchMetrics(shell, { controllersConnected: () => 0 });
  shell.dispatch({ type: "adopt", guests: [] });
  shell.setStarter(starter);
  const self = {
    node: "n1",
    runDir: "/r",
    fabricAddress: "127.0.0.1",
    address: "127.0.0.1:1",
    epochUnixMs: 5,
  };
  const rpc = await serve({
    listen: "127.0.0.1:0",
    identity: fakeIdentity(0),
    trustedUids: [0],
    node: nodeService({
      shell,
      self: () => self,
      offer: () => offerMessage(shell.state, self, shell.nowMs(), 0),
      adminGid: 50,
      findings: () => ({ k: "v", long: "x".repeat(1000) }),
      controllerConnected: () => false,
      admin: nodeAdmin({ shell, stateDir: dir, log: silent }),
    }),
  });
  const clients: NodeClient[] = [];
  t.after(async () => {
    for (const client of clients) client.close();
    await rpc.close();
    starter.close();
    shell.close();
    await fake.close();
    rmSync(dir, { recursive: true });
  });
  return {
    shell,
    as(uid) {
      const client = connectNode(rpc.address, { identity: fakeIdentity(uid) });
      clients.push(client);
      return client;
    },
    page: () => registry.metrics(),
  };
}

const request = { kind: "LEASE_KIND_FUNCTION", cores: 1, memoryBytes: mib } as const;
const owner = { uid: 1000, gid: 1000, jobId: 3, node: "n2" };

test("a trusted daemon grants for an owner; the same id again is the same lease", async (t) => {
  const here = await world(t);
  const daemon = here.as(0);
  const first = await daemon.grant({ leaseId: "a", request, owner });
  assert.deepEqual(first.lease?.owner, owner);
  assert.equal(first.lease?.termMs, setup.leaseTermMs);
  const again = await daemon.grant({ leaseId: "a", request, owner });
  assert.deepEqual(again.endpoint, first.endpoint);
  assert.equal(here.shell.state.guests.size, 1);
  await assert.rejects(daemon.grant({ leaseId: "b", request }), { code: "INVALID_ARGUMENT" });
});

test("others are taken at their own uid, whatever they say", async (t) => {
  const here = await world(t);
  const user = here.as(1001);
  const granted = await user.grant({ leaseId: "a", request, owner: { ...owner, uid: 0 } });
  assert.equal(granted.lease?.owner?.uid, 1001);
  await assert.rejects(here.as(1002).release({ leaseId: "a", caller: { uid: 1001 } }), { code: "NOT_FOUND" });
  assert.deepEqual((await here.as(1002).listLeases({})).leases, []);
  assert.equal((await here.as(50).listLeases({})).leases.length, 1);
  assert.equal((await here.as(0).listLeases({ caller: { uid: 1002 } })).leases.length, 0);
  assert.equal((await here.as(0).listLeases({})).leases.length, 1);
  await assert.rejects(here.as(0).renew({ leaseId: "a", caller: { uid: 1002 } }), { code: "NOT_FOUND" });
  assert.equal((await user.renew({ leaseId: "a" })).lease?.id, "a");
  assert.equal((await user.release({ leaseId: "a" })).lease?.state, "LEASE_STATE_RELEASED");
  assert.equal(here.shell.state.guests.size, 0);
});

test("a refusal names its reason and its node", async (t) => {
  const here = await world(t);
  const big = { ...request, cores: 5, minCores: 5 };
  await assert.rejects(here.as(0).grant({ leaseId: "a", request: big, owner }), {
    code: "RESOURCE_EXHAUSTED",
    details: { reason: "no_cores", node: "n1", retryAfterMs: 0 },
  });
  const node = await here.as(1001).getNode({});
  assert.deepEqual(node.findings.k, "v");
  assert.deepEqual(node.offer?.spare[0]?.cores, [0, 1, 2, 3]);
});

test("everyone may ask an agent how it is; its facts are bounded", async (t) => {
  const here = await world(t);
  const { unixMs, findings, problems, version: said } = await here.as(1001).getHealth({});
  assert.ok(Math.abs(unixMs - Date.now()) < 10_000);
  assert.equal(findings.long?.length, 256);
  assert.deepEqual([findings.k, said], ["v", version]);
  assert.deepEqual(problems, ["no controller is connected"]);
});

test("metrics follow: grants, refusals, leases, reclaims, what is lent", async (t) => {
  const here = await world(t);
  const daemon = here.as(0);
  await daemon.grant({ leaseId: "a", request, owner });
  await daemon.grant({ leaseId: "b", request: { ...request, kind: "LEASE_KIND_REGION", cores: 0 }, owner });
  await assert.rejects(daemon.grant({ leaseId: "c", request: { ...request, cores: 9 }, owner }));
  const value = (page: string, line: string): number => {
    const found = page.split("\n").find((each) => each.startsWith(`${line} `));
    return found === undefined ? Number.NaN : Number(found.slice(line.length));
  };
  const before = await here.page();
  assert.equal(value(before, 'sublet_cores{state="leased"}'), 1);
  assert.equal(value(before, 'sublet_cores{state="spare"}'), 3);
  assert.equal(value(before, 'sublet_leases{kind="region"}'), 1);
  assert.equal(value(before, "sublet_lease_grants_total"), 2);
  assert.equal(value(before, 'sublet_lease_refusals_total{reason="no_cores"}'), 1);
  assert.equal(value(before, "sublet_lease_start_seconds_count"), 2);
  await here.shell.ask({ type: "prolog", jobId: 4 });
  await here.shell.ask({ type: "epilog", jobId: 4 });
  const after = await here.page();
  assert.equal(value(after, 'sublet_leases_ended_total{outcome="revoked",reason="batch_job"}'), 2);
  assert.equal(value(after, 'sublet_reclaims_total{messenger="prolog"}'), 2);
  assert.equal(value(after, "sublet_reclaim_seconds_count"), 1);
  assert.equal(value(after, 'sublet_hook_calls_total{event="prolog"}'), 1);
  assert.equal(value(after, 'sublet_leases{kind="region"}'), 0);
  assert.ok(value(after, "sublet_lease_core_seconds_total") > 0);
  assert.equal(
    value(await here.page(), "sublet_lease_core_seconds_total"),
    value(after, "sublet_lease_core_seconds_total"),
  );
});

test("a lease is answered before anybody else hears of it, and then all is heard in order", async (t) => {
  const { shell } = await world(t);
  const heard: string[] = [];
  shell.listen({
    onEffect: ({ type }) => heard.push(type),
    onLease: (guest) => heard.push(`lease ${guest.phase}`),
    onChanged: () => heard.push("changed"),
  });
  const wish = { kind: "function", cores: 1, minCores: 1, memoryBytes: mib, termMs: 60_000 } as const;
  const ask = (leaseId: string) =>
    shell.ask({
      type: "grant",
      leaseId,
      request: wish,
      owner: { uid: 1, gid: 1, jobId: 1, node: "n1" },
      holder: undefined,
      token: "00".repeat(32),
    });
  await ask("a");
  const atAnswer = heard.filter((each) => each === "answer" || each === "ready");
  assert.deepEqual(atAnswer, []);
  shell.settle();
  const wanted = ["start", "lease", "lease starting", "answer", "ready", "lease", "lease running"];
  assert.deepEqual(
    heard.filter((each) => each !== "offer" && each !== "changed"),
    wanted,
  );
  assert.equal(heard.at(-1), "changed");
  // Whatever comes before they have heard: first the old, then the new.
  heard.length = 0;
  await ask("b");
  shell.dispatch({ type: "executor_exited", leaseId: "b" });
  const [ready, ended] = ["ready", "ended"].map((each) => heard.indexOf(each));
  assert.ok((ready ?? -1) >= 0 && (ended ?? -1) > (ready ?? 0), heard.join());
  // And by itself, soon.
  heard.length = 0;
  await ask("c");
  while (!heard.includes("ready")) await new Promise((resolve) => setTimeout(resolve, 1));
});

test("what a listener sets off is heard after what all were hearing", async (t) => {
  const { shell } = await world(t);
  const heard: string[] = [];
  shell.listen({
    onEffect: ({ type }) => {
      if (type === "ready") shell.dispatch({ type: "executor_exited", leaseId: "a" });
    },
  });
  shell.listen({ onEffect: ({ type }) => heard.push(type) });
  await shell.ask({
    type: "grant",
    leaseId: "a",
    request: { kind: "function", cores: 1, minCores: 1, memoryBytes: mib, termMs: 60_000 },
    owner: { uid: 1, gid: 1, jobId: 1, node: "n1" },
    holder: undefined,
    token: "00".repeat(32),
  });
  shell.settle();
  assert.equal(heard.filter((each) => each === "lease").length, 3);
  const [ready, ended] = ["ready", "ended"].map((each) => heard.indexOf(each));
  assert.ok((ready ?? -1) >= 0 && heard.indexOf("lease", ready) < (ended ?? -1), heard.join());
});
