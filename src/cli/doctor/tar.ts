/** A tar archive (ustar) of small texts, the same bytes for the same texts: no owner, one time for all. */
import { gzipSync } from "node:zlib";

export interface TarFile {
  readonly name: string;
  readonly text: string;
}

const block = 512;
const nameBytes = 100;

function header(name: string, size: number, unixSeconds: number): Buffer {
  if (Buffer.byteLength(name) > nameBytes) throw new Error(`${name} is too long for a name`);
  const bytes = Buffer.alloc(block);
  const octal = (value: number, at: number, width: number): void => {
    bytes.write(`${value.toString(8).padStart(width - 1, "0")}\0`, at, "latin1");
  };
  bytes.write(name, 0);
  octal(0o600, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(unixSeconds, 136, 12);
  bytes.fill(" ", 148, 156);
  bytes.write("0", 156);
  bytes.write("ustar\0", 257);
  bytes.write("00", 263);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return bytes;
}

export function tarGz(files: readonly TarFile[], unixSeconds: number): Buffer {
  const parts = files.flatMap(({ name, text }) => {
    const content = Buffer.from(text);
    const padding = Buffer.alloc((block - (content.length % block)) % block);
    return [header(name, content.length, unixSeconds), content, padding];
  });
  return gzipSync(Buffer.concat([...parts, Buffer.alloc(2 * block)]));
}
