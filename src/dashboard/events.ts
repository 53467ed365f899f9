/**
 * Server-sent events. What changed is written once and sent to all viewers as the same bytes, at most once a second. A
 * viewer who reads too slowly is not written to while more than `maxBufferedBytes` wait for him: the nodes that he missed
 * he is told at once when he has caught up; one who missed leases, or does not catch up, is cut off, and his page comes
 * back and reads all anew. So a viewer costs a bounded buffer, whatever he does.
 */
import type { ServerResponse } from "node:http";
import type { NodeChanges } from "./api.ts";
import type { View } from "./view.ts";

export const maxViewers = 256;
const maxBufferedBytes = 1024 * 1024;
const maxBehindMs = 30_000;
/** An event at least this often, for viewers that are quiet. */
const heartbeatMs = 10_000;

export type Topic = "summary" | "nodes" | "leases";
const topics: readonly Topic[] = ["summary", "nodes", "leases"];

interface Viewer {
  readonly response: ServerResponse;
  readonly topics: ReadonlySet<Topic>;
  revision: number;
  behindSinceMs: number | undefined;
  missedLeases: boolean;
}

export function topicsOf(text: string | null): ReadonlySet<Topic> {
  if (text === null) return new Set(topics);
  const named = new Set(text.split(","));
  return new Set(topics.filter((topic) => named.has(topic)));
}

function frame(name: Topic, value: unknown, id?: number): Buffer {
  const head = id === undefined ? "" : `id: ${id}\n`;
  return Buffer.from(`${head}event: ${name}\ndata: ${JSON.stringify(value)}\n\n`);
}

export class Events {
  readonly #view: View;
  readonly #nowMs: () => number;
  readonly #viewers = new Set<Viewer>();
  #summaryText = "";
  #toldMs = 0;

  constructor(view: View, nowMs: () => number) {
    this.#view = view;
    this.#nowMs = nowMs;
  }

  get count(): number {
    return this.#viewers.size;
  }

  /** False: there are too many. `lastId`: the revision of nodes that the viewer has, if he was here before. */
  add(response: ServerResponse, wanted: ReadonlySet<Topic>, lastId: number | undefined): boolean {
    if (this.#viewers.size >= maxViewers) return false;
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    const revision = lastId ?? this.#view.table.revision;
    const viewer = { response, topics: wanted, revision, behindSinceMs: undefined, missedLeases: false };
    if (wanted.has("leases")) this.#view.watchLeases();
    this.#viewers.add(viewer);
    response.on("close", () => {
      this.#viewers.delete(viewer);
      if (!this.#watches("leases")) this.#view.forgetLeases();
    });
    response.on("error", () => response.destroy());
    // Proxies and browsers hold back a stream that is silent at first.
    response.write(frame("summary", this.#view.summary()));
    if (wanted.has("nodes")) this.#tellNodes(viewer, new Map());
    return true;
  }

  #watches(topic: Topic): boolean {
    for (const viewer of this.#viewers) if (viewer.topics.has(topic)) return true;
    return false;
  }

  /** Once a second. */
  tick(): void {
    if (this.#viewers.size === 0) return;
    this.#view.look(500);
    const summary = this.#summary();
    const changes = this.#watches("leases") ? this.#view.leaseChanges() : undefined;
    const leases = changes === undefined ? undefined : frame("leases", changes);
    const frames = new Map<number, Buffer | undefined>();
    for (const viewer of this.#viewers) {
      const { response } = viewer;
      if (response.writableLength > maxBufferedBytes) {
        this.#fallBehind(viewer, leases !== undefined && viewer.topics.has("leases"));
        continue;
      }
      if (viewer.missedLeases) {
        response.destroy();
        continue;
      }
      viewer.behindSinceMs = undefined;
      if (summary !== undefined) response.write(summary);
      if (viewer.topics.has("nodes")) this.#tellNodes(viewer, frames);
      if (leases !== undefined && viewer.topics.has("leases")) response.write(leases);
    }
  }

  /** All are sent summaries: each is a sign of life as well. */
  #summary(): Buffer | undefined {
    const summary = this.#view.summary();
    const text = JSON.stringify({ ...summary, atMs: 0, snapshot: summary.snapshot.valid });
    if (text === this.#summaryText && this.#nowMs() - this.#toldMs < heartbeatMs) return undefined;
    this.#summaryText = text;
    this.#toldMs = this.#nowMs();
    return frame("summary", summary);
  }

  #tellNodes(viewer: Viewer, frames: Map<number, Buffer | undefined>): void {
    const from = viewer.revision;
    if (!frames.has(from)) {
      const changes: NodeChanges | undefined = this.#view.live.changesSince(from);
      frames.set(from, changes === undefined ? undefined : frame("nodes", changes, changes.revision));
    }
    const bytes = frames.get(from);
    if (bytes !== undefined) viewer.response.write(bytes);
    viewer.revision = this.#view.live.table.revision;
  }

  #fallBehind(viewer: Viewer, missesLeases: boolean): void {
    viewer.missedLeases ||= missesLeases;
    viewer.behindSinceMs ??= this.#nowMs();
    if (this.#nowMs() - viewer.behindSinceMs > maxBehindMs) viewer.response.destroy();
  }

  close(): void {
    for (const { response } of this.#viewers) response.destroy();
    this.#viewers.clear();
  }
}
