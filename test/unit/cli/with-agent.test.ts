/** The command against a node's agent alone, by the real frames. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { decodeLocalRequest, encodeLocalResponse, FrameReader } from "../../../src/rpc/local.ts";
import { folder, lease, sublet } from "./typed.ts";

describe("with an agent only", () => {
  const socket = join(folder, "agent.sock");
  const server = createServer((peer) => {
    const reader = new FrameReader();
    peer.on("data", (chunk: Buffer) => {
      for (const body of reader.push(chunk)) {
        const request = decodeLocalRequest(body);
        const { id } = request;
        if (request.body === "list") peer.write(encodeLocalResponse({ id, leases: { leases: [lease] } }));
        else if (request.body === "release") peer.write(encodeLocalResponse({ id, lease }));
        else
          peer.write(
            encodeLocalResponse({
              id,
              status: {
                offer: {
                  node: "n1",
                  address: "10.77.0.11:7701",
                  coresTotal: 2,
                  coresUsedByJobs: 1,
                  memoryBytesTotal: 2 ** 31,
                  spare: [{ class: "CAPACITY_CLASS_UNALLOCATED", cores: [1], memoryBytes: 2 ** 30 }],
                },
                findings: { "cgroup.version": "v1" },
              },
            }),
          );
      }
    });
  });
  const environment = { SUBLET_AGENT_SOCKET: socket };
  before(async () => {
    server.listen(socket);
    await once(server, "listening");
  });
  after(() => server.close());

  it("shows its leases and ends one", async () => {
    assert.match((await sublet(["leases"], environment)).out, /^n2-abc {2}n2/m);
    assert.equal((await sublet(["release", "n2-abc"], environment)).status, 0);
    const { out } = await sublet(["--json", "leases"], environment);
    assert.deepEqual((JSON.parse(out) as { leases: { cores: number[] }[] }).leases[0]?.cores, [1, 2, 3]);
  });
  it("shows its status", async () => {
    assert.equal(
      (await sublet(["status"], environment)).out,
      "node                n1" +
        "\naddress             10.77.0.11:7701\n" +
        "controller          not connected\n" +
        "cores               1 of 2 held by jobs\n" +
        "memory              0 B of 2 GiB held by jobs\n" +
        "spare, unallocated  cores 1, 1 GiB\n" +
        "cgroup.version      v1\n",
    );
  });
});
