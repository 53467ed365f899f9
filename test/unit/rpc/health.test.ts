/** The health service as a probe asks it: a client made from the standard's own .proto file, without identity. */
import assert from "node:assert/strict";
import { on } from "node:events";
import { it } from "node:test";
import {
  type ClientReadableStream,
  credentials,
  makeClientConstructor,
  type ServiceError,
} from "@grpc/grpc-js";
import { service } from "grpc-health-check";
import type { NodeHandlers } from "../../../src/rpc/server.ts";
import { serve } from "../../../src/rpc/server.ts";

interface Told {
  readonly status: string;
}

interface Probe {
  check(asked: object, done: (error: ServiceError | null, told?: Told) => void): void;
  watch(asked: object): ClientReadableStream<Told>;
  close(): void;
}

const Probe = makeClientConstructor(service, "Health");

it("says who serves, whom it does not know, and that it stops", async () => {
  const server = await serve({
    listen: "127.0.0.1:0",
    identity: {
      credential: async () => "",
      verify: async () => assert.fail("a probe has no identity"),
    },
    trustedUids: [],
    node: new Proxy({} as NodeHandlers, { get: () => async () => assert.fail("no probe calls this") }),
  });
  const probe = new Probe(server.address, credentials.createInsecure()) as unknown as Probe;
  const check = (name: string): Promise<string> =>
    new Promise((resolve, reject) =>
      probe.check({ service: name }, (error, told) =>
        error === null ? resolve(told?.status ?? "") : reject(error),
      ),
    );
  try {
    assert.equal(await check(""), "SERVING");
    assert.equal(await check("sublet.v1.NodeService"), "SERVING");
    await assert.rejects(check("sublet.v1.ControllerService"), { code: 5 });
    const told = async (stream: ClientReadableStream<Told>, change?: () => void): Promise<string[]> => {
      const seen: string[] = [];
      for await (const [{ status }] of on(stream, "data")) {
        seen.push(status);
        if (change === undefined || seen.length === 2) break;
        change();
      }
      stream.on("error", () => undefined); // it is cancelled
      stream.cancel();
      return seen;
    };
    const watched = told(probe.watch({ service: "" }), () => server.setServing(false));
    assert.deepEqual(await watched, ["SERVING", "NOT_SERVING"]);
    assert.equal(await check("sublet.v1.NodeService"), "NOT_SERVING");
    assert.deepEqual(await told(probe.watch({ service: "nobody" })), ["SERVICE_UNKNOWN"]);
  } finally {
    probe.close();
    await server.close();
  }
});
