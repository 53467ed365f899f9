/**
 * Whose Slurm account a lease of this node is counted to, and who has nothing left today, as the controllers say. A client
 * names its job, but nobody pays for somebody else's: the job must be his, by Slurm or its hooks; else a job of his that is
 * on this node counts.
 */

import type { SubletError } from "../../src/common/errors.ts";
import type { Billing, Principal } from "../../src/common/nouns.ts";
import { type Exhausted, quotaRefusal } from "../../src/common/quota.ts";
import type { AgentState } from "../reactor/state.ts";
import type { Shell } from "../shell.ts";

/** undefined: no job of the owner's is known here. */
export function billingOf(
  { said, facts }: Pick<AgentState, "said" | "facts">,
  { uid, jobId }: Pick<Principal, "uid" | "jobId">,
): Billing | undefined {
  const named = [facts.get(jobId), said.get(jobId)].find((job) => job?.uid === uid && job.account !== "");
  const job = named ?? [...facts.values()].find((each) => each.uid === uid && each.account !== "");
  return job === undefined ? undefined : { account: job.account, partition: job.partition };
}

interface Told {
  readonly exhausted: readonly Exhausted[];
  readonly atMs: number;
}

/** What each controller said last. It holds until the day is over, also when that controller is not heard any more. */
export class QuotasTold {
  readonly #told = new Map<string, Told>();

  learn(controller: string, exhausted: readonly Exhausted[], nowMs: number): void {
    this.#told.set(controller, { exhausted, atMs: nowMs });
  }

  #now(nowMs: number): Exhausted[] {
    return [...this.#told.values()].flatMap(({ exhausted, atMs }) =>
      exhausted
        .map((each) => ({ ...each, resetsInMs: each.resetsInMs - (nowMs - atMs) }))
        .filter(({ resetsInMs }) => resetsInMs > 0),
    );
  }

  /** Whether this node may grant to the owner without asking a controller; an account that is not known may be any. */
  mayGrant(billing: Billing | undefined, nowMs: number): boolean {
    const exhausted = this.#now(nowMs);
    if (billing === undefined) return exhausted.length === 0;
    return exhausted.every(({ account }) => account !== billing.account);
  }

  /** Whether any account has nothing left. */
  any(nowMs: number): boolean {
    return this.#now(nowMs).length > 0;
  }

  /** What the owner is told; undefined: he may have a lease. */
  refusal(billing: Billing | undefined, node: string, nowMs: number): SubletError | undefined {
    const account = billing?.account ?? "";
    const by = this.#now(nowMs).find((each) => each.account === account);
    return by === undefined ? undefined : quotaRefusal(by, node);
  }
}

/** Accounts and quotas beside a shell: what those ask who grant leases on this node. */
export class Billed {
  readonly #shell: Pick<Shell, "state" | "nowMs">;
  readonly #told = new QuotasTold();

  constructor(shell: Pick<Shell, "state" | "nowMs">) {
    this.#shell = shell;
  }

  learn(controller: string, exhausted: readonly Exhausted[]): void {
    this.#told.learn(controller, exhausted, this.#shell.nowMs());
  }

  of(owner: Pick<Principal, "uid" | "jobId">): Billing | undefined {
    return billingOf(this.#shell.state, owner);
  }

  /** Whether no controller need be asked. */
  mayGrant(owner: Principal): boolean {
    return this.mayGrantTo(this.of(owner));
  }

  /** Whether a lease that is counted to this account may be granted still. */
  mayGrantTo(billing: Billing | undefined): boolean {
    return this.#told.mayGrant(billing, this.#shell.nowMs());
  }

  /** Whether anybody may have a lease, whatever his account. */
  mayGrantAll(): boolean {
    return !this.#told.any(this.#shell.nowMs());
  }

  /** @throws SubletError RESOURCE_EXHAUSTED when the owner's account has nothing left. */
  admit(owner: Principal): Billing | undefined {
    const billing = this.of(owner);
    const refusal = this.#told.refusal(billing, this.#shell.state.setup.node, this.#shell.nowMs());
    if (refusal !== undefined) throw refusal;
    return billing;
  }
}
