/**
 * Usage records as agents report them, checked one by one: one that cannot be is dropped and acknowledged, or its agent
 * would send it for ever. Accounts that an agent did not know are filled in from Slurm's view of the owner's jobs.
 */
import { toSubletError } from "../common/errors.ts";
import { type Billing, type UsageRecord, usageKey } from "../common/nouns.ts";
import { usageFromWire } from "../rpc/convert.ts";
import type { UsageRecordMessage } from "../rpc/messages.ts";
import type { ClusterSnapshot } from "../slurm/snapshot.ts";

export interface CheckedUsage {
  readonly records: readonly UsageRecord[];
  /** Keys of those that cannot be. */
  readonly invalid: readonly string[];
  /** Why the last of them cannot. */
  readonly why: string;
}

const leaseIdPattern = /^[A-Za-z0-9_-]{1,63}$/;
const maxName = 255;
const maxKey = 128;

/** Why a record cannot be; undefined: it can. */
function fault(record: UsageRecordMessage, node: string): string | undefined {
  if (!leaseIdPattern.test(record.leaseId)) return "lease_id is not one";
  if (record.node !== node) return "it is said to be of another node";
  if (record.account.length > maxName || record.partition.length > maxName) return "a name is too long";
  const whole = [record.slice, record.memoryBytes, record.invocations, record.beginUnixMs, record.endUnixMs];
  if (!whole.every((value) => Number.isSafeInteger(value) && value >= 0)) return "a number is out of bounds";
  const lengthSeconds = (record.endUnixMs - record.beginUnixMs) / 1000;
  if (lengthSeconds < 0) return "it ends before it begins";
  // A millisecond more, for what was rounded.
  const most = (lengthSeconds + 0.001) * (1 + 1e-9);
  const sums = [
    [record.coreSeconds, record.cores],
    [record.byteSeconds, record.memoryBytes],
  ] as const;
  if (!sums.every(([sum, held]) => Number.isFinite(sum) && sum >= 0 && sum <= most * held))
    return "it holds more than its span of time can";
  return undefined;
}

export function checkUsage(messages: readonly UsageRecordMessage[], node: string): CheckedUsage {
  const records: UsageRecord[] = [];
  const invalid: string[] = [];
  let why = "";
  for (const message of messages) {
    let wrong = fault(message, node);
    try {
      if (wrong === undefined) records.push(usageFromWire(message));
    } catch (thrown) {
      wrong = toSubletError(thrown).message;
    }
    if (wrong === undefined) continue;
    invalid.push(usageKey(message).slice(0, maxKey));
    why = wrong;
  }
  return { records, invalid, why };
}

/** Jobs are remembered for a while after they ended: the last record of a lease comes later. */
const maxJobs = 100_000;

/** Whose account: by the job that a client named, if that is his, else by a job of his that runs. */
export class BillingBook {
  readonly #jobs = new Map<number, Billing & { readonly uid: number }>();
  readonly #names = new Map<number, string>();
  #users = new Map<number, Billing>();
  #snapshot: ClusterSnapshot | undefined;

  /** Users by uid. */
  get names(): ReadonlyMap<number, string> {
    return this.#names;
  }

  learn(snapshot: ClusterSnapshot | undefined): void {
    if (snapshot === undefined || snapshot === this.#snapshot) return;
    this.#snapshot = snapshot;
    const users = new Map<number, Billing & { readonly jobId: number }>();
    for (const { id, uid, user, account, partitions, state } of snapshot.jobs) {
      const billing = { account: account ?? "", partition: partitions[0] ?? "" };
      this.#jobs.delete(id); // Told last, forgotten last.
      this.#jobs.set(id, { ...billing, uid });
      if (user !== "") this.#names.set(uid, user);
      const known = users.get(uid);
      if (state === "pending" || (known !== undefined && known.jobId < id)) continue;
      users.set(uid, { ...billing, jobId: id });
    }
    this.#users = users;
    for (const id of this.#jobs.keys()) {
      if (this.#jobs.size <= maxJobs) break;
      this.#jobs.delete(id);
    }
  }

  of(uid: number, jobId: number): Billing {
    const job = this.#jobs.get(jobId);
    const { account, partition } = (job?.uid === uid ? job : this.#users.get(uid)) ?? {
      account: "",
      partition: "",
    };
    return { account, partition };
  }

  /** The record with what its agent did not know. */
  filled(record: UsageRecord): UsageRecord {
    return record.account === "" ? { ...record, ...this.of(record.uid, record.jobId) } : record;
  }
}
