/**
 * Where the data path is measured: two network namespaces joined by a veth pair, as two nodes are, and executors with
 * as much of an agent as a lease asks for. Everything ends with this process: programs by their standard input,
 * namespaces by the holder that keeps them.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "../../../deploy/testbed/shell.ts";
import { endProgram, type Measurer, nextLine, startMeasurer, startProgram } from "./measurer.ts";

export const root = fileURLToPath(new URL("../../../", import.meta.url));
export const native = join(root, "build/native");
const bin = (name: string) => join(native, "bin", name);

/** One side of a link: `enter` runs a command there. */
export interface Side {
  readonly address: string;
  readonly netns?: string;
  readonly enter: readonly string[];
}

export interface Path {
  readonly name: "loopback" | "veth";
  readonly here: Side;
  readonly there: Side;
}

export interface Stage {
  readonly folder: string;
  readonly loopback: Path;
  readonly veth: Path;
  /** An executor on core 1 of `path`'s other side, and a client of it on core 0 of this side. */
  function(options: FunctionOptions): Promise<{ readonly measurer: Measurer; readonly pid: number }>;
  region(options: { readonly path: Path; readonly shared: boolean; readonly mib: number }): Promise<Measurer>;
  /** A client, an executor on core 1, and one on core 0 that functions of the first call. */
  nested(path: Path): Promise<Measurer>;
  /** A region alone: the socket of its agent, the pid of its executor. */
  regionPlace(options: {
    readonly path: Path;
    readonly shared: boolean;
    readonly mib: number;
  }): Promise<{ readonly socket: string; readonly pid: number }>;
  floor(path: Path): Measurer;
  close(): Promise<void>;
}

export interface FunctionOptions {
  readonly path: Path;
  /** By the ring, or by TCP. */
  readonly shared: boolean;
  readonly spinUs: number;
  readonly slots: number;
  readonly bytes: number;
}

/** A process that keeps a new network namespace, and ends with ours. */
async function holdNamespace(): Promise<{ pid: number; close: () => Promise<void> }> {
  const { child, lines } = startProgram([
    "unshare",
    "--net",
    "sh",
    "-c",
    "ip link set lo up; echo up; read -r _",
  ]);
  await nextLine(child, lines, "unshare", 10_000);
  return { pid: child.pid ?? 0, close: () => endProgram(child) };
}

async function joinByVeth(a: number, b: number): Promise<readonly [Side, Side]> {
  const inside = (pid: number) => ["nsenter", `--net=/proc/${pid}/ns/net`];
  const sides = [
    { pid: a, address: "10.213.0.1" },
    { pid: b, address: "10.213.0.2" },
  ] as const;
  await run([
    ...inside(a),
    "ip",
    "link",
    "add",
    "eth0",
    "type",
    "veth",
    "peer",
    "name",
    "eth0",
    "netns",
    `${b}`,
  ]);
  for (const { pid, address } of sides)
    await run([...inside(pid), "ip", "-batch", "-"], {
      input: `addr add ${address}/24 dev eth0\nlink set eth0 up\n`,
    });
  const side = ({ pid, address }: { pid: number; address: string }): Side => ({
    address,
    netns: `/proc/${pid}/ns/net`,
    enter: inside(pid),
  });
  return [side(sides[0]), side(sides[1])];
}

/** CPU time of a process and all below it, in seconds: what the kernel's scheduler says, to the nanosecond. */
export function cpuSeconds(pid: number): number {
  let nanoseconds = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")[0]);
    const children = readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").trim();
    for (const child of children === "" ? [] : children.split(" "))
      nanoseconds += cpuSeconds(Number(child)) * 1e9;
  }
  return nanoseconds / 1e9;
}

export async function openStage(): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), "sublet-bench-"));
  const closers: (() => Promise<void>)[] = [];
  let sockets = 0;
  const [a, b] = await Promise.all([holdNamespace(), holdNamespace()]);
  closers.push(a.close, b.close);
  const [here, there] = await joinByVeth(a.pid, b.pid);
  const local: Side = { address: "127.0.0.1", enter: [] };

  const executor = async (path: Path, shared: boolean, core: string, spinUs: number, mib: number) => {
    const socket = join(folder, `agent-${sockets++}.sock`);
    const words = [socket, path.there.address, shared ? "SHARED" : "APART", core, `${spinUs}`, `${mib}`];
    const { child, lines } = startProgram([
      ...path.there.enter,
      "taskset",
      "-c",
      "1",
      bin("sublet-bench-stage"),
      ...words,
    ]);
    closers.push(() => endProgram(child));
    const pid = Number(await nextLine(child, lines, "the executor", 20_000));
    return { socket, pid };
  };
  const client = (path: Path, socket: string, words: readonly string[]): Measurer => {
    const argv = [...path.here.enter, bin("sublet-call-bench"), ...words];
    const measurer = startMeasurer("sublet-call-bench", argv, { SUBLET_AGENT_SOCKET: socket });
    closers.push(() => measurer.close());
    return measurer;
  };
  return {
    folder,
    loopback: { name: "loopback", here: local, there: local },
    veth: { name: "veth", here, there },
    async function({ path, shared, spinUs, slots, bytes }) {
      const { socket, pid } = await executor(path, shared, "1", spinUs, 0);
      const library = join(native, "functions/libbench.so");
      return { measurer: client(path, socket, ["function", library, `${slots}`, `${bytes}`]), pid };
    },
    async region({ path, shared, mib }) {
      const { socket } = await executor(path, shared, "none", 0, mib);
      return client(path, socket, ["region", `${mib}`]);
    },
    async nested(path) {
      const outer = await executor(path, false, "1", 2000, 0);
      const inner = await executor(path, false, "0", 0, 0);
      return client(path, outer.socket, ["nested", join(native, "functions/libsum.so"), inner.socket]);
    },
    regionPlace: ({ path, shared, mib }) => executor(path, shared, "none", 0, mib),
    floor(path) {
      const to = [path.there.address, ...(path.there.netns === undefined ? [] : [path.there.netns])];
      const measurer = startMeasurer("sublet-floor-bench", [
        ...path.here.enter,
        bin("sublet-floor-bench"),
        ...to,
      ]);
      closers.push(() => measurer.close());
      return measurer;
    },
    async close() {
      for (const close of closers.reverse()) await close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
