/** What daemons tell systemd, as a datagram socket in its place hears it. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import koffi from "koffi";
import { serviceManager } from "../../../src/rpc/notify.ts";
import { eventually } from "../agent/fake-starter.ts";

const libc = koffi.load("libc.so.6");
const socket = libc.func("int socket(int domain, int type, int protocol)");
const bind = libc.func("int bind(int fd, const void *address, uint32_t size)");
const recv = libc.func("int64_t recv(int fd, _Out_ uint8_t *bytes, size_t size, int flags)");
const close = libc.func("int close(int fd)");

/** A datagram socket at `name`, with @ for the zero byte of abstract names; `hear` gives what has arrived. */
function listener(name: string): { hear: () => string[]; close: () => void } {
  const address = Buffer.concat([Buffer.from([1, 0]), Buffer.from(name.replace(/^@/, "\0"))]);
  const fd: number = socket(1, 2, 0);
  assert.equal(bind(fd, address, address.length), 0);
  const hear = (): string[] => {
    const heard: string[] = [];
    const bytes = Buffer.alloc(4096);
    for (let size = recv(fd, bytes, 4096, 0x40); size > 0; size = recv(fd, bytes, 4096, 0x40))
      heard.push(bytes.toString("utf8", 0, Number(size)));
    return heard;
  };
  return { hear, close: () => void close(fd) };
}

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
      manager.ready("node n1");
      const done = Promise.resolve();
      manager.reloading(done);
      await done;
      manager.stopping();
      const heard = systemd.hear();
      assert.match(heard[1] ?? "", /^RELOADING=1\nMONOTONIC_USEC=\d+\n/);
      heard[1] = "reloading";
      const ready = "READY=1\nSTATUS=node n1\n";
      assert.deepEqual(heard, [ready, "reloading", ready, "STOPPING=1\n"]);
      systemd.close();
    });

  it("is fed while the event loop turns, and hungry while it does not", async () => {
    const name = `@sublet-watchdog-${process.pid}`;
    const systemd = listener(name);
    const loop = setInterval(() => undefined, 1000); // what it feeds by does not keep a process
    serviceManager({ NOTIFY_SOCKET: name, WATCHDOG_USEC: "30000", WATCHDOG_PID: `${process.pid}` }).ready("");
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
    serviceManager({}).ready("");
    const name = `@sublet-other-${process.pid}`;
    const systemd = listener(name);
    serviceManager({ NOTIFY_SOCKET: name, WATCHDOG_USEC: "30000", WATCHDOG_PID: "1" }).ready("");
    await pause(100);
    assert.deepEqual(systemd.hear(), ["READY=1\nSTATUS=\n"]);
    systemd.close();
  });
});
