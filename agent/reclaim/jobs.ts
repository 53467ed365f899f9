/**
 * Taking capacity back for batch jobs. Four messengers, one set of handlers:
 *
 * - The prolog comes first and names a job, not its cores. It takes back ALL leases of the node: which of them are in
 *   the way is not known yet, the job's memory is not either, and a lease that stays costs the job its promise while
 *   one that goes costs a client a call made again. (Once the job's cgroup is there, as at a second prolog, only
 *   what overlaps goes.) Until the cgroup appears, or announceTimeoutMs, the node lends nothing.
 * - A step (SPANK in slurmstepd) names the job's cores and memory, before its cgroup does: what overlaps goes, and the
 *   rest of the node is lent again.
 * - The cgroup tree is the witness: cores that are lent when a job's cpuset shows them go at once, and count as missed.
 *   So does memory, when the limits of the jobs and what is lent exceed the node.
 * - The epilog ends a job. One that a prolog announced keeps its cores until then, though its cgroup may come and go
 *   with its steps.
 *
 * A hook is answered when every guest in its way, and every one that was ending already, is gone.
 */
import { SubletError } from "../../src/common/errors.ts";
import type { EndReason, JobFacts, Lease } from "../../src/common/nouns.ts";
import { revokeLeases } from "../../src/lease/book.ts";
import { jobsOnNode, unwanted } from "../consent/sharing.ts";
import type { SeenJob } from "../jobs/scan.ts";
import { type Draft, endGuests, executorOverheadBytes } from "../reactor/draft.ts";
import type { AgentEvent } from "../reactor/events.ts";
import type { KnownJob, Wait } from "../reactor/state.ts";

type Event<T extends AgentEvent["type"]> = Extract<AgentEvent, { type: T }>;

function overlaps(lease: Lease, cores: readonly number[]): boolean {
  return lease.cores.some((core) => cores.includes(core));
}

function revoke(draft: Draft, inTheWay: (lease: Lease) => boolean, reason: EndReason = "batch_job"): number {
  return endGuests(draft, revokeLeases(draft.book, inTheWay, reason)).length;
}

/**
 * Revokes leases, those of class shared first, the largest first, until what the jobs may use and do not share, and what
 * is lent, fit into the node.
 */
function revokeForMemory(draft: Draft): number {
  const shared = jobsOnNode(draft).reduce(
    (sum, job) => sum + (job.consent === "share" ? job.unusedBytes : 0),
    0,
  );
  const limits = [...draft.jobs.values()].reduce((sum, job) => sum + (job.memoryLimitBytes ?? 0), -shared);
  let excess = limits + draft.setup.reserveMemoryBytes - draft.setup.memoryBytes;
  const live = [...draft.book.leases.values()].sort(
    (a, b) => Number(a.class === "shared") - Number(b.class === "shared") || a.memoryBytes - b.memoryBytes,
  );
  for (const guest of draft.guests.values()) excess += guest.lease.memoryBytes + executorOverheadBytes;
  // What is ending already frees its memory by itself.
  for (const guest of draft.guests.values())
    if (guest.phase === "ending") excess -= guest.lease.memoryBytes + executorOverheadBytes;
  let ended = 0;
  while (excess > 0) {
    const lease = live.pop();
    if (lease === undefined) break;
    excess -= lease.memoryBytes + executorOverheadBytes;
    ended += revoke(draft, (each) => each.id === lease.id);
  }
  return ended;
}

/** Leases that may not be beside the jobs of this node (any more). */
function revokeUnwanted(draft: Draft): number {
  return revoke(draft, unwanted(draft)) + revokeForMemory(draft);
}

/** The same when no hook waits for it. */
export function endUnwanted(draft: Draft): void {
  const leases = revokeUnwanted(draft);
  if (leases > 0) draft.out.push({ type: "unshared", leases });
}

function answerHook(draft: Draft, call: number, wait: Wait): void {
  const tookUs = Math.round((draft.nowMs - wait.arrivedAtMs) * 1000);
  draft.out.push({
    type: "answer",
    call,
    answer: { kind: "hook", event: wait.event ?? "prolog", leasesEnded: wait.ended, tookUs },
  });
}

/** The hook waits for all that is ending, also for what ended before. */
function waitForEnding(draft: Draft, call: number, event: "prolog" | "step", ended: number): void {
  const going = [...draft.guests.values()].filter((guest) => guest.phase === "ending");
  const wait: Wait = {
    kind: "hook",
    event,
    guests: new Set(going.map((guest) => guest.lease.id)),
    arrivedAtMs: draft.nowMs,
    deadlineMs: draft.nowMs + draft.setup.hookTimeoutMs,
    ended,
    released: undefined,
  };
  if (going.length === 0) answerHook(draft, call, wait);
  else draft.waits.set(call, wait);
}

/** Later words add to earlier ones; only what was said counts. */
function hear(draft: Draft, jobId: number, facts: Partial<JobFacts>): void {
  draft.uses.delete(jobId);
  const before = draft.said.get(jobId);
  draft.said.set(jobId, {
    uid: facts.uid ?? before?.uid ?? 0,
    consent: facts.consent ?? before?.consent,
    partition: facts.partition || before?.partition || "",
    account: facts.account || before?.account || "",
    qos: facts.qos || before?.qos || "",
  });
}

function forgetWords(draft: Draft): void {
  for (const jobId of draft.said.keys())
    if (!draft.announced.has(jobId) && !draft.jobs.has(jobId)) draft.said.delete(jobId);
  for (const jobId of draft.uses.keys()) if (!draft.jobs.has(jobId)) draft.uses.delete(jobId);
}

export function onProlog(draft: Draft, event: Event<"prolog">): void {
  hear(draft, event.jobId, event);
  const job = draft.jobs.get(event.jobId);
  let ended: number;
  if (job?.present === true && job.cores !== undefined) {
    const cores = job.cores;
    draft.jobs.set(event.jobId, { ...job, hooked: true });
    ended = revoke(draft, (lease) => overlaps(lease, cores)) + revokeUnwanted(draft);
  } else {
    // What is kept of an earlier life of this job (a requeue) tells nothing about its new cores.
    if (job?.present === false) draft.jobs.delete(event.jobId);
    else if (job !== undefined) draft.jobs.set(event.jobId, { ...job, hooked: true });
    draft.announced.set(event.jobId, draft.nowMs + draft.setup.announceTimeoutMs);
    ended = revoke(draft, () => true);
  }
  waitForEnding(draft, event.call, "prolog", ended);
}

/** Without cores a step is as good as a prolog. */
export function onStep(draft: Draft, event: Event<"step">): void {
  if (event.cores.length === 0) {
    onProlog(draft, { ...event, type: "prolog" });
    return;
  }
  const before = draft.jobs.get(event.jobId);
  const hooked = before?.hooked === true || draft.announced.has(event.jobId);
  hear(draft, event.jobId, event);
  draft.announced.delete(event.jobId);
  const cores =
    before?.present === true ? [...new Set([...event.cores, ...(before.cores ?? [])])] : event.cores;
  // A cgroup that is there speaks for itself: without a cpuset the job may run beyond its cores.
  if (before?.present !== true)
    draft.jobs.set(event.jobId, {
      jobId: event.jobId,
      cores,
      memoryLimitBytes: event.memoryBytes > 0 ? event.memoryBytes : undefined,
      memoryUsedBytes: 0,
      present: false,
      hooked,
      untilMs: Math.max(draft.nowMs + draft.setup.announceTimeoutMs, before?.untilMs ?? 0),
    });
  const ended = revoke(draft, (lease) => overlaps(lease, cores)) + revokeUnwanted(draft);
  waitForEnding(draft, event.call, "step", ended);
}

export function onEpilog(draft: Draft, event: Event<"epilog">): void {
  draft.announced.delete(event.jobId);
  const job = draft.jobs.get(event.jobId);
  if (job !== undefined && !job.present) draft.jobs.delete(event.jobId);
  else if (job !== undefined) draft.jobs.set(event.jobId, { ...job, hooked: false });
  forgetWords(draft);
  draft.out.push({
    type: "answer",
    call: event.call,
    answer: { kind: "hook", event: "epilog", leasesEnded: 0, tookUs: 0 },
  });
}

function known(draft: Draft, seen: SeenJob): KnownJob {
  const before = draft.jobs.get(seen.jobId);
  const hooked = draft.announced.has(seen.jobId) || before?.hooked === true;
  const untilMs =
    seen.cores === undefined ? (before?.untilMs ?? draft.nowMs + draft.setup.announceTimeoutMs) : undefined;
  return { ...seen, present: true, hooked, untilMs };
}

export function onJobs(draft: Draft, event: Event<"jobs">): void {
  const here = new Set(event.jobs.map((job) => job.jobId));
  for (const job of [...draft.jobs.values()]) {
    if (here.has(job.jobId) || !job.present) continue;
    if (job.hooked)
      draft.jobs.set(job.jobId, {
        ...job,
        present: false,
        untilMs: draft.nowMs + draft.setup.epilogTimeoutMs,
      });
    else draft.jobs.delete(job.jobId);
  }
  for (const seen of event.jobs) {
    const job = known(draft, seen);
    draft.jobs.set(job.jobId, job);
    const { cores } = job;
    if (cores === undefined) continue;
    draft.announced.delete(job.jobId);
    // A shared lease is beside its job on purpose; revokeUnwanted says whether it still may be.
    const inTheWay = (lease: Lease): boolean => lease.class !== "shared" && overlaps(lease, cores);
    const missed = revoke(draft, inTheWay) + revokeForMemory(draft);
    if (missed > 0) draft.out.push({ type: "missed", jobId: job.jobId, leases: missed });
  }
  forgetWords(draft);
  endUnwanted(draft);
}

export function onGuestGone(draft: Draft, event: Event<"guest_gone">): void {
  if (draft.guests.get(event.leaseId)?.phase === "ending") draft.guests.delete(event.leaseId);
  for (const [call, wait] of [...draft.waits]) {
    if (!wait.guests.has(event.leaseId)) continue;
    const guests = new Set(wait.guests);
    guests.delete(event.leaseId);
    if (guests.size > 0) draft.waits.set(call, { ...wait, guests });
    else {
      draft.waits.delete(call);
      if (wait.released === undefined) answerHook(draft, call, wait);
      else draft.out.push({ type: "answer", call, answer: { kind: "lease", guest: wait.released } });
    }
  }
}

/** Announcements, doubts and waits whose time is over. */
export function onDeadlines(draft: Draft): void {
  for (const [jobId, untilMs] of [...draft.announced])
    if (untilMs <= draft.nowMs) draft.announced.delete(jobId);
  for (const job of [...draft.jobs.values()]) {
    if (job.untilMs === undefined || job.untilMs > draft.nowMs) continue;
    if (!job.present) draft.jobs.delete(job.jobId);
    else {
      // It has no cpuset of its own (Slurm does not constrain cores here): it may run anywhere.
      draft.jobs.set(job.jobId, { ...job, untilMs: undefined });
      const missed = revoke(draft, () => true);
      if (missed > 0) draft.out.push({ type: "missed", jobId: job.jobId, leases: missed });
    }
  }
  forgetWords(draft);
  for (const [call, wait] of [...draft.waits]) {
    if (wait.deadlineMs > draft.nowMs) continue;
    draft.waits.delete(call);
    const error = new SubletError(
      "DEADLINE_EXCEEDED",
      `${wait.guests.size} guests are still there after ${Math.round(draft.nowMs - wait.arrivedAtMs)} ms: ` +
        "kill what is in their cgroups",
    );
    draft.out.push({ type: "refuse", call, error });
  }
}
