/** What a reload of the configuration changes in an agent that runs, part by part. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { GuardPolicy } from "../../../agent/guard/policy.ts";
import { applyLive, type LiveParts, type Now } from "../../../agent/live.ts";
import { followControllers } from "../../../agent/offer/controllers.ts";
import type { AgentEvent } from "../../../agent/reactor/events.ts";
import type { LiveSetup } from "../../../agent/reactor/state.ts";
import type { AgentConfig } from "../../../src/config/config.ts";
import { eventually } from "./fake-starter.ts";
import { Driver, mib, request, types } from "./setup.ts";

function settings(driver: Driver, changes: Partial<LiveSetup>) {
  return driver.feed({ type: "settings", setup: { ...driver.state.setup, ...changes } });
}

const spareCores = (driver: Driver): number[] => driver.state.spare.flatMap(({ cores }) => [...cores]).sort();

test("a core that is reserved from now on is not offered, and a lease on it goes with the usual budget", () => {
  const driver = Driver.ready();
  driver.run("a", {}, 5);
  driver.run("b", {}, 5);
  const coreOf = (id: string): number | undefined => driver.state.book.leases.get(id)?.cores[0];
  const [first, second] = [coreOf("a"), coreOf("b")];
  const effects = settings(driver, { reserveCores: [first ?? -1] });
  assert.ok(!spareCores(driver).includes(first ?? -1));
  assert.equal(driver.state.book.leases.get("a")?.state, "DRAINING");
  assert.equal(driver.state.book.leases.get("a")?.reason, "admin");
  assert.equal(driver.state.book.leases.get("b")?.state, "ACTIVE");
  assert.ok(types(effects).includes("draining"));
  settings(driver, { reserveCores: [] });
  assert.equal(coreOf("b"), second);
});

test("memory that is reserved is not offered; terms hold for leases to come", () => {
  const driver = Driver.ready();
  settings(driver, { reserveMemoryBytes: 3072 * mib, leaseTermMaxMs: 1_000 });
  assert.ok(driver.state.spare.every(({ memoryBytes }) => memoryBytes <= 1024 * mib));
  driver.grant("a", { ...request, termMs: 60_000 });
  assert.equal(driver.state.book.leases.get("a")?.termMs, 1_000);
});

test("controllers come and go, and those that stay are not disturbed", async (t) => {
  const contacts: string[] = [];
  const followed = followControllers({
    identity: {
      credential: () => Promise.reject(new Error("no munge here")),
      verify: () => Promise.reject(new Error("no munge here")),
    },
    tls: undefined,
    reporter: ({ address }) => ({
      source: { offer: () => ({}) as never, leases: () => [] },
      onContact: (connected) => contacts.push(`${address} ${connected}`),
    }),
  });
  t.after(() => followed.close());
  const { clients, reporters } = followed;
  followed.follow(["127.0.0.1:1", "127.0.0.1:2"]);
  const [one, two] = clients;
  followed.follow(["127.0.0.1:3", "127.0.0.1:2", "127.0.0.1:2"]);
  assert.deepEqual(
    clients.map(({ address }) => address),
    ["127.0.0.1:3", "127.0.0.1:2"],
  );
  assert.equal(clients[1], two);
  assert.ok(!clients.includes(one as (typeof clients)[number]));
  assert.equal(reporters.length, 2);
  await eventually("nobody is there", () => followed.connectedCount() === 0);
  assert.deepEqual(contacts, []);
});

test("all that keeps a copy of the settings hears of new ones; what was granted ahead by the old ones does so last", () => {
  const told: string[] = [];
  const note =
    (what: string) =>
    (...said: readonly unknown[]): void =>
      void told.push([what, ...said].join(" "));
  const shell = {
    dispatch: ({ type }: AgentEvent) => void told.push(type),
    executors: {
      pool: { setMax: note("pool") },
      code: { setMax: note("code"), setPaths: note("paths") },
      vouchers: { reload: note("vouchers") },
    },
  } as unknown as LiveParts["shell"];
  const now: Now = { config: {} as AgentConfig };
  const config = {
    poolMax: 3,
    codeCacheBytes: 5,
    codeFromPaths: ["/lib"],
    controllers: ["c:1"],
    reclaim: {},
  };
  const parts = { now, shell, guard: { take: note("guard") }, controllers: { follow: note("controllers") } };
  applyLive({ ...parts, lend: note("lend") }, config as unknown as AgentConfig, {} as GuardPolicy);
  assert.equal(now.config, config);
  assert.deepEqual(told, [
    "settings",
    "pool 3",
    "code 5",
    "paths /lib",
    "guard [object Object]",
    "controllers c:1",
    "lend",
    "vouchers",
  ]);
});
