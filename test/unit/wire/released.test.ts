/**
 * Peers one release apart. Every message of the released protocol is encoded by it and read by ours, and the other way
 * about, field by field; words that only one side knows are bounded; a controller of today serves an agent of then over
 * real gRPC, and says so when it asks one for what it cannot do. The released side is its .proto files alone: none of
 * our code is between them and the wire.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { pino } from "pino";
import { loadControllerConfig } from "../../../src/config/config.ts";
import { startController } from "../../../src/controller/controller.ts";
import { checkReport } from "../../../src/controller/report.ts";
import { connectController } from "../../../src/rpc/client.ts";
import { reasonFromWire, stateFromWire } from "../../../src/rpc/convert.ts";
import type { MessageName, ReportResponse } from "../../../src/rpc/messages.ts";
import { decodeMessage, encodeMessage } from "../../../src/rpc/schema.ts";
import { systemClock } from "../../../src/slurm/runner.ts";
import { plainIdentity } from "../controller/fake-agent.ts";
import { leaseMessage, reportMessage } from "../controller/samples.ts";
import { filled, kindsOf, messageNames, messageOf, protocol, serviceOf } from "./peers.ts";

const released = protocol("test/wire/released");
const today = protocol("proto");
const short = (name: string): MessageName => name.slice("sublet.v1.".length) as MessageName;
const excluding = new Set(["sublet.v1.LocalRequest", "sublet.v1.LocalResponse"]);

describe("every message of the released protocol", () => {
  for (const name of messageNames(released)) {
    const parts = excluding.has(name) ? kindsOf(released, name) : [undefined];
    for (const part of parts) {
      const only = part === undefined ? undefined : (field: string) => field === part || field === "id";
      it(`${short(name)}${part === undefined ? "" : `.${part}`}: theirs is read here, ours there`, () => {
        const old = filled(released, name, only);
        const read = decodeMessage(short(name), messageOf(released, name).serialize(old));
        assert.partialDeepStrictEqual({ ...read }, old);
        const ours = encodeMessage(short(name), filled(today, name, only));
        assert.partialDeepStrictEqual({ ...messageOf(released, name).deserialize(ours) }, old);
      });
    }
  }
});

describe("words that only one side knows", () => {
  const wire = (changes: object): Buffer =>
    messageOf(today, "sublet.v1.Lease").serialize({ ...leaseMessage("l-1", "n1"), ...changes });
  it("a reason of today ends a lease there all the same: the released side sees a number", () => {
    const lease = messageOf(released, "sublet.v1.Lease").deserialize(wire({ reason: "REASON_GUARD" }));
    assert.equal((lease as { reason: unknown }).reason, 11);
    assert.equal((lease as { id: string }).id, "l-1");
  });
  it("a reason of tomorrow is none here; a state or class of tomorrow is refused, never guessed", () => {
    const lease = decodeMessage("Lease", wire({ reason: 99 }));
    assert.equal(reasonFromWire(lease.reason), undefined);
    assert.throws(() => stateFromWire(decodeMessage("Lease", wire({ state: 99 })).state), {
      code: "INVALID_ARGUMENT",
    });
    const report = reportMessage("n1", {}, [decodeMessage("Lease", wire({ class: 99 }))]);
    assert.throws(() => checkReport(report), { code: "INVALID_ARGUMENT", message: /class 99 is not known/ });
  });
  it("fields of tomorrow are passed over, whatever they hold", () => {
    const known = messageOf(released, "sublet.v1.Lease").serialize(leaseMessage("l-1", "n1"));
    // Field 1000, length 3; field 1001, a number of the longest kind.
    const more = Buffer.from("c23e03616263" + "c83effffffffffffffffff01", "hex");
    const plain = decodeMessage("Lease", known);
    assert.deepEqual(decodeMessage("Lease", Buffer.concat([known, more])), plain);
  });
});

const closers: (() => unknown)[] = [];
after(async () => {
  for (const close of closers.reverse()) await close();
});

async function controllerOfToday() {
  const folder = mkdtempSync(join(tmpdir(), "sublet-released-"));
  closers.push(() => rmSync(folder, { recursive: true, force: true }));
  const listen = "127.0.0.1:0";
  const config = {
    ...loadControllerConfig("/dev/null", {}),
    listen,
    metricsListen: listen,
    stateDir: folder,
  };
  const controller = await startController({
    config: { ...config, dashboard: { ...config.dashboard, listen: "" } },
    log: pino({ level: "silent" }),
    identity: plainIdentity(0),
    runner: async () => ({ stdout: "", stderr: "" }),
    clock: systemClock,
  });
  closers.push(() => controller.close());
  return controller;
}

async function listening(
  service: ServiceDefinition,
  handlers: UntypedServiceImplementation,
): Promise<string> {
  const server = new Server();
  server.addService(service, handlers);
  closers.push(() => server.forceShutdown());
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  return `127.0.0.1:${port}`;
}

/** NodeService as released: grants everything, and lacks what came later. */
async function nodeOfThen(seen: string[]): Promise<string> {
  const service = serviceOf(released, "NodeService");
  const answers: Record<string, (request: { leaseId: string }) => object> = {
    Grant: ({ leaseId }) => ({ lease: { ...leaseMessage(leaseId, "n1"), owner }, endpoint: { node: "n1" } }),
    Renew: ({ leaseId }) => ({ lease: { ...leaseMessage(leaseId, "n1"), owner } }),
    Release: ({ leaseId }) => ({ lease: leaseMessage(leaseId, "n1", { state: "LEASE_STATE_RELEASED" }) }),
  };
  const handlers = Object.entries(answers).map(([method, answer]) => {
    const handler: UntypedHandleCall = (
      call: { request: { leaseId: string } },
      done: (error: null, answer: object) => void,
    ) => {
      seen.push(method);
      done(null, answer(call.request));
    };
    return [method, handler] as const;
  });
  return await listening(service, Object.fromEntries(handlers));
}

const anotherVersion = /runs another version/;
const owner = { uid: 20001, gid: 20001, jobId: 7, node: "n1" };

/** The stream of an agent of then, with its first report; ends with the test. */
async function reportOfThen(controller: string, address: string, answered: (answer: ReportResponse) => void) {
  const { Report: report } = serviceOf(released, "ControllerService");
  assert.ok(report !== undefined);
  const client = new Client(controller, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set("sublet-munge", await plainIdentity(0).credential(controller, report.path));
  const stream = client.makeBidiStreamRequest(
    report.path,
    report.requestSerialize,
    report.responseDeserialize,
    metadata,
  );
  closers.push(() => {
    stream.cancel();
    client.close();
  });
  const failed = new Promise<never>((_, reject) => stream.on("error", reject));
  failed.catch(() => undefined); // it is cancelled at the end
  const first = new Promise<void>((resolve) =>
    stream.on("data", (answer: ReportResponse) => {
      answered(answer);
      resolve();
    }),
  );
  stream.write(reportMessage("n1", { address }, [leaseMessage("old-1", "n1")]));
  await Promise.race([first, failed]);
}

it("a controller of today places, renews and releases on an agent of then, and says what that agent cannot", async () => {
  const controller = await controllerOfToday();
  const seen: string[] = [];
  const answers: ReportResponse[] = [];
  const address = await nodeOfThen(seen);
  await reportOfThen(controller.address, address, (answer) => answers.push(answer));
  assert.equal(answers[0]?.ackedRevision, 1);
  assert.equal("openMs" in (answers[0] ?? {}), false, "the stream was read by the released protocol");

  const client = connectController(controller.address, { identity: plainIdentity(0), timeoutMs: 8000 });
  closers.push(() => client.close());
  const [node] = (await client.listNodes({})).nodes;
  assert.deepEqual([node?.node, node?.leases, node?.offer?.lending], ["n1", 1, "LENDING_UNSPECIFIED"]);

  const request = { kind: "LEASE_KIND_FUNCTION", cores: 1, memoryBytes: 1 } as const;
  const { lease } = await client.requestLease({ request, owner });
  const named = { leaseId: lease?.id ?? "", node: "n1", caller: owner };
  assert.equal((await client.renewLease(named)).lease?.id, lease?.id);
  assert.equal((await client.releaseLease(named)).lease?.state, "LEASE_STATE_RELEASED");
  assert.deepEqual(seen, ["Grant", "Renew", "Release"]);

  const { outcomes } = await client.drain({ selection: { all: true }, mode: "RECLAIM_MODE_IMMEDIATE" });
  assert.deepEqual(
    outcomes.map((outcome) => [outcome.node, outcome.code, outcome.message]),
    [["n1", 9, `${address} does not know /sublet.v1.NodeService/Drain: it runs another version`]],
    "the off switch says which nodes it did not reach",
  );
});

it("an agent of today can ask a controller of then: what that one lacks is said, never silence", async () => {
  const address = await listening(serviceOf(released, "ControllerService"), {});
  const client = connectController(address, { identity: plainIdentity(0), timeoutMs: 5000 });
  closers.push(() => client.close());
  await assert.rejects(client.drain({ selection: { all: true } }), {
    code: "FAILED_PRECONDITION",
    message: anotherVersion,
  });
  await assert.rejects(client.getUsage({}), { code: "FAILED_PRECONDITION", message: anotherVersion });
});
