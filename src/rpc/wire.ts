/**
 * What the codecs (codecs.ts) stand on: protobufjs' reader and writer, which neither parse .proto nor make code, and what all
 * messages share.
 */
import protobuf from "protobufjs/minimal.js";
import type { Init } from "./messages.ts";

// 64-bit fields are numbers. Without this protobufjs makes an object of each where the package `long` is installed.
protobuf.util.Long = undefined as never;
protobuf.configure();

/** protobufjs' reader of a Buffer as it is without `long`. `len` is where the message that is read ends. */
export interface Reader {
  readonly buf: Buffer;
  pos: number;
  len: number;
  uint32(): number;
  int32(): number;
  uint64(): number;
  double(): number;
  bool(): boolean;
  string(): string;
  bytes(): Buffer;
  skipType(wireType: number): void;
}

export type Writer = protobuf.Writer;

export interface Codec<M> {
  readonly write: (w: Writer, message: Init<M>) => void;
  readonly read: (r: Reader) => M;
}

/** A message whose union is being read: all its fields may be there or not. */
export type Loose<M> = {
  [K in M extends unknown ? keyof M : never]?: M extends { [P in K]?: infer V } ? V : never;
};

export function encode<M>(codec: Codec<M>, message: Init<M>): Buffer {
  const writer = protobuf.Writer.create();
  codec.write(writer, message);
  return writer.finish() as Buffer;
}

/** @throws Error when the bytes are not such a message. */
export function decode<M>(codec: Codec<M>, bytes: Buffer): M {
  return codec.read(protobuf.Reader.create(bytes) as unknown as Reader);
}

/** The words of an enum. Numbers that this version does not know stay numbers, both ways. */
export class Enum<Word extends string> {
  readonly #numbers: ReadonlyMap<string, number>;
  readonly #words: readonly Word[];

  constructor(values: Readonly<Record<Word, number>>) {
    const entries = Object.entries(values) as [Word, number][];
    this.#numbers = new Map(entries);
    const words: Word[] = [];
    for (const [word, number] of entries) words[number] = word;
    this.#words = words;
  }

  number(value: Word): number | undefined {
    return typeof value === "number" ? value : this.#numbers.get(value);
  }

  word(number: number): Word {
    return this.#words[number] ?? (number as unknown as Word);
  }
}

/** Goes into what has a length before it; returns where what is around it ends, for leave(). */
export function enter(r: Reader): number {
  const outer = r.len;
  const end = r.uint32() + r.pos;
  if (end > outer) throw new RangeError("index out of range");
  r.len = end;
  return outer;
}

export function leave(r: Reader, outer: number): void {
  if (r.pos !== r.len) throw new RangeError("index out of range");
  r.len = outer;
}

/** Seven bytes, 49 bits, are exact in a double and read without an object for each, as protobufjs makes one. */
const plainBytes = 7;

export function uint64(r: Reader): number {
  const { buf, pos } = r;
  const end = Math.min(pos + plainBytes, r.len);
  let value = 0;
  let unit = 1;
  for (let i = pos; i < end; i++) {
    const byte = buf[i] as number;
    if (byte < 128) {
      r.pos = i + 1;
      return value + byte * unit;
    }
    value += (byte - 128) * unit;
    unit *= 128;
  }
  return r.uint64();
}

/** A packed list. One loop for the lists of all messages: what runs once is mostly interpreted, what runs often is not. */
export function unpack(r: Reader, list: number[], read: (r: Reader) => number): void {
  const outer = enter(r);
  const { buf, len } = r;
  while (r.pos < len) {
    const byte = buf[r.pos] as number;
    if (byte < 128) {
      r.pos++;
      list.push(byte);
    } else list.push(read(r));
  }
  leave(r, outer);
}

export function uint32(r: Reader): number {
  return r.uint32();
}

const maxVarintBytes = 10;

/** A packed list of whole numbers, as one piece: protobufjs makes an object of each number. */
export function packed(w: Writer, values: readonly number[]): void {
  const bytes = Buffer.allocUnsafe(values.length * maxVarintBytes);
  let end = 0;
  for (const value of values) {
    let rest = value;
    if (!(rest >= 0 && rest <= Number.MAX_SAFE_INTEGER)) {
      const odd = protobuf.Writer.create().uint64(rest).finish();
      bytes.set(odd, end);
      end += odd.length;
      continue;
    }
    while (rest >= 2 ** 31) {
      bytes[end++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    while (rest >= 128) {
      bytes[end++] = (rest & 127) | 128;
      rest >>>= 7;
    }
    bytes[end++] = rest;
  }
  w.bytes(bytes.subarray(0, end));
}

/** One entry of a map of strings. */
export function readEntry(r: Reader, map: Record<string, string>): void {
  const outer = enter(r);
  let key = "";
  let value = "";
  while (r.pos < r.len) {
    const tag = r.uint32();
    if (tag >>> 3 === 1) key = r.string();
    else if (tag >>> 3 === 2) value = r.string();
    else r.skipType(tag & 7);
  }
  leave(r, outer);
  // Assigned, "__proto__" would change the map and not be in it.
  Object.defineProperty(map, key, { value, writable: true, enumerable: true, configurable: true });
}
