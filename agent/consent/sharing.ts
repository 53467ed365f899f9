/**
 * Whose neighbour a guest may be, on this node and now: what the jobs' owners, the site and Slurm said, and what the jobs
 * use (src/capacity has the rules). Pure, part of the reactor.
 *
 * A job's own word comes by hooks (state.said); what these do not say (no plugin, no prolog) comes from the controller's
 * view of Slurm (state.facts), and may come late: then guests that may not be there are ended when it comes. Any word of a
 * hook about a job means that it is about to use its cores: all that it shares is its own again, until it has been
 * watched anew.
 */
import { followUse } from "../../src/capacity/shared.ts";
import { type JobOnNode, refusesNeighbours, sharedCores } from "../../src/capacity/spare.ts";
import type { Consent, Lease, SlurmJobFacts } from "../../src/common/nouns.ts";
import type { ConsentConfig } from "../../src/config/consent.ts";
import type { Draft } from "../reactor/draft.ts";
import type { AgentEvent } from "../reactor/events.ts";
import type { AgentState } from "../reactor/state.ts";

type Event<T extends AgentEvent["type"]> = Extract<AgentEvent, { type: T }>;
type Known = Pick<AgentState, "setup" | "jobs" | "said" | "facts" | "uses">;

/** More jobs than fit on one node. */
export const maxFacts = 1024;

/** The narrowest rule that names the job; the site's default is a word only where it is "share". */
export function ruleOf(
  rules: Pick<ConsentConfig, "default" | "account" | "qos" | "partition">,
  job: Pick<SlurmJobFacts, "account" | "qos" | "partition">,
): Consent | undefined {
  const of = (table: Readonly<Record<string, Consent>>, name: string): Consent | undefined =>
    Object.hasOwn(table, name) ? table[name] : undefined;
  return (
    of(rules.account, job.account) ??
    of(rules.qos, job.qos) ??
    of(rules.partition, job.partition) ??
    (rules.default === "share" ? "share" : undefined)
  );
}

/** undefined: nobody said anything about this job. */
export function consentOf({ setup, said, facts }: Known, jobId: number): Consent | undefined {
  const word = said.get(jobId);
  const fact = facts.get(jobId);
  const name = (key: "account" | "qos" | "partition"): string => word?.[key] || fact?.[key] || "";
  const named = { account: name("account"), qos: name("qos"), partition: name("partition") };
  return word?.consent ?? ruleOf(setup.consent, named);
}

/** The jobs whose cores are known, as the capacity rules want them. */
export function jobsOnNode(state: Known): readonly JobOnNode[] {
  return [...state.jobs.values()].flatMap((job) => {
    if (job.cores === undefined) return [];
    const use = state.uses.get(job.jobId);
    return [
      {
        jobId: job.jobId,
        cores: job.cores,
        memoryLimitBytes: job.memoryLimitBytes,
        memoryUsedBytes: job.memoryUsedBytes,
        exclusive: state.facts.get(job.jobId)?.exclusive ?? false,
        consent: consentOf(state, job.jobId),
        unusedCores: use?.cores ?? [],
        unusedBytes: Math.min(use?.memoryBytes ?? 0, job.memoryLimitBytes ?? 0),
      },
    ];
  });
}

/** Jobs whose use is worth looking at. */
export function sharingJobs(state: Known): readonly JobOnNode[] {
  return jobsOnNode(state).filter((job) => job.consent === "share");
}

/** May this lease not be here (any more)? */
export function unwanted(state: Known): (lease: Lease) => boolean {
  const { unallocated } = state.setup.consent;
  const refused = [...state.jobs.values()].some(({ jobId }) =>
    refusesNeighbours(
      { consent: consentOf(state, jobId), exclusive: state.facts.get(jobId)?.exclusive ?? false },
      unallocated,
    ),
  );
  const jobs = jobsOnNode(state);
  const held = new Set(jobs.flatMap((job) => job.cores));
  const shared = new Set(sharedCores(jobs, state.setup.siblings));
  return (lease) =>
    refused || (lease.class === "shared" && lease.cores.some((core) => held.has(core) && !shared.has(core)));
}

export function onUse(draft: Draft, event: Event<"use">): void {
  const { quietMs, memoryMarginBytes } = draft.setup.consent;
  for (const [jobId, sample] of event.samples) {
    const cores = draft.jobs.get(jobId)?.cores;
    if (cores === undefined) continue;
    const rules = { quietMs, marginBytes: memoryMarginBytes };
    draft.uses.set(jobId, followUse(draft.uses.get(jobId), sample, cores, rules));
  }
}

/** The controller's word on all jobs of this node; it replaces the last. */
export function onFacts(draft: Draft, event: Event<"facts">): void {
  draft.facts = new Map(event.jobs.slice(0, maxFacts).map((job) => [job.jobId, job]));
}
