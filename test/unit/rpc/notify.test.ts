/** What daemons tell systemd, as a datagram socket in its place hears it. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { serviceManager } from "../../../src/rpc/notify.ts";
import { eventually } from "../agent/fake-starter.ts";
import { listener } from "./service-manager.ts";

describe("service manager", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "sublet-notify-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  for (const [kind, name] of [
    ["a path", () => join(folder, "notify")],
    ["an abstract name", () => `@sublet-notify-${process.pid}`],
  ] as const)
    it(`hears at ${kind} of ready, reload and stopping, in this order`, async () => {
      const systemd = listener(name());
      const manager = serviceManager({ NOTIFY_SOCKET: name() });
      let lives = 0;
      manager.ready(() => `life ${++lives}`);
      const done = Promise.resolve();
      manager.reloading(done);
      await done;
      manager.stopping();
      const heard = systemd.hear();
      assert.match(heard[1] ?? "", /^RELOADING=1\nMONOTONIC_USEC=\d+\n/);
      heard[1] = "reloading";
      assert.deepEqual(heard, [
        "READY=1\nSTATUS=life 1\n",
        "reloading",
        "READY=1\nSTATUS=life 2\n",
        "STOPPING=1\n",
      ]);
      systemd.close();
    });

  it("is fed while the event loop turns, and hungry while it does not", async () => {
    const name = `@sublet-watchdog-${process.pid}`;
    const systemd = listener(name);
    const loop = setInterval(() => undefined, 1000); // what it feeds by does not keep a process
    serviceManager({ NOTIFY_SOCKET: name, WATCHDOG_USEC: "30000", WATCHDOG_PID: `${process.pid}` }).ready(
      () => "",
    );
    let fed = 0;
    await eventually("it is fed again and again", () => {
      fed += systemd.hear().filter((text) => text === "WATCHDOG=1\n").length;
      return fed >= 2;
    });
    const endMs = performance.now() + 100;
    while (performance.now() < endMs);
    assert.deepEqual(systemd.hear(), []);
    clearInterval(loop);
    systemd.close();
  });

  it("does nothing without a socket, and feeds no watchdog that is another process's", async () => {
    serviceManager({}).ready(() => "");
    const name = `@sublet-other-${process.pid}`;
    const systemd = listener(name);
    serviceManager({ NOTIFY_SOCKET: name, WATCHDOG_USEC: "30000", WATCHDOG_PID: "1" }).ready(() => "");
    await pause(100);
    assert.deepEqual(systemd.hear(), ["READY=1\nSTATUS=\n"]);
    systemd.close();
  });
});
