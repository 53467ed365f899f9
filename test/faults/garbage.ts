/** Peers that no daemon deserves: what each of them sends, and to whom. All are gone when `attack` returns. */
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { connect, type NetConnectOpts, type Socket } from "node:net";
import { pause } from "../../deploy/testbed/shell.ts";

export type Target = NetConnectOpts;

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
/** The head of a frame to an executor (wire/control.h): magic, version, type, size, status. */
const control = (type: number, size: number): Buffer =>
  Buffer.concat([Buffer.from("SLBC\x01\x00", "latin1"), Buffer.from([type, 0]), u32(size), u32(0)]);
const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** What is sent at once; the peer then waits for what comes. */
const blasts: readonly (() => Buffer)[] = [
  () => randomBytes(65_536),
  () => randomBytes(3),
  () => u32(0),
  () => u32(0xffff_ffff),
  () => Buffer.concat([u32(1000), randomBytes(10)]),
  () => Buffer.concat([u32(100), randomBytes(100), u32(100), randomBytes(100)]),
  () => Buffer.concat([preface, randomBytes(4096)]),
  () => Buffer.concat([preface, Buffer.from("ffffff0400ffffffff", "hex")]),
  () => Buffer.concat([control(1, 0xffff_ffff), randomBytes(100)]),
  () => Buffer.concat([control(1, 48), randomBytes(48)]),
  () => Buffer.concat([control(2, 1 << 26), randomBytes(65_536)]),
  () => Buffer.concat([Buffer.from("SLBS\x01\x00\x00\x00", "latin1"), randomBytes(200)]),
  () => Buffer.from(`GET /metrics HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(100_000)}\r\n\r\n`),
  () => Buffer.from(`POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nx`),
  () => Buffer.from('LIST\n{"verb":"START"}\n\0\0\0\n'),
];

function open(target: Target): Socket {
  const socket = connect(target);
  socket.on("error", () => undefined); // being refused is the least that can happen to it
  socket.resume();
  return socket;
}

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => (socket.closed ? resolve() : socket.once("close", () => resolve())));

/** One byte at a time, for as long as it is let. */
async function loris(target: Target, text: Buffer): Promise<Socket> {
  const socket = open(target);
  for (const byte of text) {
    if (socket.destroyed) break;
    socket.write(Buffer.from([byte]));
    await pause(150);
  }
  return socket;
}

/** Does all of it to a target; `meanwhile` runs while the half-open and the slow ones are there. */
export async function attack(target: Target, meanwhile: () => Promise<unknown>): Promise<void> {
  const sockets: Socket[] = [];
  for (const blast of blasts) {
    const cut = open(target);
    cut.write(blast(), () => ("path" in target ? cut.destroy() : cut.resetAndDestroy()));
    const ended = open(target);
    ended.end(blast());
    const waiting = open(target);
    waiting.write(blast());
    sockets.push(cut, ended, waiting);
  }
  for (let i = 0; i < 20; i++) sockets.push(open(target));
  const slow = [
    Buffer.concat([u32(64), randomBytes(12)]),
    preface.subarray(0, 16),
    control(1, 48),
    Buffer.from("GET /metrics HTTP"),
  ].map((text) => loris(target, text));
  try {
    await pause(500);
    await meanwhile();
    sockets.push(...(await Promise.all(slow)));
  } finally {
    for (const socket of [...sockets, ...(await Promise.all(slow))]) socket.destroy();
    await Promise.all(sockets.map(closed));
  }
}

export interface Held {
  readonly fds: number;
  readonly rssMib: number;
  readonly children: number;
}

/** Descriptors, resident memory and children of a process. */
export function heldBy(pid: number): Held {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean);
  return {
    fds: readdirSync(`/proc/${pid}/fd`).length,
    children: children.length,
    rssMib: Math.round(Number(kib) / 1024),
  };
}
