/**
 * What an agent leaves with the starter about a guest, so that its next life can adopt it: one line of JSON, an
 * array (256 of them must fit into one frame of LIST), version first. The starter's socket is root's, and so is the
 * token in here. Read with suspicion: what does not fit exactly is no meta.
 */

import { z } from "zod";
import { formatCpuList, parseCpuList } from "../../src/common/cpulist.ts";
import type { AdoptedGuest } from "../reactor/events.ts";
import type { Guest } from "../reactor/state.ts";

const version = 1;
const id32 = z.int().min(0).max(0xffff_ffff);
const amount = z.int().min(0);

const shape = [
  z.literal(version),
  z.enum(["function", "region"]),
  z.enum(["idle", "unallocated", "shared"]),
  z.string().max(1024), // cores, as a CPU list
  amount, // memory, bytes
  amount.min(1), // term, ms
  id32, // uid of the guest
  id32, // owner: uid, gid, job, node
  id32,
  id32,
  z.string().max(64),
  amount, // granted, unix ms
  z.string().regex(/^[A-Za-z0-9_-]{43}$/), // token, base64url
] as const;
const name = z.string().regex(/^[A-Za-z0-9_-]{1,63}$/);
/** One that came from the pool has a name of its own for its cgroup; a region may have a durability. */
const schema = z.union([
  z.tuple(shape),
  z.tuple([...shape, name]),
  z.tuple([...shape, z.union([name, z.literal("")]), z.enum(["evacuated", "mirrored"])]),
]);

export function guestMeta({ lease, uid, grantedUnixMs, token }: Guest, name?: string): string {
  const { owner } = lease;
  const whole = Math.round(grantedUnixMs);
  const term = Math.max(1, Math.round(lease.termMs));
  const durable = lease.durability !== undefined && lease.durability !== "ephemeral";
  return JSON.stringify([
    version,
    lease.kind,
    lease.class,
    formatCpuList(lease.cores),
    lease.memoryBytes,
    term,
    uid,
    owner.uid,
    owner.gid,
    owner.jobId,
    owner.node,
    whole,
    Buffer.from(token, "hex").toString("base64url"),
    ...(durable ? [name ?? "", lease.durability] : name === undefined ? [] : [name]),
  ]);
}

/** A guest of an earlier life, and the name of its cgroup where that is not the lease's. */
export type FoundGuest = AdoptedGuest & { readonly name?: string };

const jobAt = 9;

/** The same meta for whichever job it will be: `mark` stands where its number does. */
export function metaForAnyJob(meta: string, mark: string): string {
  const values: unknown[] = JSON.parse(meta);
  return JSON.stringify(values.with(jobAt, mark)).replace(JSON.stringify(mark), () => mark);
}

/** The guest that the line describes; undefined when it is not ours. */
export function parseMeta(line: string, leaseId: string, port: number): FoundGuest | undefined {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return undefined; // Not JSON: written by something else.
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) return undefined;
  const [, kind, capacityClass, cpus, memoryBytes, termMs, uid, ownerUid, gid, jobId, node, granted, token] =
    parsed.data;
  const [own, durability] = parsed.data.slice(13) as [string?, ("evacuated" | "mirrored")?];
  let cores: number[];
  try {
    cores = parseCpuList(cpus);
  } catch {
    return undefined; // Nor does a list that is none come from us.
  }
  return {
    lease: {
      id: leaseId,
      kind,
      state: "ACTIVE",
      reason: undefined,
      class: capacityClass,
      cores,
      memoryBytes,
      owner: { uid: ownerUid, gid, jobId, node },
      termMs,
      expiresAtMs: 0,
      ...(durability === undefined ? {} : { durability }),
    },
    uid,
    grantedUnixMs: granted,
    token: Buffer.from(token, "base64url").toString("hex"),
    port,
    cores,
    ...(own === undefined || own === "" ? {} : { name: own }),
  };
}
