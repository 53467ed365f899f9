import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { checkCredentialPayload, credentialPayload } from "../../../src/rpc/identity.ts";
import { mungeIdentity } from "../../../src/rpc/munge.ts";
import { type Munged, startMunged } from "./munged.ts";

const audience = "10.77.0.11:7701";
const method = "/sublet.v1.NodeService/Grant";
const unauthenticated = { name: "SubletError", code: "UNAUTHENTICATED" };

describe("credential payload", () => {
  const nowMs = 1_700_000_000_000;
  const check = (text: string, atMs = nowMs): string =>
    checkCredentialPayload(text, [audience], method, atMs);

  it("is accepted for its callee and method, within a minute either way", () => {
    const payload = credentialPayload(audience, method, nowMs);
    for (const driftMs of [-60_000, 0, 60_000]) assert.equal(check(payload, nowMs + driftMs), audience);
  });
  it("is refused when it is older, or from the future, and says to compare clocks", () => {
    const payload = credentialPayload(audience, method, nowMs);
    for (const driftMs of [-60_001, 60_001, 86_400_000])
      assert.throws(() => check(payload, nowMs + driftMs), { ...unauthenticated, message: /clocks/ });
  });
  it("is refused for another callee or method", () => {
    assert.throws(() => check(credentialPayload("10.77.0.12:7701", method, nowMs)), unauthenticated);
    assert.throws(
      () => check(credentialPayload(audience, "/sublet.v1.NodeService/Renew", nowMs)),
      unauthenticated,
    );
  });
  it("is refused when it is anything else", () => {
    const good = credentialPayload(audience, method, nowMs);
    for (const text of ["", "x", `${good} more`, good.replace("sublet.v1", "sublet.v2"), "a".repeat(600)])
      assert.throws(() => check(text), unauthenticated);
    assert.throws(() => check(`sublet.v1 ${audience} ${method} 1e99 0123456789abcdef`), unauthenticated);
  });
});

describe("munge identity against a real munged", () => {
  let munged: Munged;
  before(async () => {
    munged = await startMunged();
  });
  after(() => munged.stop());

  it("names who made a credential", async () => {
    const identity = mungeIdentity({ socket: munged.socket });
    const credential = await identity.credential(audience, method);
    assert.match(credential, /^MUNGE:.*:$/);
    const caller = await identity.verify(credential, ["other:1", audience], method);
    assert.deepEqual(caller, { uid: process.getuid?.(), gid: process.getgid?.(), audience });
  });
  it("refuses a credential the second time", async () => {
    const identity = mungeIdentity({ socket: munged.socket });
    const credential = await identity.credential(audience, method);
    await identity.verify(credential, [audience], method);
    await assert.rejects(identity.verify(credential, [audience], method), {
      ...unauthenticated,
      message: /used before/,
    });
  });
  it("refuses an old credential, and one for another callee", async () => {
    const late = mungeIdentity({ socket: munged.socket, nowUnixMs: () => Date.now() + 61_000 });
    const identity = mungeIdentity({ socket: munged.socket });
    await assert.rejects(
      late.verify(await identity.credential(audience, method), [audience], method),
      unauthenticated,
    );
    await assert.rejects(
      identity.verify(await identity.credential(audience, method), ["10.77.0.12:7701"], method),
      unauthenticated,
    );
  });
  it("refuses garbage and what another cluster's munged made", async () => {
    const identity = mungeIdentity({ socket: munged.socket });
    for (const text of ["", "MUNGE:garbage:", "x".repeat(5000)])
      await assert.rejects(identity.verify(text, [audience], method), unauthenticated);
    const other = await startMunged();
    try {
      const foreign = await mungeIdentity({ socket: other.socket }).credential(audience, method);
      await assert.rejects(identity.verify(foreign, [audience], method), unauthenticated);
    } finally {
      await other.stop();
    }
  });
  it("serves many calls at once", async () => {
    const identity = mungeIdentity({ socket: munged.socket });
    const credentials = await Promise.all(
      Array.from({ length: 100 }, () => identity.credential(audience, method)),
    );
    assert.equal(new Set(credentials).size, 100);
    await Promise.all(credentials.map((credential) => identity.verify(credential, [audience], method)));
  });
  it("says that munged is not there", async () => {
    const identity = mungeIdentity({ socket: "/nonexistent/munge.socket" });
    await assert.rejects(identity.credential(audience, method), { code: "UNAVAILABLE", message: /munged/ });
  });
});
