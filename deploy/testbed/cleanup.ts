/**
 * Takes a testbed away, whatever state it is in: whole, half started, or with every daemon killed. Safe to repeat.
 * Order: daemons that end by themselves (by pid file), then every process in our namespaces and cgroups, then cgroups,
 * interfaces, mounts, files. Each step looks at what is there, never at what ought to be there.
 */
import { lstatSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { SubletError } from "../../src/common/errors.ts";
import { processesInCgroups, removeCgroups, runsSystemd, testbedCgroups } from "./cgroups.ts";
import { allDaemons, endDaemon, processStat, send } from "./daemons.ts";
import { jobUser } from "./layout.ts";
import { listDir, mountsUnder, processesInside } from "./namespaces.ts";
import { linkNames, removeNetwork } from "./network.ts";
import { attempt, run, until } from "./shell.ts";

/** What of a testbed is on this machine now; all empty after a stop. */
export interface Leftovers {
  readonly processes: readonly number[];
  readonly cgroups: readonly string[];
  readonly links: readonly string[];
  readonly mounts: readonly string[];
  readonly files: readonly string[];
}

export async function findLeftovers(stateDir: string): Promise<Leftovers> {
  return {
    processes: livingProcesses(stateDir),
    cgroups: testbedCgroups(),
    links: await linkNames(),
    mounts: mountsUnder(stateDir),
    files: [...(exists(stateDir) ? [stateDir] : []), ...strayFiles()],
  };
}

/** Exit status of userdel. */
const noSuchUser = 6;

export async function removeTestbed(stateDir: string, userMade: boolean): Promise<void> {
  // Slurm's controller first: it must not see its nodes die one by one. Then agents and controller may end by themselves.
  const alive = new Set(allDaemons(stateDir).flatMap((daemon) => (daemon.alive ? [daemon.name] : [])));
  if (alive.has("slurmctld")) await endDaemon(stateDir, "slurmctld", "SIGKILL");
  const gentle = [...alive].filter((name) => name === "controller" || name.startsWith("agent-"));
  // One that does not end in time is among the processes killed below.
  await Promise.all(gentle.map((name) => endDaemon(stateDir, name, "SIGTERM", 3000).catch(() => false)));
  await killAll(stateDir);
  await endScopes();
  await until("the testbed's cgroups are removed", 10_000, () =>
    removeCgroups().length === 0 ? true : undefined,
  );
  await removeNetwork();
  for (const point of mountsUnder(stateDir).reverse()) await run(["umount", "--lazy", point]);
  // Everything lay on the mounts. Never recursively: a mount that stayed must not lose its files.
  if (exists(stateDir)) rmdirSync(stateDir);
  for (const path of strayFiles()) rmSync(path, { recursive: true, force: true });
  removeIfEmpty("/run/sublet");
  // Refused while a process of its is not reaped yet, and while somebody else changes the list of users.
  if (userMade)
    await until(`user ${jobUser.name} is removed`, 20_000, async () => {
      const { exitCode, stderr } = await attempt(["userdel", jobUser.name]);
      if (exitCode === 0 || exitCode === noSuchUser) return true;
      throw new SubletError("UNAVAILABLE", stderr);
    });
}

function livingProcesses(stateDir: string): number[] {
  const pids = new Set([...processesInside(stateDir), ...processesInCgroups()]);
  return [...pids].filter((pid) => pid !== process.pid && !"ZX".includes(processStat(pid)?.state ?? "X"));
}

/** Kills until nothing is left: jobs and guests may fork while we look. */
async function killAll(stateDir: string): Promise<void> {
  let left: number[] = [];
  try {
    await until(
      "every process of the testbed has ended",
      15_000,
      () => {
        left = livingProcesses(stateDir);
        if (left.length > 0) thaw();
        for (const pid of left) send(pid, "SIGKILL");
        return left.length === 0 ? true : undefined;
      },
      20,
    );
  } catch (error) {
    throw new SubletError("INTERNAL", `processes ${left.join(", ")} of the testbed do not end on SIGKILL`, {
      cause: error,
    });
  }
}

/** A scope whose directory goes without systemd's doing may stay in its books, and Slurm could not have it again. */
async function endScopes(): Promise<void> {
  const scopes = testbedCgroups()
    .map((path) => basename(path))
    .filter((name) => name.endsWith(".scope"));
  if (scopes.length > 0 && runsSystemd()) await attempt(["systemctl", "stop", ...scopes]); // gone by itself: fine
}

/** A frozen process cannot die (cgroup v1). */
function thaw(): void {
  const walk = (dir: string): void => {
    const state = join(dir, "freezer.state");
    if (exists(state)) writeFileSync(state, "THAWED");
    for (const name of listDir(dir)) {
      const child = join(dir, name);
      if (exists(child) && lstatSync(child).isDirectory()) walk(child);
    }
  };
  for (const top of testbedCgroups()) if (exists(join(top, "freezer.state"))) walk(top);
}

/** Session directories that MPI libraries of killed jobs leave in /tmp. */
function strayFiles(): string[] {
  return listDir("/tmp")
    .filter((name) => /^(ompi|openmpi-sessions|pmix|prte)\b.*$/.test(name))
    .map((name) => join("/tmp", name))
    .filter((path) => exists(path) && lstatSync(path).uid === jobUser.uid);
}

function removeIfEmpty(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (!["ENOENT", "ENOTEMPTY", "EBUSY"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}

export function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
