/** By which names a host knows itself: what callers may write into their settings without `names`. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type HostFacts, ownNames } from "../../../src/rpc/own-names.ts";

const facts: HostFacts = {
  hostname: "head",
  addresses: ["127.0.0.1", "::1", "10.0.0.1"],
  hosts: "",
  resolv: "",
};

describe("names of this host", () => {
  it("are its host name, as it is and short", () => {
    assert.deepEqual(ownNames(facts), ["head"]);
    assert.deepEqual(ownNames({ ...facts, hostname: "head.cluster.example.org" }), [
      "head.cluster.example.org",
      "head",
    ]);
  });
  it("and with each domain that is searched, by the last line that says so", () => {
    const resolv =
      "domain old.example\n# search no.example\nsearch cluster.example.org example.org.\nnameserver 10.0.0.2\n";
    assert.deepEqual(ownNames({ ...facts, resolv }), [
      "head",
      "head.cluster.example.org",
      "head.example.org",
    ]);
    assert.deepEqual(ownNames({ ...facts, resolv: "search .\n" }), ["head"]);
  });
  it("and what /etc/hosts calls its addresses, no others and no loopback's", () => {
    const hosts = [
      "127.0.0.1 localhost elsewhere.example",
      "::1 localhost ip6-localhost ip6-loopback",
      "127.0.1.1\thead.example.org head # Debian's",
      "10.0.0.1 head head-ib.example.org",
      "10.0.0.2 other",
    ].join("\n");
    assert.deepEqual(ownNames({ ...facts, hosts }), ["head", "head.example.org", "head-ib.example.org"]);
    assert.deepEqual(ownNames({ ...facts, hosts: "127.0.1.1 localhost.localdomain head\n" }), ["head"]);
  });
});
