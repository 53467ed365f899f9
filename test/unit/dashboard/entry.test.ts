/** By which ways one may log in, and how often one may guess. */
import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { describe, it } from "node:test";
import { Attempts } from "../../../src/dashboard/attempts.ts";
import { wayOf } from "../../../src/dashboard/entry.ts";

const proxies = ["10.0.0.5", "127.0.0.1"];

function way(peer: string, headers: Record<string, string> = {}, more = {}) {
  const socket = { remoteAddress: peer, localAddress: "10.0.0.1", ...more };
  return wayOf({ socket, headers: { host: "head:7704", ...headers } } as unknown as IncomingMessage, proxies);
}

describe("the way to the dashboard", () => {
  it("is safe over TLS and from this machine", () => {
    for (const found of [
      way("192.0.2.7", {}, { encrypted: true }),
      way("127.0.0.1"),
      way("::1"),
      way("::ffff:127.0.0.9"),
      way("10.0.0.1"),
    ])
      assert.equal(found.refused, undefined);
    assert.equal(way("192.0.2.7", {}, { encrypted: true }).secure, true);
    assert.equal(way("127.0.0.1").secure, false);
  });
  it("is not over a network without TLS, whatever the request says", () => {
    for (const headers of [
      {},
      { "x-forwarded-proto": "https" },
      { "x-forwarded-for": "127.0.0.1" },
      { host: "localhost:7704" },
      { forwarded: "for=127.0.0.1;proto=https" },
    ] as Record<string, string>[])
      assert.match(way("192.0.2.7", headers).refused ?? "", /^over a network without TLS$/);
    assert.match(way("127.0.0.1.example").refused ?? "", /without TLS/);
  });
  it("is by a proxy when the settings name it, and it says that the browser speaks HTTPS", () => {
    const said = { "x-forwarded-proto": "https", "x-forwarded-for": "6.6.6.6, 192.0.2.7" };
    const by = way("10.0.0.5", { ...said, "x-forwarded-host": "dash.example" });
    assert.deepEqual(by, {
      refused: undefined,
      secure: true,
      from: "192.0.2.7",
      hosts: ["dash.example"],
    });
    assert.equal(way("127.0.0.1", said).refused, undefined);
    assert.match(
      way("10.0.0.5", { "x-forwarded-proto": "https, http" }).refused ?? "",
      /by http the browser/,
    );
    assert.match(way("10.0.0.5", { "x-forwarded-for": "192.0.2.7" }).refused ?? "", /does not say/);
    assert.match(way("::1", said).refused ?? "", /\(::1\) that dashboard\.proxies does not name/);
  });
});

describe("guesses", () => {
  it("end after ten that failed within a minute, for whom they come from", () => {
    let nowMs = 0;
    const attempts = new Attempts(() => nowMs);
    for (let i = 0; i < 50; i++) attempts.begin("10.0.0.1")();
    for (let i = 0; i < 10; i++) attempts.begin("10.0.0.2");
    nowMs = 30_000;
    assert.throws(() => attempts.begin("10.0.0.2"), {
      code: "RESOURCE_EXHAUSTED",
      details: { hint: "Try again in 30 s." },
    });
    attempts.begin("10.0.0.1")();
    nowMs = 61_000;
    attempts.begin("10.0.0.2");
  });
  it("are bounded however many addresses they come from", () => {
    const attempts = new Attempts(() => 0);
    let tried = 0;
    assert.throws(
      () => {
        for (; tried < 10_000; tried++) attempts.begin(`10.0.${tried >> 8}.${tried & 255}`);
      },
      { code: "RESOURCE_EXHAUSTED" },
    );
    assert.equal(tried, 200);
  });
});
