/**
 * The pool with the real starter and executor on this machine's cgroups: handed out, adopted, ended by a prolog; and what a
 * client sees of one that was handed out and does not come up.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { until } from "../../deploy/testbed/shell.ts";
import { leaseOf } from "../unit/agent/local-client.ts";
import { loneNode, native, skip, wish } from "./lone-node.ts";

const cli = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

test("a prepared executor serves a lease, outlives the agent under it, and none is left beside a job", {
  skip,
}, async (t) => {
  const here = await loneNode(t);
  const first = here.start();
  let client = await here.client();
  const cold = leaseOf(await client.call({ body: "lease", lease: { request: wish } }));
  assert.ok(here.groups().includes(`lease_${cold.id}`));
  const prepared = await until("one is prepared", 10_000, async () =>
    here.groups().find((name) => name.startsWith("lease_pool-")),
  );
  await client.call({ body: "release", release: { leaseId: cold.id } });
  // It may still be on its way up when its cgroup is there already: then the lease starts cold, and the next is asked for.
  const { id } = await until("a lease from the pool", 10_000, async () => {
    const lease = leaseOf(await client.call({ body: "lease", lease: { request: wish } }));
    if (!here.groups().includes(`lease_${lease.id}`)) return lease;
    await client.call({ body: "release", release: { leaseId: lease.id } });
    return undefined;
  });
  assert.ok(here.groups().includes(prepared));
  first.kill("SIGKILL");
  await once(first, "exit");
  here.start();
  client = await here.client();
  assert.equal((await client.call({ body: "renew", renew: { leaseId: id } })).code, 0);
  // What was prepared and not handed out went with the agent; what serves the lease did not.
  assert.deepEqual(here.groups(), [prepared]);
  await client.call({ body: "release", release: { leaseId: id } });
  assert.deepEqual(here.groups(), []);
  const again = leaseOf(await client.call({ body: "lease", lease: { request: wish } }));
  await until("one is prepared again", 10_000, async () =>
    here.groups().some((name) => name.startsWith("lease_pool-")) ? true : undefined,
  );
  const done = await client.call({ body: "hook", hook: { event: "HOOK_EVENT_PROLOG", jobId: 9, uid: 1 } });
  assert.ok(done.body === "hookDone" && done.hookDone.leasesEnded === 1, done.message);
  assert.ok(!here.groups().includes(`lease_${again.id}`));
  await until("nothing is prepared beside a job", 10_000, async () =>
    here.groups().length === 0 ? true : undefined,
  );
});

/** A client of libsublet that leases and calls; what it printed (an error, too), once it has ended. */
function call(dir: string, timeoutS: number) {
  const words = ["invoke", join(native, "functions/libecho.so"), "empty", "--no-local", "--json"];
  const child = spawn(process.execPath, [cli, ...words, "--timeout", `${timeoutS}`], {
    env: { ...process.env, SUBLET_AGENT_SOCKET: join(dir, "agent.sock") },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { child, ended: said.then(([out, error]) => ({ out, error, code: child.exitCode })) };
}

test("one that is handed out and slow is waited for; one that dies is replaced; one that never comes up is told of", {
  skip,
}, async (t) => {
  const here = await loneNode(t);
  here.start();
  const client = await here.client();
  const leases = async (): Promise<readonly { readonly id: string }[]> => {
    const answer = await client.call({ body: "list", list: {} });
    return answer.body === "leases" ? answer.leases.leases : [];
  };
  const { id } = leaseOf(await client.call({ body: "lease", lease: { request: wish } }));
  await client.call({ body: "release", release: { leaseId: id } });

  /** Stops the one that is prepared, and has a client lease it: what it waits for is this executor. */
  async function handOut(timeoutS: number) {
    await until("one is prepared", 30_000, async () => ((await here.prepared()) > 0 ? true : undefined));
    const [group = ""] = here.groups().filter((name) => name.startsWith("lease_pool-"));
    const [pid = 0] = here.pids(group);
    assert.ok(pid > 0, "nobody is in its cgroup");
    process.kill(pid, "SIGSTOP");
    const called = call(here.dir, timeoutS);
    await until("it is handed out", 20_000, async () => ((await leases()).length === 1 ? true : undefined));
    assert.ok(!here.groups().some((name) => name === `lease_${id}`));
    assert.ok(here.groups().includes(group));
    return { ...called, pid };
  }

  const slow = await handOut(30);
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal(slow.child.exitCode, null, "it does not wait for its executor");
  process.kill(slow.pid, "SIGCONT");
  const served = await slow.ended;
  assert.equal(served.code, 0, served.error);
  assert.equal((JSON.parse(served.out) as { node: string }).node, "n1");

  const dead = await handOut(30);
  process.kill(dead.pid, "SIGKILL");
  const lost = await dead.ended;
  assert.equal(lost.code, 0, "it asks once more");
  assert.equal((JSON.parse(lost.out) as { node: string }).node, "n1");

  const never = await handOut(2);
  const late = await never.ended;
  assert.notEqual(late.code, 0);
  assert.match(late.out, /cannot reach the executor of lease \S+ at .*: deadline passed/);
  // Both leases went back, whatever their executors did: nothing of them is left.
  await until("no lease is left", 10_000, async () => ((await leases()).length === 0 ? true : undefined));
  assert.throws(() => process.kill(never.pid, 0), { code: "ESRCH" });
});
