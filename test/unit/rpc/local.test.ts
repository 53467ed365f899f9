import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  decodeLocalRequest,
  decodeLocalResponse,
  encodeLocalRequest,
  encodeLocalResponse,
  FrameReader,
  maxFrameBytes,
} from "../../../src/rpc/local.ts";

describe("frames of the local socket", () => {
  it("carry a request and its response", () => {
    const [request] = new FrameReader().push(
      encodeLocalRequest({ id: 9, release: { leaseId: "l", node: "n" } }),
    );
    assert.ok(request);
    assert.deepEqual(
      { ...decodeLocalRequest(request) },
      {
        id: 9,
        body: "release",
        release: { leaseId: "l", node: "n" },
      },
    );
    const [response] = new FrameReader().push(
      encodeLocalResponse({ id: 9, code: 5, message: "no such lease" }),
    );
    assert.ok(response);
    assert.deepEqual({ ...decodeLocalResponse(response) }, { id: 9, code: 5, message: "no such lease" });
  });
  it("start with their length, little-endian", () => {
    assert.equal(encodeLocalRequest({ id: 1, list: {} }).toString("hex"), "0400000008012a00");
  });
  it("come out the same however the stream is cut", () => {
    const bodies = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 20 });
    fc.assert(
      fc.property(bodies, fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }), (frames, cuts) => {
        const stream = Buffer.concat(
          frames.map((body) => {
            const header = Buffer.alloc(4);
            header.writeUInt32LE(body.length);
            return Buffer.concat([header, body]);
          }),
        );
        const reader = new FrameReader();
        const got: Buffer[] = [];
        for (let at = 0, cut = 0; at < stream.length; cut++) {
          const size = cuts[cut % cuts.length] as number;
          got.push(...reader.push(stream.subarray(at, at + size)));
          at += size;
        }
        assert.deepEqual(
          got.map((body) => body.toString("hex")),
          frames.map((body) => Buffer.from(body).toString("hex")),
        );
      }),
    );
  });
  it("take the largest body and refuse lengths out of bounds", () => {
    const header = (length: number): Buffer => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(length);
      return bytes;
    };
    const largest = Buffer.concat([header(maxFrameBytes), Buffer.alloc(maxFrameBytes)]);
    assert.equal(new FrameReader().push(largest)[0]?.length, maxFrameBytes);
    for (const length of [0, maxFrameBytes + 1, 0xffff_ffff])
      assert.throws(() => new FrameReader().push(header(length)), { code: "INVALID_ARGUMENT" });
    assert.throws(() => new FrameReader().push(Buffer.from("GET / HTTP/1.1\r\n")), {
      code: "INVALID_ARGUMENT",
    });
  });
  it("are not made too large", () => {
    assert.throws(
      () => encodeLocalResponse({ id: 1, code: 13, message: "x".repeat(maxFrameBytes) }),
      /65536/,
    );
  });
  it("refuse a body that is no message", () => {
    assert.throws(() => decodeLocalRequest(Buffer.from("ffff", "hex")), { code: "INVALID_ARGUMENT" });
  });
  it("let a request pass that a newer peer knows: it has no body", () => {
    // field 15, an empty message
    assert.deepEqual({ ...decodeLocalRequest(Buffer.from("08017a00", "hex")) }, { id: 1 });
  });
});
