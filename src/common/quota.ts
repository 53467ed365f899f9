/** What a lease request is told whose account has used what it may use in a day: by the controller, or by an agent. */
import { SubletError } from "./errors.ts";

export interface Exhausted {
  /** Empty: leases without an account. */
  readonly account: string;
  readonly limitCoreSeconds: number;
  readonly usedCoreSeconds: number;
  readonly resetsInMs: number;
  readonly timeZone: string;
}

function inWords(ms: number): string {
  const minutes = Math.max(1, Math.ceil(ms / 60_000));
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function quotaRefusal(by: Exhausted, node = ""): SubletError {
  const who = by.account === "" ? "leases without a Slurm account have" : `account ${by.account} has`;
  const used = `${Math.floor(by.usedCoreSeconds)} of ${by.limitCoreSeconds} core-seconds today`;
  const again = `again at midnight (${by.timeZone}), in ${inWords(by.resetsInMs)}`;
  return new SubletError("RESOURCE_EXHAUSTED", `${who} used ${used}: leases are granted ${again}`, {
    details: { reason: "quota", node, retryAfterMs: Math.max(1, Math.round(by.resetsInMs)) },
  });
}
