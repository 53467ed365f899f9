/**
 * Frames of the agent's unix socket: u32 little-endian length (1..65536), then one message. Both directions.
 * Whatever arrives is bounded before it is copied: a length beyond the bound ends the connection, since no
 * frame boundary can be trusted after it.
 */
import { SubletError } from "../common/errors.ts";
import type { EndpointMessage, Init, LeaseMessage, LocalRequest, LocalResponse } from "./messages.ts";
import { decodeMessage, encodeMessage } from "./schema.ts";

export const maxFrameBytes = 65536;

const headerBytes = 4;
/** A length with this bit is the door's own word to its agent (functions/door): no user's bytes get past it with one. */
const markBit = 0x8000_0000;
/** Bytes of a mark: the number of a job, and a lease's id. */
const markMaxBytes = 4 + 63;

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

/**
 * The body of an answer without its id, which whoever hands it out puts before it: a lease that was granted ahead. Written before
 * it is granted: its owner knows who he is, and when it was.
 */
export function encodeLeasedAhead(lease: LeaseMessage, endpoint: EndpointMessage): Buffer {
  const leased = { lease: { ...lease, owner: null, grantedUnixMs: 0 }, endpoint };
  return encodeLocalResponse({ body: "leased", leased }).subarray(headerBytes);
}

/** The body of one frame. @throws SubletError INVALID_ARGUMENT. */
export function decodeLocalRequest(body: Buffer): LocalRequest {
  return decodeMessage("LocalRequest", body);
}

export function decodeLocalResponse(body: Buffer): LocalResponse {
  return decodeMessage("LocalResponse", body);
}

/** What stands in a user's stream in place of a request for a lease that the door has handed out already. */
export interface RedeemedMark {
  readonly leaseId: string;
  readonly jobId: number;
}

export type LocalFrame = { readonly body: Buffer } | { readonly redeemed: RedeemedMark };

function readMark(body: Buffer): RedeemedMark {
  return { jobId: body.readUInt32LE(0), leaseId: body.toString("latin1", 4) };
}

const tags = { id: 0x08, lease: 0x12, request: 0x0a } as const;

/**
 * The bytes of the LeaseRequest in a LocalRequest that asks for a lease, where it is written as protobuf does it; undefined:
 * it is not. The same as the door looks at (lease_ask_read in functions/door/frames.c).
 */
export function leaseRequestBytes(body: Buffer): Buffer | undefined {
  let at = 0;
  const number = (): number => {
    for (let value = 0, scale = 1; scale < 2 ** 35; scale *= 128) {
      const byte = body[at++];
      if (byte === undefined) return Number.NaN;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    return Number.NaN;
  };
  if (body[at++] !== tags.id || !(number() > 0)) return undefined;
  if (body[at++] !== tags.lease || number() !== body.length - at) return undefined;
  if (body[at++] !== tags.request) return undefined;
  const length = number();
  return length > 0 && length <= body.length - at ? body.subarray(at, at + length) : undefined;
}

/** Cuts a byte stream into frame bodies. Holds at most one frame that is not whole yet. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #buffered = 0;
  readonly #marks: boolean;

  /** marks: these bytes come through a door, whose word is among them. */
  constructor({ marks = false } = {}) {
    this.#marks = marks;
  }

  /**
   * The bodies that are whole now, in order; the rest is kept for the next chunk.
   * @throws SubletError INVALID_ARGUMENT on a length out of bounds: close the connection.
   */
  push(chunk: Buffer): Buffer[] {
    return this.pushFrames(chunk).flatMap((frame) => ("body" in frame ? [frame.body] : []));
  }

  /** The same, and the door's marks in their places. */
  pushFrames(chunk: Buffer): LocalFrame[] {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    const frames: LocalFrame[] = [];
    for (;;) {
      if (this.#buffered < headerBytes) return frames;
      const said = this.#peekLength();
      const isMark = this.#marks && said > markBit + 4 && said <= markBit + markMaxBytes;
      const length = isMark ? said - markBit : said;
      if (length < 1 || length > maxFrameBytes)
        throw new SubletError("INVALID_ARGUMENT", `frame of ${length} bytes: 1..${maxFrameBytes} allowed`);
      if (this.#buffered < headerBytes + length) return frames;
      const all = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
      const body = all.subarray(headerBytes, headerBytes + length);
      frames.push(isMark ? { redeemed: readMark(body) } : { body });
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
