/**
 * Frames of the agent's socket as they were once sent, in recorded-local.json: today's encoder makes the same bytes, and
 * what was recorded is still understood. A new field needs a new entry; an old entry never changes.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import {
  decodeLocalRequest,
  decodeLocalResponse,
  encodeLocalRequest,
  encodeLocalResponse,
  FrameReader,
} from "../../../src/rpc/local.ts";

interface Recorded {
  readonly name: string;
  readonly direction: "request" | "response";
  readonly message: Record<string, unknown>;
  readonly hex: string;
}

const recorded = JSON.parse(
  readFileSync(new URL("./recorded-local.json", import.meta.url), "utf8"),
) as Recorded[];

describe("recorded frames of the local socket", () => {
  for (const { name, direction, message, hex } of recorded)
    it(name, () => {
      const request = direction === "request";
      const encoded = request ? encodeLocalRequest(message) : encodeLocalResponse(message);
      assert.equal(encoded.toString("hex"), hex);
      const [body] = new FrameReader().push(Buffer.from(hex, "hex"));
      assert.ok(body !== undefined);
      const decoded: object = request ? decodeLocalRequest(body) : decodeLocalResponse(body);
      assert.partialDeepStrictEqual({ ...decoded }, message);
    });
});
