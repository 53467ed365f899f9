/** What leases that are granted ahead hear of the rest of the agent. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { VoucherDesk } from "../../../agent/executor/vouchers.ts";
import { grantingAhead, type KnownAtSocket } from "../../../agent/socket/granting-ahead.ts";
import type { AgentConfig } from "../../../src/config/config.ts";
import type { LeaseMessage } from "../../../src/rpc/messages.ts";
import { Driver } from "./setup.ts";

function world() {
  const here = { openMs: 90_000, exhausted: "", told: [] as LeaseMessage[], doors: [] as boolean[] };
  let desk: VoucherDesk | undefined;
  const reporter = {
    connected: true,
    openMs: () => here.openMs,
    leaseChanged: (message: LeaseMessage) => void here.told.push(message),
  };
  const setDesk = (set: VoucherDesk): void => {
    desk = set;
  };
  const now = { config: { grantAhead: true } as AgentConfig };
  const granting = grantingAhead({
    shell: {
      nowMs: () => 1_000,
      executors: { vouchers: { setDesk } },
    } as never,
    self: () => ({ node: "n1" }) as never,
    now,
    controllers: { clients: [], reporters: [reporter], connectedCount: () => 1 } as never,
    billed: { mayGrantTo: (billing) => billing?.account !== here.exhausted },
    log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
  });
  granting.setDoor((open) => void here.doors.push(open));
  granting.setDesk({} as KnownAtSocket);
  assert.ok(desk !== undefined);
  return Object.assign(here, { desk, now });
}

function leaseOf(account: string) {
  const driver = Driver.ready();
  driver.run("a");
  const lease = driver.state.book.leases.get("a");
  assert.ok(lease !== undefined);
  return { ...lease, billing: { account, partition: "" } };
}

test("what another node's client was granted stands while Slurm wants the node no sooner than its term ends, and its account has something left", () => {
  const here = world();
  const lease = leaseOf("some");
  assert.equal(lease.termMs, 60_000);
  assert.ok(here.desk.mayStand(lease));
  here.openMs = 59_999;
  assert.ok(!here.desk.mayStand(lease));
  here.openMs = 60_000;
  here.exhausted = "some";
  assert.ok(!here.desk.mayStand(lease));
  assert.ok(here.desk.mayStand(leaseOf("other")));
});

test("one that is taken back is told as what never was granted; the door is told whether there is any; a reload counts at once", () => {
  const { desk, told, doors, now } = world();
  desk.taken(leaseOf("some"));
  assert.deepEqual(
    told.map(({ id, node, state, grantedUnixMs }) => [id, node, state, grantedUnixMs]),
    [["a", "n1", "LEASE_STATE_REVOKED", 0]],
  );
  desk.open(true);
  desk.open(false);
  assert.deepEqual(doors, [true, false]);
  assert.ok(desk.on());
  now.config = { grantAhead: false } as AgentConfig;
  assert.ok(!desk.on());
});
