/**
 * A fake of sublet-starter for tests: speaks its protocol, starts no executor. `figures` names the file that CODE answers with;
 * without it there is no such verb. With `processes` each START runs a
 * `sleep` in the lease's cgroups, so that there is something to kill.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { decodeFields, encodeFields, type Field, fieldOf } from "../../../agent/executor/protocol.ts";
import { FrameReader } from "../../../src/rpc/local.ts";

export interface FakeStarter {
  readonly path: string;
  /** Requests as they came, verbs and leases. */
  readonly seen: { verb: string; lease: string }[];
  /** Requests CODE, without verb and id. */
  readonly code: Record<string, string>[];
  /** Folders that PATHS told. */
  readonly paths: string[][];
  readonly live: Map<string, { fields: Field[]; child: ChildProcess | undefined; redeemedUnixMs?: number }>;
  /** Set to hold back answers to START, or to fail them. */
  mode: "answer" | "silent" | "fail";
  /** What was prepared is known no more. */
  forget(): void;
  /** An executor ends by itself. */
  exit(lease: string): void;
  /** Sends raw bytes to all peers. */
  garble(bytes: Buffer): void;
  close(): Promise<void>;
}

function runSleep(dirs: readonly string[]): Promise<ChildProcess> {
  return new Promise((resolve, reject) => {
    const child = spawn("sleep", ["600"], { stdio: "ignore" });
    child.once("error", reject);
    child.once("spawn", () => {
      try {
        for (const dir of dirs) writeFileSync(join(dir, "cgroup.procs"), `${child.pid}`);
        resolve(child);
      } catch (thrown) {
        child.kill("SIGKILL");
        reject(thrown);
      }
    });
  });
}

export async function fakeStarter(
  path: string,
  options: { processes?: boolean; figures?: string } = {},
): Promise<FakeStarter> {
  const sockets = new Set<Socket>();
  const prepared = new Set<string>();
  let nextPort = 40_000;

  function tell(fields: readonly Field[]): void {
    for (const socket of sockets) socket.write(encodeFields(fields));
  }

  async function start(fields: Field[]): Promise<Field[]> {
    const lease = fieldOf(fields, "lease") ?? "";
    if (fake.mode === "fail") throw new Error("told to fail");
    if (fake.live.has(lease)) throw new Error("lease is live");
    const dirs = fields.filter(([key]) => key === "cgroup").map(([, value]) => value);
    const pool = fieldOf(fields, "pool");
    if (pool !== undefined && !prepared.delete(pool)) throw new Error(`no guest ${pool} is prepared`);
    const child = options.processes === true ? await runSleep(dirs) : undefined;
    fake.live.set(lease, { fields, child });
    child?.once("exit", () => fake.exit(lease));
    nextPort += 1;
    return [
      ["pid", `${child?.pid ?? 1}`],
      ["port", `${nextPort}`],
      ["start", "1"],
    ];
  }

  async function answer(fields: Field[]): Promise<Field[]> {
    const verb = fieldOf(fields, "verb") ?? "";
    const lease = fieldOf(fields, "lease") ?? "";
    if (verb === "START") return start(fields);
    if (verb === "PREPARE") {
      if (options.processes === true) throw new Error("prepares nothing");
      prepared.add(lease);
      return [["port", `${++nextPort}`]];
    }
    if (verb === "LIST")
      return [...fake.live].flatMap(([id, guest]): Field[] => [
        [
          "executor",
          [
            id,
            guest.child?.pid ?? 1,
            1,
            4242,
            ...(guest.redeemedUnixMs === undefined ? [] : [guest.redeemedUnixMs]),
          ].join(" "),
        ],
        ["meta", fieldOf(guest.fields, "meta") ?? ""],
      ]);
    if (verb === "STOP") {
      if (prepared.delete(lease)) return [];
      const guest = fake.live.get(lease);
      if (guest === undefined) throw new Error("no such lease");
      fake.live.delete(lease);
      guest.child?.kill("SIGKILL");
      return [];
    }
    if (verb === "PATHS" && options.figures !== undefined) return [];
    if (verb === "CODE" && options.figures !== undefined) return [["figures", options.figures]];
    throw new Error("unknown verb");
  }

  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    const reader = new FrameReader();
    socket.on("data", (chunk: Buffer) => {
      for (const body of reader.push(chunk)) {
        const fields = decodeFields(body);
        const id = fieldOf(fields, "id") ?? "0";
        fake.seen.push({ verb: fieldOf(fields, "verb") ?? "", lease: fieldOf(fields, "lease") ?? "" });
        if (fieldOf(fields, "verb") === "CODE") fake.code.push(Object.fromEntries(fields.slice(2)));
        if (fieldOf(fields, "verb") === "PATHS") fake.paths.push(fields.slice(2).map(([, value]) => value));
        if (fake.mode === "silent" && fieldOf(fields, "verb") === "START") continue;
        answer(fields).then(
          (lines) => {
            // One guest a frame: the real one does this when they do not fit into one.
            let rest = lines;
            for (; fieldOf(fields, "verb") === "LIST" && rest.length > 2; rest = rest.slice(2))
              socket.write(encodeFields([["id", id], ["ok", "1"], ...rest.slice(0, 2), ["more", "1"]]));
            socket.write(encodeFields([["id", id], ["ok", "1"], ...rest]));
          },
          (thrown: unknown) =>
            socket.write(
              encodeFields([
                ["id", id],
                ["error", thrown instanceof Error ? thrown.message : "?"],
              ]),
            ),
        );
      }
    });
  });

  const fake: FakeStarter = {
    path,
    seen: [],
    code: [],
    paths: [],
    live: new Map(),
    mode: "answer",
    forget: () => prepared.clear(),
    exit(lease) {
      if (!fake.live.delete(lease)) return;
      tell([
        ["verb", "EXITED"],
        ["lease", lease],
        ["status", "9"],
      ]);
    },
    garble(bytes) {
      for (const socket of sockets) socket.write(bytes);
    },
    close: () =>
      new Promise((resolve) => {
        for (const { child } of fake.live.values()) child?.kill("SIGKILL");
        fake.live.clear();
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return fake;
}

/** Waits until `check` holds, by looking often; the test fails after `timeoutMs`. */
export async function eventually(what: string, check: () => boolean, timeoutMs = 5_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!check()) {
    if (performance.now() > endMs) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
