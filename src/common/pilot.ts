/**
 * Where a pilot (agent/pilot/pilot.ts) has its socket, so that both the agent and the command know without asking anyone:
 * `<private tmp>/sublet-pilot-<uid>-<job>-<node>/agent.sock`, mode 700, gone with the pilot.
 */
import { join } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

/** Paths of sockets end at 107 bytes, and an executor's has up to 52 of its own. */
const maxBaseBytes = 20;

/** The job's own tmp where the site has one and it is short enough. */
export function pilotBase(environment: Environment): string {
  const wanted = [environment.SLURM_TMPDIR, environment.TMPDIR];
  return (
    wanted.find((dir) => dir?.startsWith("/") === true && Buffer.byteLength(dir) <= maxBaseBytes) ?? "/tmp"
  );
}

/** All pilots of a user on this node have names that begin so. */
export function pilotPrefix(uid: number): string {
  return `sublet-pilot-${uid}-`;
}

/** And those of one node end so. */
function pilotSuffix(node: string): string {
  return `-${node.slice(0, 12)}`;
}

export function pilotDir(environment: Environment, uid: number, jobId: string, node: string): string {
  return join(pilotBase(environment), `${pilotPrefix(uid)}${jobId}${pilotSuffix(node)}`);
}

/** Whether this is the directory of a pilot of that user on that node: a job has one on each of its nodes, and /tmp may be shared. */
export function isPilotOf(name: string, uid: number, node: string): boolean {
  return name.startsWith(pilotPrefix(uid)) && name.endsWith(pilotSuffix(node));
}
