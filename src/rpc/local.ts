/**
 * Frames of the agent's unix socket: u32 little-endian length (1..65536), then one message. Both directions.
 * Whatever arrives is bounded before it is copied: a length beyond the bound ends the connection, since no
 * frame boundary can be trusted after it.
 */
import { SubletError } from "../common/errors.ts";
import type { Init, LocalRequest, LocalResponse } from "./messages.ts";
import { decodeMessage, encodeMessage } from "./schema.ts";

export const maxFrameBytes = 65536;

const headerBytes = 4;

function frame(body: Buffer): Buffer {
  if (body.length < 1 || body.length > maxFrameBytes)
    throw new SubletError("INVALID_ARGUMENT", `frame of ${body.length} bytes: 1..${maxFrameBytes} fit`);
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32LE(body.length);
  return Buffer.concat([header, body]);
}

/** A request as a whole frame, header included. */
export function encodeLocalRequest(request: Init<LocalRequest>): Buffer {
  return frame(encodeMessage("LocalRequest", request));
}

/** A response as a whole frame, header included. An empty response (id 0, OK) does not fit: it says nothing. */
export function encodeLocalResponse(response: Init<LocalResponse>): Buffer {
  return frame(encodeMessage("LocalResponse", response));
}

/** The body of one frame. @throws SubletError INVALID_ARGUMENT. */
export function decodeLocalRequest(body: Buffer): LocalRequest {
  return decodeMessage("LocalRequest", body);
}

export function decodeLocalResponse(body: Buffer): LocalResponse {
  return decodeMessage("LocalResponse", body);
}

/** Cuts a byte stream into frame bodies. Holds at most one frame that is not whole yet. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #buffered = 0;

  /**
   * The bodies that are whole now, in order; the rest is kept for the next chunk.
   * @throws SubletError INVALID_ARGUMENT on a length out of bounds: close the connection.
   */
  push(chunk: Buffer): Buffer[] {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    const bodies: Buffer[] = [];
    for (;;) {
      if (this.#buffered < headerBytes) return bodies;
      const length = this.#peekLength();
      if (length < 1 || length > maxFrameBytes)
        throw new SubletError("INVALID_ARGUMENT", `frame of ${length} bytes: 1..${maxFrameBytes} allowed`);
      if (this.#buffered < headerBytes + length) return bodies;
      const all = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
      bodies.push(all.subarray(headerBytes, headerBytes + length));
      const rest = all.subarray(headerBytes + length);
      this.#chunks = rest.length === 0 ? [] : [rest];
      this.#buffered = rest.length;
    }
  }

  #peekLength(): number {
    const first = this.#chunks[0];
    if (first !== undefined && first.length >= headerBytes) return first.readUInt32LE(0);
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all.readUInt32LE(0);
  }
}
