/**
 * The controller's event stream. One connection for the whole page; what it carries follows what the page shows (`topics`;
 * a controller that does not know them sends all). Cut or silent, it says since when and comes back by itself: after 1 s,
 * then twice as long each time, 30 s at most, spread so that a hundred screens do not come at once. While nobody looks (the
 * tab is hidden for a minute) it is closed.
 */
import type { LeaseChanges, NodeChanges, Summary } from "../../api.ts";
import { apiUrl } from "./api.ts";
import { retryDelayMs } from "./backoff.ts";
import { createStore } from "./store.ts";

export type Topic = "summary" | "nodes" | "leases";

export type StreamState =
  | { readonly kind: "connecting" }
  | { readonly kind: "live" }
  | { readonly kind: "paused" }
  | { readonly kind: "stale"; readonly sinceMs: number; readonly retryAtMs: number };

/** Longer than any pause between two events of a live controller. */
const silenceMs = 30_000;
const hiddenMs = 60_000;

export const streamState = createStore<StreamState>({ kind: "connecting" });
/** Topics of the stream that is open now; "" while none is. */
export const openTopics = createStore("");
export const summary = createStore<Summary | undefined>(undefined);

type Listener<T> = (message: T) => void;
const nodeListeners = new Set<Listener<NodeChanges>>();
const leaseListeners = new Set<Listener<LeaseChanges>>();
/** Called when the stream is back after a cut or a pause: what was missed must be read again. */
const openListeners = new Set<() => void>();

let source: EventSource | undefined;
let sourceTopics = "";
let attempt = 0;
let lastEventMs = 0;
let cutSinceMs: number | undefined;
let missed = false;
let retryTimer: ReturnType<typeof setTimeout> | undefined;
let silenceTimer: ReturnType<typeof setTimeout> | undefined;
let hiddenTimer: ReturnType<typeof setTimeout> | undefined;

function topics(): string {
  const wanted: Topic[] = ["summary"];
  if (nodeListeners.size > 0) wanted.push("nodes");
  if (leaseListeners.size > 0) wanted.push("leases");
  return wanted.join(",");
}

function close(): void {
  source?.close();
  source = undefined;
  openTopics.set("");
  clearTimeout(retryTimer);
  clearTimeout(silenceTimer);
}

function lost(): void {
  close();
  cutSinceMs ??= lastEventMs || Date.now();
  missed = true;
  const waitMs = retryDelayMs(attempt++, Math.random());
  streamState.set({ kind: "stale", sinceMs: cutSinceMs, retryAtMs: Date.now() + waitMs });
  retryTimer = setTimeout(connect, waitMs);
}

function heard(): void {
  lastEventMs = Date.now();
  attempt = 0;
  cutSinceMs = undefined;
  streamState.set(streamState.get().kind === "live" ? streamState.get() : { kind: "live" });
  clearTimeout(silenceTimer);
  silenceTimer = setTimeout(lost, silenceMs);
}

function on<T>(stream: EventSource, name: string, take: (message: T) => void): void {
  stream.addEventListener(name, (event) => {
    if (stream !== source) return;
    heard();
    take(JSON.parse((event as MessageEvent<string>).data) as T);
  });
}

export function connect(): void {
  close();
  sourceTopics = topics();
  const stream = new EventSource(apiUrl(`events?topics=${sourceTopics}`));
  source = stream;
  stream.onopen = () => {
    if (stream !== source) return;
    heard();
    openTopics.set(sourceTopics);
    if (!missed) return;
    missed = false;
    for (const listener of openListeners) listener();
  };
  stream.onerror = () => {
    if (stream === source) lost();
  };
  silenceTimer = setTimeout(lost, silenceMs);
  on<Summary>(stream, "summary", (message) => summary.set(message));
  on<NodeChanges>(stream, "nodes", (message) => {
    for (const listener of nodeListeners) listener(message);
  });
  on<LeaseChanges>(stream, "leases", (message) => {
    for (const listener of leaseListeners) listener(message);
  });
}

/** After a turn of the event loop, so that a page that leaves and one that comes make one change. */
function followTopics(): void {
  setTimeout(() => {
    if (source !== undefined && topics() !== sourceTopics) connect();
  });
}

function listen<T>(listeners: Set<Listener<T>>, listener: Listener<T>): () => void {
  listeners.add(listener);
  followTopics();
  return () => {
    listeners.delete(listener);
    followTopics();
  };
}

export const onNodes = (listener: Listener<NodeChanges>) => listen(nodeListeners, listener);
export const onLeases = (listener: Listener<LeaseChanges>) => listen(leaseListeners, listener);
export function onOpen(listener: () => void): () => void {
  openListeners.add(listener);
  return () => {
    openListeners.delete(listener);
  };
}

export function startStream(): void {
  connect();
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiddenTimer);
    if (document.hidden) {
      hiddenTimer = setTimeout(() => {
        close();
        missed = true;
        streamState.set({ kind: "paused" });
      }, hiddenMs);
    } else if (streamState.get().kind === "paused") {
      connect();
    }
  });
}
