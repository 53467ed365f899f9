/** Who may do what: credentials between daemons, and two ordinary users, an operator and root on one cluster. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, afterEach, before, test } from "node:test";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { pause, until } from "../../deploy/testbed/shell.ts";
import { mungeSocket } from "../../deploy/testbed/slurm-conf.ts";
import { connectController, connectNode } from "../../src/rpc/client.ts";
import { credentialPayload, type Identity } from "../../src/rpc/identity.ts";
import { mungeIdentity } from "../../src/rpc/munge.ts";
import { alice, bob, carol, controller, hold, operators, root, sublet, type User } from "./users.ts";

let cluster: Cluster;
before(async () => {
  cluster = await startCluster({
    waitForLockMs: 60_000,
    agentSettings: { admin_gid: operators },
    controllerSettings: { admin_gid: operators },
  });
});
afterEach(() => cluster?.mend());
after(async () => {
  await cluster?.stop();
});

const agentOf = (node: string): string => `${cluster.node(node).address}:7701`;
const listNodes = "/sublet.v1.ControllerService/ListNodes";
const getNode = "/sublet.v1.NodeService/GetNode";

/** An identity that shows what `make` makes, and trusts nobody. */
const showing = (make: (audience: string, method: string) => string | Promise<string>): Identity => ({
  credential: async (audience, method) => await make(audience, method),
  verify: () => Promise.reject(new Error("not asked")),
});

/** Runs munge(1) as a user: what any user can do. */
function mungeAs(user: User, payload: string, ...options: string[]): string {
  const as = [`--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups", "--"];
  const argv = [
    ...as,
    "munge",
    `--socket=${mungeSocket(cluster.stateDir)}`,
    `--string=${payload}`,
    ...options,
  ];
  return execFileSync("setpriv", argv, { encoding: "utf8" }).trim();
}
const identityOf = (user: User): Identity =>
  showing((audience, method) => mungeAs(user, credentialPayload(audience, method, Date.now())));

/** Calls a read-only method of the controller and of an agent with an identity. */
async function bothCall(identity: Identity): Promise<void> {
  const clients = [
    connectController(controller, { identity }),
    connectNode(agentOf("n2"), { identity }),
  ] as const;
  try {
    await clients[0].listNodes({});
    await clients[1].getNode({});
  } finally {
    for (const client of clients) client.close();
  }
}

/** Calls each of the two and expects that it does not know the caller. */
async function bothRefuse(identity: Identity, says: RegExp): Promise<void> {
  const refused = { code: "UNAUTHENTICATED", message: says };
  const [one, other] = [
    connectController(controller, { identity }),
    connectNode(agentOf("n2"), { identity }),
  ];
  try {
    await assert.rejects(one.listNodes({}), refused);
    await assert.rejects(other.getNode({}), refused);
  } finally {
    one.close();
    other.close();
  }
}

test("a credential is good once, for a minute, for one callee and one method", async () => {
  const socket = mungeSocket(cluster.stateDir);
  const good = mungeIdentity({ socket });
  await bothCall(good);
  const kept = new Map<string, string>();
  const again = showing(async (audience, method) => {
    const credential = kept.get(audience) ?? (await good.credential(audience, method));
    kept.set(audience, credential);
    return credential;
  });
  await bothCall(again);
  await bothRefuse(again, /used before/);
  for (const offMs of [-61_000, 61_000]) {
    const off = mungeIdentity({ socket, nowUnixMs: () => Date.now() + offMs });
    await bothRefuse(
      off,
      new RegExp(`credential: ${-offMs / 1000} s old, at most 60 s .*compare the clocks`),
    );
  }
  const old = new Map([
    [controller, mungeAs(root, credentialPayload(controller, listNodes, Date.now()), "--ttl=1")],
    [agentOf("n2"), mungeAs(root, credentialPayload(agentOf("n2"), getNode, Date.now()), "--ttl=1")],
  ]);
  await pause(3000);
  await bothRefuse(
    showing((audience) => old.get(audience) ?? ""),
    /[Ee]xpired/,
  );
  await bothRefuse(
    showing((_, method) => good.credential("10.77.0.99:7701", method)),
    /made for 10\.77\.0\.99/,
  );
  await bothRefuse(
    showing((audience) => good.credential(audience, "/sublet.v1.X/Y")),
    /made for \/sublet\.v1\.X\/Y/,
  );
  await bothRefuse(
    showing(() => "MUNGE:AwQDAAB:"),
    /credential: /,
  );
  await bothRefuse(
    showing(() => mungeAs(root, "something else")),
    /not sublet\.v1/,
  );
});

test("calls that follow one another show two credentials, on daemons of either kind, until a new life of theirs", async () => {
  const good = mungeIdentity({ socket: mungeSocket(cluster.stateDir) });
  let shown = 0;
  let opened = 0;
  const counting: Identity = {
    ...good,
    open: async (sealed) => {
      const key = await good.open?.(sealed);
      opened += 1;
      return key ?? "";
    },
    credential: (audience, method) => {
      shown += 1;
      return good.credential(audience, method);
    },
  };
  const control = connectController(controller, { identity: counting });
  const node = connectNode(agentOf("n2"), { identity: counting });
  try {
    for (const ask of [() => control.listNodes({}), () => node.getNode({})]) {
      shown = 0;
      const before = opened;
      for (let i = 0; i < 2; i++) await ask();
      await until("the key is opened", 20_000, () => (opened > before ? true : undefined));
      for (let i = 0; i < 20; i++) await ask();
      assert.equal(shown, 2);
    }
    await cluster.killDaemon("controller");
    await cluster.startDaemon("controller");
    await until("the controller is asked again, and agents have found it", 20_000, async () => {
      try {
        const { nodes } = await control.listNodes({});
        return nodes.filter(({ offer }) => offer !== null).length === 3 ? true : undefined;
      } catch (thrown) {
        assert.equal((thrown as { code?: string }).code, "UNAVAILABLE");
        return undefined;
      }
    });
    assert.ok(shown > 2, "its new life knows no key");
  } finally {
    control.close();
    node.close();
  }
});

test("an ordinary user acts for himself, whomever he names, and reports for no node", async () => {
  const identity = identityOf(bob);
  const node = connectNode(agentOf("n2"), { identity });
  const control = connectController(controller, { identity });
  const held = await hold(cluster, alice, "n1", "n2");
  const forRoot = { caller: { uid: 0, gid: 0, jobId: 0, node: "" } };
  const forAlice = { caller: { ...alice, jobId: 0, node: "" } };
  const { id } = held.lease;
  try {
    for (const caller of [forRoot, forAlice]) {
      assert.deepEqual((await node.listLeases(caller)).leases, []);
      assert.deepEqual((await control.listLeases(caller)).leases, []);
      const refused = { code: "NOT_FOUND" }; // whose it is, is nobody else's business
      await assert.rejects(node.release({ leaseId: id, ...caller }), refused);
      await assert.rejects(node.renew({ leaseId: id, ...caller }), refused);
      await assert.rejects(control.releaseLease({ leaseId: id, node: "n2", ...caller }), refused);
      await assert.rejects(control.renewLease({ leaseId: id, node: "n2", ...caller }), refused);
    }
    const request = { kind: "LEASE_KIND_REGION", memoryBytes: 2 ** 20, termMs: 5000 } as const;
    const granted = await control.requestLease({ request, owner: forRoot.caller });
    assert.equal(granted.lease?.owner?.uid, bob.uid);
    const ended = await control.releaseLease({ leaseId: granted.lease?.id ?? "", node: "" });
    assert.equal(ended.lease?.state, "LEASE_STATE_RELEASED");
    const stream = await control.report();
    stream.send({ offer: { node: "n2" }, full: true });
    await assert.rejects(
      async () => {
        for await (const answer of stream.responses) assert.fail(JSON.stringify(answer));
      },
      { code: "PERMISSION_DENIED", message: /20002 is not in trusted_uids/ },
    );
  } finally {
    await held.letGo();
    node.close();
    control.close();
  }
});

/** Lease ids that `sublet leases` shows to a user. */
async function seenBy(user: User, from: string, ...options: string[]): Promise<string[]> {
  const said = await sublet(cluster, from, user, ["--json", ...options, "leases"]);
  assert.equal(said.status, 0, said.out + said.error);
  return said
    .json()
    .leases.map((lease: { id: string }) => lease.id)
    .sort();
}

test("users see and end their own leases; operators and root all of them", async () => {
  const ways = [[], ["--controller", controller]];
  const mine = await hold(cluster, alice, "n1", "n2");
  const near = await hold(cluster, alice, "n1", "n1");
  const other = await hold(cluster, bob, "n1", "n3");
  const alices = [mine.lease.id, near.lease.id].sort();
  const all = [...alices, other.lease.id].sort();
  const sees = async (user: User, from: string, ids: string[], way: string[]): Promise<void> =>
    assert.deepEqual(await seenBy(user, from, ...way), ids, `uid ${user.uid} on ${from}`);
  const refused = async (way: string[], id: string, ...options: string[]): Promise<void> => {
    const said = await sublet(cluster, "n1", bob, ["--json", ...way, "release", id, ...options]);
    assert.deepEqual([said.status, said.json().error.code], [1, "NOT_FOUND"]);
  };
  for (const way of ways)
    await Promise.all([
      sees(alice, "n1", alices, way),
      sees(bob, "n1", [other.lease.id], way),
      sees(bob, "n2", [other.lease.id], way),
      sees(carol, "n1", all, way),
      sees(root, "n1", all, way),
      ...[mine.lease, near.lease].flatMap(({ id, node }) => [
        refused(way, id, "--node", node),
        refused(way, id),
      ]),
    ]);
  assert.deepEqual(await seenBy(root, "n1"), all, "nothing has ended");
  const end = async (user: User, id: string, ...way: string[]): Promise<void> => {
    const said = await sublet(cluster, "n1", user, ["--json", ...way, "release", id]);
    assert.deepEqual([said.status, said.json().lease?.state], [0, "LEASE_STATE_RELEASED"], said.out);
  };
  await end(carol, near.lease.id);
  await end(carol, mine.lease.id, "--controller", controller);
  assert.deepEqual(await seenBy(root, "n1"), [other.lease.id]);
  await end(root, other.lease.id);
  assert.deepEqual(await seenBy(root, "n1", "--controller", controller), []);
  await Promise.all([mine, near, other].map((held) => held.letGo()));
});
