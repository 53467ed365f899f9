/** What a caller reads when nobody answers: real connections that fail, in words that name the callee and no part of gRPC. */
import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { describe, it } from "node:test";
import { Metadata, status } from "@grpc/grpc-js";
import { SubletError } from "../../../src/common/errors.ts";
import { connectController } from "../../../src/rpc/client.ts";
import type { Identity } from "../../../src/rpc/identity.ts";
import { fromGrpcError, toGrpcStatus } from "../../../src/rpc/status.ts";

const identity: Identity = {
  credential: async () => "nobody",
  verify: async () => ({ uid: 0, gid: 0 }),
};

async function failure(address: string, timeoutMs: number): Promise<SubletError> {
  const client = connectController(address, { identity, timeoutMs });
  try {
    await client.listNodes({});
  } catch (thrown) {
    assert.ok(thrown instanceof SubletError);
    return thrown;
  } finally {
    client.close();
  }
  return assert.fail("nobody is there, and it answered");
}

/** A port of this machine, and what it does with who connects. */
async function port(onSocket: (socket: Socket) => void): Promise<{ address: string; close: () => void }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const bound = server.address();
  assert.ok(bound !== null && typeof bound === "object");
  return {
    address: `127.0.0.1:${bound.port}`,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

describe("a callee that does not answer", () => {
  it("is named when nothing listens there", async () => {
    const { address, close } = await port(() => undefined);
    close();
    const { code, message } = await failure(address, 30_000);
    assert.equal(code, "UNAVAILABLE");
    assert.equal(message, `${address} does not answer: connection refused, nothing listens there`);
  });

  it("is named when it takes connections and says nothing", async () => {
    const { address, close } = await port(() => undefined);
    const { code, message } = await failure(address, 1_000);
    close();
    assert.equal(code, "DEADLINE_EXCEEDED");
    assert.match(message, /^127\.0\.0\.1:\d+ did not answer within [\d.]+ s: no connection came about; /);
    assert.doesNotMatch(message, /Deadline|LB pick|resolution/);
  });

  it("is named when its name leads nowhere", async () => {
    const { code, message } = await failure("no-such-controller.invalid:7700", 30_000);
    assert.equal(code, "UNAVAILABLE");
    assert.equal(message, "no-such-controller.invalid:7700 does not answer: its name is not known here");
  });
});

describe("what a callee says itself", () => {
  const said = (code: number, details: string) =>
    fromGrpcError(
      Object.assign(new Error(details), { code, details, metadata: new Metadata() }),
      "head:7700",
      "ListNodes",
    ).message;

  it("is not changed", () => {
    assert.equal(said(status.DEADLINE_EXCEEDED, "n1 took too long"), "n1 took too long");
    assert.equal(said(status.UNAVAILABLE, "this agent ends"), "head:7700 does not answer: this agent ends");
    assert.equal(said(status.NOT_FOUND, "no lease x"), "no lease x");
  });

  it("is not taken for silence when it is unavailable itself", () => {
    const { code, details, metadata } = toGrpcStatus(new SubletError("UNAVAILABLE", "no history is kept"));
    const error = fromGrpcError(
      Object.assign(new Error("x"), { code, details, metadata }),
      "head:7700",
      "GetGain",
    );
    assert.deepEqual([error.code, error.message], ["UNAVAILABLE", "no history is kept"]);
  });

  it("loses what grpc-js puts around it", () => {
    assert.equal(
      said(
        status.DEADLINE_EXCEEDED,
        "Deadline exceeded after 2.000s,name resolution: 0.001s,remote_addr=10.0.0.1:7700",
      ),
      "head:7700 did not answer within 2 s",
    );
    assert.equal(
      said(
        status.UNAVAILABLE,
        "No connection established. Last error: Error: connect EHOSTUNREACH 10.0.0.1:7700. Resolution note: ",
      ),
      "head:7700 does not answer: no route to it",
    );
    assert.equal(
      said(
        status.UNAVAILABLE,
        "No connection established. Last error: self-signed certificate. Resolution note: ",
      ),
      "head:7700 does not answer: self-signed certificate",
    );
  });
});
