/**
 * The viewers' event streams (text/event-stream). One that reads too slowly is let go: it comes back by itself and reads
 * everything anew, so nothing is kept for it.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Topic } from "./live.ts";

const topicNames: readonly Topic[] = ["summary", "nodes", "leases"];
const maxViewers = 256;
/** As much may wait in a viewer's socket, and one event more: two tables of ten thousand nodes. */
const maxWaitingBytes = 1024 * 1024;
const heartbeatMs = 15_000;

interface Viewer {
  readonly response: ServerResponse;
  readonly topics: ReadonlySet<Topic>;
  heardAtMs: number;
}

export class Viewers {
  readonly #viewers = new Set<Viewer>();

  get size(): number {
    return this.#viewers.size;
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
      heardAtMs: performance.now(),
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
    this.#send(viewer, frame("summary", first));
    return true;
  }

  watched(topic: Topic): boolean {
    for (const { topics } of this.#viewers) if (topics.has(topic)) return true;
    return false;
  }

  tell(topic: Topic, text: string): void {
    const bytes = Buffer.from(frame(topic, text));
    for (const viewer of this.#viewers) if (viewer.topics.has(topic)) this.#send(viewer, bytes);
  }

  /** A comment to those who have heard nothing for a while. */
  heartbeat(): void {
    const nowMs = performance.now();
    for (const viewer of this.#viewers)
      if (nowMs - viewer.heardAtMs >= heartbeatMs) this.#send(viewer, ": all is well\n\n");
  }

  #send(viewer: Viewer, bytes: Buffer | string): void {
    viewer.heardAtMs = performance.now();
    if (viewer.response.writableLength > maxWaitingBytes) {
      this.#viewers.delete(viewer);
      viewer.response.destroy();
      return;
    }
    viewer.response.write(bytes);
  }

  close(): void {
    for (const { response } of this.#viewers) response.destroy();
    this.#viewers.clear();
  }
}

function frame(topic: Topic, text: string): string {
  return `event: ${topic}\ndata: ${text}\n\n`;
}
