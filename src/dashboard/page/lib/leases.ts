/** Live leases, kept up by the stream, and those that ended while one looked. Free of the DOM. */
import type { LeaseChanges, LeaseRow } from "../../api.ts";

export interface LeaseView {
  readonly live: ReadonlyMap<string, LeaseRow>;
  /** Newest first. */
  readonly ended: readonly (LeaseRow & { readonly endedAtMs: number })[];
}

const maxEnded = 200;

export function withChanges(view: LeaseView, changes: LeaseChanges): LeaseView {
  const live = new Map(view.live);
  for (const lease of changes.live) live.set(lease.id, lease);
  for (const { id } of changes.ended) live.delete(id);
  const fresh = changes.ended.map((lease) => ({ ...lease, endedAtMs: changes.atMs }));
  const again = new Set(fresh.map(({ id }) => id));
  const ended = [...fresh, ...view.ended.filter(({ id }) => !again.has(id))];
  return { live, ended: ended.slice(0, maxEnded) };
}

export function leaseView(rows: readonly LeaseRow[], ended: LeaseView["ended"] = []): LeaseView {
  return { live: new Map(rows.map((lease) => [lease.id, lease])), ended };
}
