/** Looks at this node for `sublet doctor`. Changes nothing; every question has a deadline. */
import { constants } from "node:fs";
import { access, stat, statfs } from "node:fs/promises";
import { request } from "node:http";
import { networkInterfaces } from "node:os";
import { dirname, join } from "node:path";
import { mungeIdentity } from "../../rpc/munge.ts";
import { type Session, withAgent, withController } from "../session.ts";
import { asked, readOptional, runSlurm } from "./ask.ts";
import { knobPaths } from "./checks.ts";
import type { Facts, FolderFacts } from "./facts.ts";
import { clockOffsetMs, parseCgroupMounts, parseSlurmConfig } from "./parse.ts";
import { readWiring } from "./wiring.ts";

const slurmCommands = ["scontrol", "sinfo", "squeue", "sbatch"];

async function findCommand(name: string): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? "").split(":")) {
    const path = join(folder === "" ? "." : folder, name);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

/** Those of the programs that can be read and are text. */
async function readScripts(paths: readonly (string | undefined)[]): Promise<Record<string, string>> {
  const texts = await Promise.all(
    paths
      .filter((path) => path?.startsWith("/") === true)
      .map(async (path = "") => [path, (await readOptional(path)) ?? ""] as const),
  );
  return Object.fromEntries(texts.filter(([, text]) => text.startsWith("#!")));
}

/** Those that are there. */
async function readFolders(paths: readonly (string | undefined)[]): Promise<FolderFacts[]> {
  const wanted = [...new Set(paths.filter((path) => path !== undefined && path !== ""))];
  const found = await Promise.all(
    wanted.map((path = "") =>
      asked(async (): Promise<FolderFacts> => {
        const { bavail, bsize, files, ffree } = await statfs(path);
        return { path, freeBytes: bavail * bsize, freeFiles: files === 0 ? undefined : ffree };
      }),
    ),
  );
  return found.flatMap((each) => (each.ok ? [each.value] : []));
}

/** The controller's metrics port answers with its time. */
function askClock(controller: string, timeoutMs: number): Promise<number> {
  const host = controller.slice(0, controller.lastIndexOf(":")).replace(/^\[(.*)\]$/, "$1");
  return new Promise((resolve, reject) => {
    const sentUnixMs = Date.now();
    const call = request(
      { host, port: 7703, path: "/healthz", method: "HEAD", timeout: timeoutMs },
      (response) => {
        response.resume();
        const { date } = response.headers;
        if (date === undefined) reject(new Error("its answer has no date"));
        else resolve(clockOffsetMs(date, sentUnixMs, Date.now()));
      },
    );
    call.once("timeout", () => call.destroy(new Error(`${host}:7703 did not answer within ${timeoutMs} ms`)));
    call.once("error", reject);
    call.end();
  });
}

async function askMunge(socket: string | undefined): Promise<number> {
  const identity = mungeIdentity({ socket });
  const audience = "doctor:0";
  const method = "/sublet.v1/doctor";
  return (await identity.verify(await identity.credential(audience, method), [audience], method)).uid;
}

export async function gatherFacts(session: Session): Promise<Facts> {
  const { config } = session;
  const { timeoutMs, controller, agentSocket, starterSocket } = config;
  const mounts = parseCgroupMounts((await readOptional("/proc/self/mounts")) ?? "");
  const v2 =
    mounts.v2Dir === undefined
      ? undefined
      : {
          dir: mounts.v2Dir,
          controllers: ((await readOptional(join(mounts.v2Dir, "cgroup.controllers"))) ?? "").split(" "),
        };
  const commands = await Promise.all(
    slurmCommands.map(async (name) => [name, await findCommand(name)] as const),
  );
  const knobs = await Promise.all(
    knobPaths.map(async (path) => [path, await readOptional(join("/proc/sys", path))] as const),
  );
  const [ping, slurmConfig, munge, agent, starter, clock, accounting, pressure, meminfo] = await Promise.all([
    asked(() => runSlurm(["ping"], timeoutMs)),
    asked(async () => parseSlurmConfig(await runSlurm(["show", "config"], timeoutMs))),
    asked(() => askMunge(config.mungeSocket)),
    asked(async () => {
      const { offer, controllerConnected, findings } = await withAgent(session, (client) => client.status());
      return { node: offer?.node ?? "", controllerConnected, findings };
    }),
    asked(async () => {
      const found = await stat(starterSocket);
      return { uid: found.uid, mode: found.mode & 0o777, isSocket: found.isSocket() };
    }),
    controller === undefined ? undefined : asked(() => askClock(controller, timeoutMs)),
    controller === undefined
      ? undefined
      : asked(async () => (await withController(session, (client) => client.getUsage({}))).timeZone),
    readOptional("/proc/pressure/cpu"),
    readOptional("/proc/meminfo"),
  ]);
  const node = agent.ok && agent.value.node !== "" ? agent.value.node : undefined;
  const wiring = slurmConfig.ok ? await readWiring(slurmConfig.value, node, timeoutMs) : undefined;
  const stateDir = agent.ok ? agent.value.findings["state.dir"] : undefined;
  const programs = slurmConfig.ok ? [slurmConfig.value.Epilog, slurmConfig.value.HealthCheckProgram] : [];
  return {
    uid: process.getuid?.() ?? -1,
    cgroup: { v1: mounts.v1, v2, readOnly: mounts.readOnly },
    slurm: {
      commands: Object.fromEntries(commands),
      ping,
      config: slurmConfig,
      scripts: await readScripts(programs),
      ...(wiring === undefined ? {} : { wiring }),
    },
    folders: await readFolders([dirname(agentSocket), stateDir]),
    munge,
    agent,
    agentSocket,
    starter,
    starterSocket,
    controller,
    clockOffsetMs: clock,
    accounting,
    addresses: Object.values(networkInterfaces()).flatMap((list) =>
      (list ?? [])
        .filter(({ family, internal }) => family === "IPv4" && !internal)
        .map(({ address }) => address),
    ),
    knobs: Object.fromEntries(knobs),
    pressure: pressure !== undefined,
    swapBytes: Number(/^SwapTotal:\s+(\d+) kB$/m.exec(meminfo ?? "")?.[1] ?? 0) * 1024,
  };
}
