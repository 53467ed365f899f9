/**
 * Reports offers and leases to one controller over its Report stream. A new stream begins with a full report; then come
 * changes, folded for at most `foldMs` (leases for `leaseFoldMs`: until a controller hears of a lease's start or end it
 * counts it against the node), and an offer at each keepalive, so that its age means something. When the controller
 * goes away the reporter tries again, soon at first, spread at random so that a cluster of agents does not return in
 * one moment. Nothing here is waited for by a lease or a hook.
 */
import { toSubletError } from "../../src/common/errors.ts";
import type { ControllerClient, ReportStream } from "../../src/rpc/client.ts";
import type {
  HorizonModelMessage,
  JobFactMessage,
  LeaseMessage,
  NodeCountersMessage,
  OfferMessage,
  QuotaExhaustedMessage,
  ReceiptMessage,
  ReclaimRecordMessage,
} from "../../src/rpc/messages.ts";
import type { UsageSource } from "../usage/usage.ts";
import { UsageSender } from "./usage.ts";

export interface ReportSource {
  offer(): OfferMessage;
  /** All live leases. */
  leases(): LeaseMessage[];
  /** Of jobs that ended, as far as they are kept. */
  receipts?(): readonly ReceiptMessage[];
  /** Since it was last asked. */
  reclaims?(): readonly ReclaimRecordMessage[];
  counters?(): NodeCountersMessage;
  /** What was held, until the controller has acknowledged it. */
  readonly usage?: UsageSource | undefined;
}

export interface ReporterOptions {
  readonly client: Pick<ControllerClient, "address" | "report">;
  readonly source: ReportSource;
  /** Tells when contact to the controller is won or lost (with the reason). */
  readonly onContact: (connected: boolean, why: string) => void;
  /** Leases that clients of this node held on other nodes, and that ended there. */
  readonly onEnded?: (leases: readonly LeaseMessage[]) => void;
  /** Such leases that are wanted back, with what is left of their budgets. */
  readonly onDraining?: (leases: readonly LeaseMessage[]) => void;
  /** What the cluster's spells have taught. */
  readonly onHorizon?: (model: HorizonModelMessage) => void;
  /** All jobs of this node, by Slurm. */
  readonly onFacts?: (jobs: readonly JobFactMessage[]) => void;
  /** All accounts that have nothing left today. */
  readonly onQuota?: (exhausted: readonly QuotaExhaustedMessage[]) => void;
  readonly foldMs?: number;
  readonly leaseFoldMs?: number;
  readonly backoffFirstMs?: number;
  readonly backoffMaxMs?: number;
}

export interface Reporter {
  readonly connected: boolean;
  /** For how long from now this controller sees nothing against lending here; 0 when it is not heard. */
  openMs(): number;
  offerChanged(): void;
  leaseChanged(lease: LeaseMessage): void;
  /** A job ended. It is told again at the start of each stream, so nothing is asked in return. */
  receiptsAdded(receipts: readonly ReceiptMessage[]): void;
  /** There are usage records that were not sent. */
  usageAdded(): void;
  /** Sends the offer, so that the controller knows that we live. */
  keepalive(): void;
  close(): void;
}

/** For how long from now the controllers that are heard see nothing against lending here; 0 when there is none. */
export function openMsOf(reporters: readonly Reporter[]): number {
  const heard = reporters.filter(({ connected }) => connected).map((each) => each.openMs());
  return heard.length === 0 ? 0 : Math.min(...heard);
}

/** What a controller said of this node is old news after three keepalives. */
const openFreshMs = 15_000;
/** A receipt may be some ten thousand bytes long. */
const maxReceiptsPerReport = 16;

export function startReporter(options: ReporterOptions): Reporter {
  const foldMs = options.foldMs ?? 100;
  const leaseFoldMs = options.leaseFoldMs ?? 10;
  const backoffFirstMs = options.backoffFirstMs ?? 100;
  const backoffMaxMs = options.backoffMaxMs ?? 2_000;
  const abort = new AbortController();
  const changed = new Map<string, LeaseMessage>();
  const sender = new UsageSender(options.source.usage);
  /** Receipts for the reports to come. */
  let untold: ReceiptMessage[] = [];
  let stream: ReportStream | undefined;
  let connected = false;
  let full = true;
  let dirty = false;
  /** The controller reads too slowly: what changes meanwhile is folded until its next answer. */
  let paused = false;
  let open = { ms: 0, toldAtMs: Number.NEGATIVE_INFINITY };
  let sentAtMs = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  let timerAtMs = Number.POSITIVE_INFINITY;

  function send(): void {
    clearTimeout(timer);
    timer = undefined;
    if (stream === undefined || paused || !dirty) return;
    const leases = full ? options.source.leases() : [...changed.values()];
    if (full) untold = [...(options.source.receipts?.() ?? [])];
    const receipts = untold.splice(0, maxReceiptsPerReport);
    const usage = sender.next(performance.now());
    const report = {
      offer: options.source.offer(),
      leases,
      full,
      receipts,
      usage,
      reclaims: [...(options.source.reclaims?.() ?? [])],
      counters: options.source.counters?.() ?? null,
    };
    dirty = untold.length > 0;
    full = false;
    changed.clear();
    sentAtMs = performance.now();
    paused = !stream.send(report);
    if (dirty) schedule();
  }

  function schedule(gapMs = foldMs): void {
    dirty = true;
    if (stream === undefined) return;
    const nowMs = performance.now();
    const atMs = Math.max(nowMs, sentAtMs + gapMs);
    if (timer !== undefined && timerAtMs <= atMs) return;
    clearTimeout(timer);
    timerAtMs = atMs;
    timer = setTimeout(send, atMs - nowMs);
  }

  function contact(now: boolean, why: string): void {
    if (now === connected) return;
    connected = now;
    options.onContact(now, why);
  }

  async function oneStream(): Promise<void> {
    const opened = await options.client.report({ signal: abort.signal });
    stream = opened;
    full = true;
    dirty = true;
    paused = false;
    sender.restart();
    send();
    for await (const response of opened.responses) {
      // A controller takes for granted that who is new to it knows of nobody who has nothing left.
      if (!connected || response.quota !== null) options.onQuota?.(response.quota?.exhausted ?? []);
      contact(true, "the controller answers");
      paused = false;
      open = { ms: response.openMs, toldAtMs: performance.now() };
      if (response.endedLeases.length > 0) options.onEnded?.(response.endedLeases);
      if (response.drainingLeases.length > 0) options.onDraining?.(response.drainingLeases);
      if (response.horizon !== null) options.onHorizon?.(response.horizon);
      if (response.jobFacts !== null) options.onFacts?.(response.jobFacts.jobs);
      if (sender.acked(response.ackedUsage)) dirty = true;
      if (response.resendFull) {
        full = true;
        dirty = true;
      }
      if (dirty) schedule();
    }
  }

  async function run(): Promise<void> {
    let backoffMs = backoffFirstMs;
    while (!abort.signal.aborted) {
      let why = "the controller ended the stream";
      try {
        await oneStream();
      } catch (thrown) {
        why = toSubletError(thrown).message;
      }
      stream?.close();
      stream = undefined;
      clearTimeout(timer);
      timer = undefined;
      if (connected) backoffMs = backoffFirstMs;
      contact(false, why);
      if (abort.signal.aborted) return;
      const pauseMs = backoffMs * (0.5 + Math.random() / 2);
      backoffMs = Math.min(backoffMaxMs, backoffMs * 2);
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          clearTimeout(waiting);
          abort.signal.removeEventListener("abort", wake);
          resolve();
        };
        const waiting = setTimeout(wake, pauseMs);
        abort.signal.addEventListener("abort", wake);
      });
    }
  }

  void run();
  return {
    get connected() {
      return connected;
    },
    openMs() {
      const ageMs = performance.now() - open.toldAtMs;
      return connected && ageMs < openFreshMs ? Math.max(0, open.ms - ageMs) : 0;
    },
    offerChanged: () => schedule(),
    leaseChanged(lease) {
      changed.set(lease.id, lease);
      schedule(leaseFoldMs);
    },
    receiptsAdded(receipts) {
      if (stream === undefined) return; // the next stream begins with all
      untold.push(...receipts);
      schedule();
    },
    usageAdded: () => schedule(),
    keepalive: () => schedule(),
    close() {
      abort.abort();
      stream?.close();
    },
  };
}
