/**
 * A 32-bit constant that a shared library exports, read from the file without loading it: what slurmd itself looks at
 * first. 64-bit ELF of this byte order; anything else, or broken, has no such symbol.
 */
const typeDynsym = 11;
const sectionBytes = 64;
const symbolBytes = 24;

interface Section {
  readonly type: number;
  readonly address: number;
  readonly offset: number;
  readonly size: number;
  /** Of a symbol table: the section of its names. */
  readonly link: number;
}

function sections(file: Buffer): Section[] {
  const isElf64 = file.subarray(0, 4).toString("latin1") === "\x7fELF" && file[4] === 2 && file[5] === 1;
  if (!isElf64) return [];
  const start = Number(file.readBigUInt64LE(40));
  return Array.from({ length: file.readUInt16LE(60) }, (_, index) => {
    const at = start + index * sectionBytes;
    return {
      type: file.readUInt32LE(at + 4),
      address: Number(file.readBigUInt64LE(at + 16)),
      offset: Number(file.readBigUInt64LE(at + 24)),
      size: Number(file.readBigUInt64LE(at + 32)),
      link: file.readUInt32LE(at + 40),
    };
  });
}

function find(file: Buffer, name: string): number | undefined {
  const all = sections(file);
  const table = all.find(({ type }) => type === typeDynsym);
  const names = all[table?.link ?? -1];
  if (table === undefined || names === undefined) return undefined;
  const wanted = `${name}\0`;
  for (let at = table.offset; at + symbolBytes <= table.offset + table.size; at += symbolBytes) {
    const text = names.offset + file.readUInt32LE(at);
    if (file.toString("latin1", text, text + wanted.length) !== wanted) continue;
    const home = all[file.readUInt16LE(at + 6)];
    if (home === undefined) return undefined;
    return file.readUInt32LE(home.offset + Number(file.readBigUInt64LE(at + 8)) - home.address);
  }
  return undefined;
}

export function exportedNumber(file: Buffer, name: string): number | undefined {
  try {
    return find(file, name);
  } catch {
    return undefined; // An offset leads out of the file: it is none of ours.
  }
}
