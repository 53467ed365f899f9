/**
 * Takes the languages of the world out of Node's binary: of ICU's 31 MiB of tables the daemons use the root locale, English,
 * time zones and character properties. (Node calls such a build "small-icu"; building it anew takes hours.)
 *
 *   trim-node.ts STRIPPED-NODE OUTPUT
 *
 * The tables are one package (ICU's "CmnD" format) in the read-only data, found by their addresses inside the package,
 * so a smaller package can take their place. What it leaves free is cut out of the file: the segment that held it
 * becomes two, and the addresses in between belong to nobody. The new entry of the program headers takes the place of
 * the build id's note; section headers, which only debuggers read, are left out. test/packages runs what comes out.
 */
import { chmodSync, readFileSync, writeFileSync } from "node:fs";

const pageBytes = 4096;
const load = 1;
const note = 4;
const headerBytes = 56;

interface Item {
  readonly name: Buffer;
  readonly bytes: Buffer;
}

/** Offset of ICU's package. */
function findPackage(file: Buffer): number {
  const format = Buffer.from("CmnD\x01");
  for (let at = file.indexOf(format); at >= 0; at = file.indexOf(format, at + 1))
    if (file.readUInt16BE(at - 10) === 0xda27) return at - 12;
  throw new Error("no ICU data in this binary");
}

/** Offset and items; the last one ends where its resource bundle says. */
function readPackage(file: Buffer, at: number): { header: Buffer; items: Item[]; lastOffset: number } {
  const base = at + file.readUInt16LE(at);
  const count = file.readUInt32LE(base);
  const entry = (index: number, part: number): number => file.readUInt32LE(base + 4 + 8 * index + part);
  const items: Item[] = [];
  for (let index = 0; index + 1 < count; index++) {
    const nameAt = base + entry(index, 0);
    items.push({
      name: file.subarray(nameAt, file.indexOf(0, nameAt) + 1),
      bytes: file.subarray(base + entry(index, 4), base + entry(index + 1, 4)),
    });
  }
  // The last item (zu_ZA) is never wanted.
  return { header: file.subarray(at, base), items, lastOffset: base + entry(count - 1, 4) };
}

function isWanted({ name }: Item): boolean {
  const path = name.toString("latin1", 0, name.length - 1).replace(/^icudt\d+[lb]\//, "");
  if (/\.(cnv|dict)$|^(translit|rbnf|lang|region|unit)\/|^unames|^brkitr\/(line|title)/.test(path))
    return false;
  const locale = /^(?:[a-z]+\/)?([a-z]{2,3}(?:_[A-Za-z0-9]+)*)\.res$/.exec(path)?.[1];
  return locale === undefined || /^en(_US|_US_POSIX|_001)?$/.test(locale);
}

function writePackage(header: Buffer, items: readonly Item[]): Buffer {
  const up16 = (value: number): number => (value + 15) & ~15;
  let nameAt = 4 + 8 * items.length;
  let dataAt = up16(nameAt + items.reduce((sum, { name }) => sum + name.length, 0));
  const body = Buffer.alloc(dataAt + items.reduce((sum, { bytes }) => sum + up16(bytes.length), 0));
  body.writeUInt32LE(items.length, 0);
  for (const [index, { name, bytes }] of items.entries()) {
    body.writeUInt32LE(nameAt, 4 + 8 * index);
    body.writeUInt32LE(dataAt, 8 + 8 * index);
    name.copy(body, nameAt);
    bytes.copy(body, dataAt);
    nameAt += name.length;
    dataAt += up16(bytes.length);
  }
  return Buffer.concat([header, body]);
}

/** Removes [from, to) of the file; both are whole pages inside one segment. */
function cut(file: Buffer, from: number, to: number): Buffer {
  const tableAt = Number(file.readBigUInt64LE(32));
  const count = file.readUInt16LE(56);
  const removed = BigInt(to - from);
  const table: Buffer[] = [];
  let notes = 0;
  for (let index = 0; index < count; index++) {
    const header = Buffer.from(
      file.subarray(tableAt + index * headerBytes, tableAt + (index + 1) * headerBytes),
    );
    const type = header.readUInt32LE(0);
    const offset = Number(header.readBigUInt64LE(8));
    const bytes = Number(header.readBigUInt64LE(32));
    if (type === note && notes++ === 0) continue;
    if (offset >= to) header.writeBigUInt64LE(BigInt(offset) - removed, 8);
    if (type !== load || offset > from || offset + bytes < to) {
      table.push(header);
      continue;
    }
    const rest = Buffer.from(header);
    for (const at of [32, 40]) {
      header.writeBigUInt64LE(BigInt(from - offset), at);
      rest.writeBigUInt64LE(BigInt(offset + bytes - to), at);
    }
    rest.writeBigUInt64LE(BigInt(from), 8);
    for (const at of [16, 24]) rest.writeBigUInt64LE(header.readBigUInt64LE(at) + BigInt(to - offset), at);
    table.push(header, rest);
  }
  if (notes === 0 || table.length !== count) throw new Error("no room in the program headers");
  Buffer.concat(table).copy(file, tableAt);
  file.writeBigUInt64LE(0n, 40); // where the section headers are
  file.writeUInt32LE(0, 60); // how many, and which has their names
  return Buffer.concat([file.subarray(0, from), file.subarray(to)]);
}

const [input, output] = process.argv.slice(2);
if (input === undefined || output === undefined) throw new Error("usage: trim-node.ts STRIPPED-NODE OUTPUT");
const file = readFileSync(input);
const at = findPackage(file);
const { header, items, lastOffset } = readPackage(file, at);
const small = writePackage(header, items.filter(isWanted));
small.copy(file, at);
const from = Math.ceil((at + small.length) / pageBytes) * pageBytes;
const to = Math.floor(lastOffset / pageBytes) * pageBytes;
if (to <= from) throw new Error("nothing to take out");
file.fill(0, at + small.length, from);
writeFileSync(output, cut(file, from, to));
chmodSync(output, 0o755);
