/**
 * Taking capacity back for batch jobs. Four messengers, one set of handlers:
 *
 * - The prolog comes first and names a job, not its cores. Until the job's step is heard or its cgroup appears, or
 *   announceTimeoutMs, the node lends nothing. Which leases are in the way is not known yet, and what it does with them
 *   depends on whether a step will say so (setup.prolog):
 *     all       it takes back every lease: one that stays costs the job its promise, one that goes costs a client a
 *               call made again. (Once the job's cgroup is there, as at a second prolog, only what overlaps goes.)
 *     close     it takes back none but what memory that is known needs.
 *     learned   close when the last jobs of this agent's life had their steps heard, else all. A job whose cgroup comes
 *               with cores and without a step (the plugin is gone) makes it `all` again.
 * - A step (SPANK in slurmstepd) names the job's cores and memory, before its cgroup does and before its first task
 *   runs: what overlaps goes, and the rest of the node is lent again.
 * - The cgroup tree is the witness: cores that are lent when a job's cpuset shows them go at once, and count as missed.
 *   So does memory, when the limits of the jobs and what is lent exceed the node: whatever was guessed before, a guess
 *   that was wrong lasts no longer than this. Without cores in its cgroup (Slurm does not constrain them) an announced
 *   job is taken to be everywhere after a twentieth of announceTimeoutMs, and after hookTimeoutMs at the latest: that is
 *   how long a step waits for us, so that the job runs by then, and in doubt the guest dies.
 * - The epilog ends a job. One that a prolog announced keeps its cores until then, though its cgroup may come and go
 *   with its steps.
 *
 * What may move has a budget (patience.ts); all else goes at once. A hook is answered when every guest in its way, and
 * every one that was ending already, is gone.
 */
import { wholeCores } from "../../src/capacity/siblings.ts";
import type { JobFacts, Lease } from "../../src/common/nouns.ts";
import { victimsFor } from "../../src/lease/victims.ts";
import { jobsOnNode, unwanted } from "../consent/sharing.ts";
import type { SeenJob } from "../jobs/scan.ts";
import { type Draft, overheadBytes } from "../reactor/draft.ts";
import type { AgentEvent } from "../reactor/events.ts";
import type { KnownJob } from "../reactor/state.ts";
import { hookPatience, wakePatience, witnessPatience } from "./patience.ts";
import { type Patience, type Taken, takeBack } from "./take.ts";
import { answerWhenGone, endingGuests, endOverdueWaits, settleWaits } from "./waits.ts";

type Event<T extends AgentEvent["type"]> = Extract<AgentEvent, { type: T }>;

function overlaps(lease: Lease, cores: readonly number[]): boolean {
  return lease.cores.some((core) => cores.includes(core));
}

/** An announced job whose cgroup is there without cores, and no step was heard though one should have been: of announceTimeoutMs. */
const stepDoubtShare = 0.05;

/**
 * Memory that is lent, and that jobs may use and do not share, beyond what the node has. What is ending already frees its
 * memory by itself.
 */
function excessBytes(draft: Draft): number {
  const shared = jobsOnNode(draft).reduce(
    (sum, job) => sum + (job.consent === "share" ? job.unusedBytes : 0),
    0,
  );
  const limits = [...draft.jobs.values()].reduce((sum, job) => sum + (job.memoryLimitBytes ?? 0), -shared);
  let excess = limits + draft.setup.reserveMemoryBytes - draft.setup.memoryBytes;
  for (const guest of draft.guests.values())
    if (guest.phase !== "ending")
      excess += guest.lease.memoryBytes + overheadBytes(draft.setup, guest.lease.kind);
  return excess;
}

/** The leases without which the limits of the jobs and what is lent fit into the node. */
function inTheWayOfMemory(draft: Draft): ReadonlySet<string> {
  const excess = excessBytes(draft);
  if (excess <= 0) return new Set();
  const live = [...draft.guests.values()].filter((guest) => guest.phase !== "ending");
  const victims = victimsFor(
    live.map((guest) => ({ ...guest, starting: guest.phase === "starting" })),
    excess,
    ({ lease }) => lease.memoryBytes + overheadBytes(draft.setup, lease.kind),
  );
  return new Set(victims.map(({ lease }) => lease.id));
}

function and(first: Taken, second: Taken): Taken {
  return { ended: first.ended + second.ended, draining: [...first.draining, ...second.draining] };
}

function makeMemory(draft: Draft, patience?: Patience): Taken {
  const heavy = inTheWayOfMemory(draft);
  return takeBack(draft, (lease) => heavy.has(lease.id), "batch_job", patience);
}

/** Takes back what overlaps the cores, what may not be beside the jobs of this node, and then what memory needs. */
function makeRoom(draft: Draft, cores: readonly number[], patience?: Patience): Taken {
  const overlapping = takeBack(draft, (lease) => overlaps(lease, cores), "batch_job", patience);
  const others = takeBack(draft, unwanted(draft), "batch_job", patience);
  return and(and(overlapping, others), makeMemory(draft, patience));
}

/** Leases that may not be beside the jobs of this node any more, when no hook waits for it. */
export function endUnwanted(draft: Draft, patience = wakePatience(draft, excessBytes(draft))): void {
  const before = draft.book.leases;
  const { ended, draining } = makeRoom(draft, [], patience);
  const asked = draining.filter((id) => before.get(id)?.state !== "DRAINING");
  const leases = ended + asked.length;
  if (leases > 0) draft.out.push({ type: "unshared", leases });
}

/** Will a step name this job's cores before its first task runs? */
function stepWillCome({ setup, stepsHeard }: Draft): boolean {
  return setup.prolog === "close" || (setup.prolog === "learned" && stepsHeard);
}

/** The hook waits for what has a budget and for all that is ending, also for what ended before. */
function answerHook(draft: Draft, call: number, event: "prolog" | "step", taken: Taken): void {
  answerWhenGone(draft, call, {
    kind: "hook",
    event,
    guests: new Set([...endingGuests(draft), ...taken.draining]),
    ended: taken.ended + taken.draining.length,
    released: undefined,
  });
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
  const patience = hookPatience(draft);
  let taken: Taken;
  if (job?.present === true && job.cores !== undefined) {
    draft.jobs.set(event.jobId, { ...job, hooked: true });
    taken = makeRoom(draft, job.cores, patience);
  } else {
    // What is kept of an earlier life of this job (a requeue) tells nothing about its new cores.
    if (job?.present === false) draft.jobs.delete(event.jobId);
    else if (job !== undefined) draft.jobs.set(event.jobId, { ...job, hooked: true });
    draft.announced.set(event.jobId, draft.nowMs + draft.setup.announceTimeoutMs);
    taken = stepWillCome(draft)
      ? makeRoom(draft, [], patience)
      : takeBack(draft, () => true, "batch_job", patience);
  }
  answerHook(draft, event.call, "prolog", taken);
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
  draft.stepsHeard = true;
  const told = wholeCores(event.cores, draft.setup.siblings ?? []);
  const cores = before?.present === true ? [...new Set([...told, ...(before.cores ?? [])])] : told;
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
  answerHook(draft, event.call, "step", makeRoom(draft, cores, hookPatience(draft)));
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
  const { announceTimeoutMs, hookTimeoutMs } = draft.setup;
  const doubtMs =
    draft.announced.has(seen.jobId) && stepWillCome(draft)
      ? Math.min(announceTimeoutMs * stepDoubtShare, hookTimeoutMs)
      : announceTimeoutMs;
  const untilMs = seen.cores === undefined ? (before?.untilMs ?? draft.nowMs + doubtMs) : undefined;
  // Threads of one core go together: a job that has one has all.
  const cores = seen.cores && wholeCores(seen.cores, draft.setup.siblings ?? []);
  return { ...seen, cores, present: true, hooked, untilMs };
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
    if (draft.announced.delete(job.jobId)) draft.stepsHeard = false;
    // A shared lease is beside its job on purpose; endUnwanted says whether it still may be.
    const inTheWay = (lease: Lease): boolean => lease.class !== "shared" && overlaps(lease, cores);
    const patience = witnessPatience(draft, excessBytes(draft));
    const missed = takeBack(draft, inTheWay, "batch_job").ended + makeMemory(draft, patience).ended;
    if (missed > 0) draft.out.push({ type: "missed", jobId: job.jobId, leases: missed });
  }
  forgetWords(draft);
  endUnwanted(draft, witnessPatience(draft, excessBytes(draft)));
}

export function onGuestGone(draft: Draft, event: Event<"guest_gone">): void {
  if (draft.guests.get(event.leaseId)?.phase === "ending") draft.guests.delete(event.leaseId);
  settleWaits(draft, event.leaseId);
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
      draft.stepsHeard = false;
      const missed = takeBack(draft, () => true, "batch_job").ended;
      if (missed > 0) draft.out.push({ type: "missed", jobId: job.jobId, leases: missed });
    }
  }
  forgetWords(draft);
  endOverdueWaits(draft);
}
