/** What accounts may use in a day, and who has used it up. Pure. */

/** How settings and tables name leases without an account. */
export const noAccount = "-";
const anyAccount = "*";

export interface AccountQuota {
  readonly account: string;
  readonly limitCoreSeconds: number;
  readonly usedCoreSeconds: number;
}

/** A lease that lives, as far as the accounting has not heard of it yet. */
export interface Running {
  readonly leaseId: string;
  readonly account: string;
  readonly cores: number;
  readonly grantedUnixMs: number;
}

/** Core-seconds a day; undefined: no limit. */
export function quotaOf(quota: Readonly<Record<string, number>>, account: string): number | undefined {
  const name = account === "" ? noAccount : account;
  if (Object.hasOwn(quota, name)) return quota[name];
  return Object.hasOwn(quota, anyAccount) ? quota[anyAccount] : undefined;
}

/** What was stored of today, and what leases that live have held since their last record. */
export function usedNow(
  stored: ReadonlyMap<string, number>,
  running: Iterable<Running>,
  told: ReadonlyMap<string, number>,
  dayStartUnixMs: number,
  nowUnixMs: number,
): Map<string, number> {
  const used = new Map(stored);
  for (const { leaseId, account, cores, grantedUnixMs } of running) {
    const sinceMs = Math.max(dayStartUnixMs, told.get(leaseId) ?? grantedUnixMs);
    const coreSeconds = (cores * Math.max(0, nowUnixMs - sinceMs)) / 1000;
    used.set(account, (used.get(account) ?? 0) + coreSeconds);
  }
  return used;
}

/** Accounts with nothing left: those that used something, and those that may use nothing at all. */
export function exhausted(
  quota: Readonly<Record<string, number>>,
  used: ReadonlyMap<string, number>,
): AccountQuota[] {
  const named = Object.keys(quota)
    .filter((name) => name !== anyAccount)
    .map((name) => (name === noAccount ? "" : name));
  const accounts = new Set([...used.keys(), ...named]);
  const found: AccountQuota[] = [];
  for (const account of [...accounts].sort()) {
    const limitCoreSeconds = quotaOf(quota, account);
    const usedCoreSeconds = used.get(account) ?? 0;
    if (limitCoreSeconds !== undefined && usedCoreSeconds >= limitCoreSeconds)
      found.push({ account, limitCoreSeconds, usedCoreSeconds });
  }
  return found;
}
