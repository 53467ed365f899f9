/**
 * Frames of the starter's socket: u32 little-endian length (1..65536), then lines `key=value`. The first line of a request
 * is its verb. Keys may repeat; their order is kept.
 */
import { SubletError } from "../../src/common/errors.ts";
import { maxFrameBytes } from "../../src/rpc/local.ts";

export type Field = readonly [key: string, value: string];

/** @throws SubletError INVALID_ARGUMENT when a value cannot be a line, or the frame would be too long. */
export function encodeFields(fields: readonly Field[]): Buffer {
  for (const [key, value] of fields)
    if (!/^[a-z_]{1,32}$/.test(key) || /[\p{Cc}]/u.test(value))
      throw new SubletError(
        "INVALID_ARGUMENT",
        `field ${key} does not fit on a line of the starter's protocol`,
      );
  const body = Buffer.from(fields.map(([key, value]) => `${key}=${value}\n`).join(""), "utf8");
  if (body.length < 1 || body.length > maxFrameBytes)
    throw new SubletError("INVALID_ARGUMENT", `frame of ${body.length} bytes: 1..${maxFrameBytes} fit`);
  const header = Buffer.alloc(4);
  header.writeUInt32LE(body.length);
  return Buffer.concat([header, body]);
}

/** @throws SubletError INVALID_ARGUMENT. */
export function decodeFields(body: Buffer): Field[] {
  const lines = body.toString("utf8").split("\n");
  if (lines.pop() !== "") throw new SubletError("INVALID_ARGUMENT", "frame does not end with a line");
  return lines.map((line) => {
    const at = line.indexOf("=");
    if (at < 1) throw new SubletError("INVALID_ARGUMENT", "frame has a line without key");
    return [line.slice(0, at), line.slice(at + 1)] as const;
  });
}

export function fieldOf(fields: readonly Field[], key: string): string | undefined {
  return fields.find(([name]) => name === key)?.[1];
}

/** @throws SubletError INVALID_ARGUMENT unless the field is a whole number up to `max`. */
export function numberOf(fields: readonly Field[], key: string, max: number): number {
  const text = fieldOf(fields, key) ?? "";
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= max)) throw new SubletError("INVALID_ARGUMENT", `starter: ${key} is ${text.slice(0, 32)}`);
  return value;
}
