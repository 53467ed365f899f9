/**
 * The off switch. `sublet drain --all` is meant for every node, those included whose agents are away at that moment: it is kept
 * in `drain.json` below state_dir until somebody resumes, and each agent that comes (back) while it stands is told.
 *
 * Races and restarts: it is written before anybody is told, so that a controller that dies on the way goes on with it when
 * it is back. Nodes that were resumed by name are let be. A file that cannot be read counts as a drain of all, by root: in doubt
 * nothing is lent. An agent that was told and restarts keeps it itself (its drained.json); being told twice changes nothing.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { z } from "zod";
import { toSubletError } from "../common/errors.ts";

const schema = z.strictObject({
  uid: z.int().min(0),
  gid: z.int().min(0),
  mode: z.enum(["RECLAIM_MODE_UNSPECIFIED", "RECLAIM_MODE_IMMEDIATE", "RECLAIM_MODE_GRACEFUL"]),
  budgetMs: z.int().min(0),
  reason: z.string(),
  sinceUnixMs: z.int().min(0),
  /** Resumed by name since. */
  except: z.array(z.string()),
});

export type StandingDrain = z.infer<typeof schema>;

export interface ClusterDrain {
  standing(): StandingDrain | undefined;
  /** Why it could not be kept; undefined: it is. It stands either way, for as long as this controller lives. */
  begin(drain: Omit<StandingDrain, "except">): string | undefined;
  /** Likewise: of these nodes only, or, without names, of all. */
  end(nodes?: readonly string[]): string | undefined;
  /** The agent of this node has come. */
  onJoined(node: string): void;
  /** Nodes that have come and are still to be told, at most so many; none of them comes again within some seconds. */
  owed(most: number, nowMs: number): string[];
  /** It was told, or drained by itself. */
  done(node: string): void;
}

/** After one try in vain. */
const againMs = 5_000;

function read(path: string): StandingDrain | undefined {
  try {
    return schema.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return undefined;
    const reason = `${path} cannot be read: in doubt nothing is lent`;
    const mode = "RECLAIM_MODE_UNSPECIFIED";
    return { uid: 0, gid: 0, mode, budgetMs: 0, reason, sinceUnixMs: 0, except: [] };
  }
}

function keep(path: string, drain: StandingDrain | undefined): string | undefined {
  try {
    if (drain === undefined) rmSync(path, { force: true });
    else {
      mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
      writeFileSync(`${path}.new`, `${JSON.stringify(drain)}\n`, { mode: 0o640, flush: true });
      renameSync(`${path}.new`, path);
    }
    return undefined;
  } catch (thrown) {
    return toSubletError(thrown).message;
  }
}

export function clusterDrain(path: string): ClusterDrain {
  let drain = read(path);
  /** When each may be told next. */
  const waiting = new Map<string, number>();

  return {
    standing: () => drain,
    begin(next) {
      drain = { ...next, except: [] };
      return keep(path, drain);
    },
    end(nodes) {
      if (drain === undefined) return undefined;
      if (nodes === undefined) {
        drain = undefined;
        waiting.clear();
      } else {
        drain = { ...drain, except: [...new Set([...drain.except, ...nodes])] };
        for (const node of nodes) waiting.delete(node);
      }
      return keep(path, drain);
    },
    onJoined(node) {
      if (drain !== undefined && !drain.except.includes(node)) waiting.set(node, 0);
    },
    owed(most, nowMs) {
      const nodes: string[] = [];
      for (const [node, atMs] of waiting) {
        if (nodes.length >= most) break;
        if (atMs > nowMs) continue;
        waiting.set(node, nowMs + againMs);
        nodes.push(node);
      }
      return nodes;
    },
    done: (node) => void waiting.delete(node),
  };
}
