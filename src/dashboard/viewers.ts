/**
 * The viewers' event streams (text/event-stream). Nothing is kept for one that reads too slowly: while more than a little
 * waits for it, what happens is only noted; when it has read that, it is told how things are then, and that it missed some.
 * So a viewer costs the bytes of one event, which all viewers share, however long it stands still; one that reads nothing
 * at all is let go after a while, and its page comes back by itself.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Topic } from "./live.ts";

const topicNames: readonly Topic[] = ["summary", "nodes", "leases"];
const maxViewers = 256;
/** As much may wait for a viewer before it is told something more. */
const maxWaitingBytes = 256 * 1024;
const heartbeatMs = 15_000;
/** Long enough for the largest table over a line of a megabit. */
const stalledMs = 120_000;

interface Viewer {
  readonly response: ServerResponse;
  readonly topics: ReadonlySet<Topic>;
  heardAtMs: number;
  /** What it was not told. */
  readonly missed: Set<Topic>;
  /** Since when something waits. */
  waitingSinceMs: number | undefined;
}

export interface ViewersOptions {
  /** What tells a viewer that missed some of a topic how things are now. */
  readonly latest: (topic: Topic) => string;
  /** Monotonic. */
  readonly nowMs: () => number;
}

export class Viewers {
  readonly #viewers = new Set<Viewer>();
  readonly #options: ViewersOptions;

  constructor(options: ViewersOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#viewers.size;
  }

  /** What waits for all of them. Events are shared: less memory than that is held. */
  get waitingBytes(): number {
    let bytes = 0;
    for (const { response } of this.#viewers) bytes += response.writableLength;
    return bytes;
  }

  /** False: there are too many. `first` is sent at once. */
  add(request: IncomingMessage, response: ServerResponse, topics: string | null, first: string): boolean {
    if (this.#viewers.size >= maxViewers) return false;
    const named = (topics ?? "")
      .split(",")
      .filter((name): name is Topic => topicNames.includes(name as Topic));
    const viewer: Viewer = {
      response,
      topics: new Set(named.length === 0 ? topicNames : named),
      heardAtMs: this.#options.nowMs(),
      missed: new Set(),
      waitingSinceMs: undefined,
    };
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    });
    request.socket.setTimeout(0);
    request.socket.setNoDelay(true);
    this.#viewers.add(viewer);
    response.on("close", () => this.#viewers.delete(viewer));
    response.on("drain", () => this.#readAll(viewer));
    this.#write(viewer, frame("summary", first));
    return true;
  }

  watched(topic: Topic): boolean {
    for (const { topics } of this.#viewers) if (topics.has(topic)) return true;
    return false;
  }

  tell(topic: Topic, text: string): void {
    const bytes = Buffer.from(frame(topic, text));
    for (const viewer of this.#viewers)
      if (viewer.topics.has(topic)) {
        if (viewer.response.writableLength > maxWaitingBytes) viewer.missed.add(topic);
        else this.#write(viewer, bytes);
      }
  }

  /** Call about once a second: a comment to those who have heard nothing for a while; who stands still is let go. */
  heartbeat(): void {
    const nowMs = this.#options.nowMs();
    for (const viewer of this.#viewers) {
      const { response, waitingSinceMs } = viewer;
      if (waitingSinceMs !== undefined && nowMs - waitingSinceMs >= stalledMs) {
        this.#viewers.delete(viewer);
        response.destroy();
      } else if (waitingSinceMs === undefined && nowMs - viewer.heardAtMs >= heartbeatMs)
        this.#write(viewer, ": all is well\n\n");
    }
  }

  #write(viewer: Viewer, bytes: Buffer | string): void {
    viewer.heardAtMs = this.#options.nowMs();
    if (!viewer.response.write(bytes)) viewer.waitingSinceMs ??= viewer.heardAtMs;
  }

  #readAll(viewer: Viewer): void {
    viewer.waitingSinceMs = undefined;
    const missed = [...viewer.missed];
    viewer.missed.clear();
    for (const topic of missed) this.#write(viewer, frame(topic, this.#options.latest(topic)));
  }

  close(): void {
    for (const { response } of this.#viewers) response.destroy();
    this.#viewers.clear();
  }
}

function frame(topic: Topic, text: string): string {
  return `event: ${topic}\ndata: ${text}\n\n`;
}
