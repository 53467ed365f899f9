/**
 * History beyond the controller's own, out of the site's Prometheus. It is asked for the whole of what it may know once, in
 * bins of six hours, then for the bins that ended since; whatever viewers want is answered from that. So what it is asked does
 * not depend on who watches, nor on what they ask for: a query is bounded in time, points and bytes, one runs at a time, and
 * after a failure none for a minute. It begins with the first viewer who looks so far back.
 *
 * Viewers are told that it failed and how, in words without addresses or paths, which only the log has.
 */
import { readFileSync } from "node:fs";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import type { PrometheusConfig } from "../config/dashboard.ts";
import type { History, Shares } from "./api.ts";
import { shareNames, sharesOf } from "./shares.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
/** Below it a picture needs finer points than these; the controller's own history begins soon enough. */
export const leastSpanMs = 7 * dayMs;

export interface PrometheusOptions extends PrometheusConfig {
  readonly unixMs: () => number;
  /** Monotonic. */
  readonly nowMs: () => number;
  /** Told once, until it was well again. */
  readonly onTrouble: (why: string) => void;
  readonly binMs?: number;
  readonly keepMs?: number;
  /** A bin is asked for so long after its end: what Prometheus records is there by then. */
  readonly settleMs?: number;
  readonly timeoutMs?: number;
  readonly retryMs?: number;
}

interface Bin {
  readonly cores: Shares | undefined;
  readonly memoryBytes: Shares | undefined;
  readonly invocationsPerSecond: number | undefined;
}

/** Points of a query, for each of its series. Prometheus itself allows 11,000. */
const binsPerQuery = 120;
const maxAnswerBytes = 4 * 1024 * 1024;
/** What one viewer waits for an answer that is under way. */
const longestWaitMs = 5_000;

/** Words for viewers; `cause` says the rest, for the log. */
class Trouble extends Error {}

interface Series {
  readonly metric?: Readonly<Record<string, string>>;
  readonly values?: readonly (readonly [number, string])[];
}

export class PrometheusHistory {
  readonly #options: Required<PrometheusOptions>;
  readonly #bins = new Map<number, Bin>();
  /** All that is asked for ended before it. */
  #heldToMs: number | undefined;
  #asking: Promise<void> | undefined;
  #trouble: { readonly words: string; readonly atMs: number } | undefined;

  constructor(options: PrometheusOptions) {
    this.#options = {
      binMs: 6 * hourMs,
      keepMs: 400 * dayMs,
      settleMs: 10 * 60_000,
      timeoutMs: 10_000,
      retryMs: 60_000,
      ...options,
    };
  }

  get stepMs(): number {
    return this.#options.binMs;
  }

  /** Puts what Prometheus knows before `ownFromMs` into a history that is empty there. Never throws. */
  async complete(history: History, ownFromMs: number): Promise<History> {
    const asking = this.#look();
    if (asking !== undefined) {
      let timer: NodeJS.Timeout | undefined;
      const wait = new Promise((resolve) => {
        timer = setTimeout(resolve, longestWaitMs);
      });
      await Promise.race([asking, wait]).finally(() => clearTimeout(timer));
    }
    const late = this.#asking === undefined ? undefined : "It is still being asked; look again in a moment.";
    const filled = structuredClone(history);
    for (const [index, atMs] of history.atMs.entries()) {
      if (atMs + history.stepMs > ownFromMs) break;
      const bins = this.#between(atMs, atMs + history.stepMs);
      for (const kind of ["cores", "memoryBytes"] as const)
        for (const name of shareNames)
          filled[kind][name][index] = meanOf(bins.map((bin) => bin[kind]?.[name]));
      filled.invocationsPerSecond[index] = meanOf(bins.map((bin) => bin.invocationsPerSecond));
    }
    return { ...filled, before: { toMs: ownFromMs, trouble: this.#trouble?.words ?? late ?? null } };
  }

  /** Bins of which some lies in the span. */
  #between(fromMs: number, toMs: number): Bin[] {
    const { binMs } = this.#options;
    const found: Bin[] = [];
    for (let atMs = Math.floor(fromMs / binMs) * binMs; atMs < toMs; atMs += binMs) {
      const bin = this.#bins.get(atMs);
      if (bin !== undefined) found.push(bin);
    }
    return found;
  }

  /** Asks for what is missing, unless that is under way or has just failed. */
  #look(): Promise<void> | undefined {
    if (this.#asking !== undefined) return this.#asking;
    const { binMs, keepMs, settleMs, retryMs, unixMs, nowMs } = this.#options;
    if (this.#trouble !== undefined && nowMs() - this.#trouble.atMs < retryMs) return undefined;
    const toMs = Math.floor((unixMs() - settleMs) / binMs) * binMs;
    const oldestMs = toMs - Math.floor(keepMs / binMs) * binMs;
    const fromMs = Math.max(oldestMs, this.#heldToMs ?? oldestMs);
    if (fromMs >= toMs) return undefined;
    for (const atMs of this.#bins.keys()) if (atMs < oldestMs) this.#bins.delete(atMs);
    this.#asking = this.#fill(fromMs, toMs).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #fill(fromMs: number, toMs: number): Promise<void> {
    const { binMs, onTrouble, nowMs } = this.#options;
    try {
      for (let atMs = fromMs; atMs < toMs; atMs += binsPerQuery * binMs) {
        const endMs = Math.min(toMs, atMs + binsPerQuery * binMs);
        await this.#fetch(atMs, endMs);
        this.#heldToMs = endMs;
      }
      this.#trouble = undefined;
    } catch (thrown) {
      const words = thrown instanceof Trouble ? thrown.message : "Its answer was not understood.";
      const { message } = ((thrown as Error).cause ?? thrown) as Error;
      if (this.#trouble?.words !== words) onTrouble(`Prometheus: ${words} (${message})`);
      this.#trouble = { words, atMs: nowMs() };
    }
  }

  async #fetch(fromMs: number, toMs: number): Promise<void> {
    const { binMs, selector } = this.#options;
    const range = `[${binMs / 1000}s]`;
    // Each of several controllers tells the whole cluster's.
    const amounts = (metric: string): string =>
      `max by (state) (avg_over_time(${metric}{${selector}}${range}))`;
    const cores = await this.#query(amounts("sublet_cluster_cores"), fromMs, toMs);
    const memory = await this.#query(amounts("sublet_cluster_memory_bytes"), fromMs, toMs);
    const calls = await this.#query(
      `max(avg_over_time(sublet:invocations:rate5m{${selector}}${range}))`,
      fromMs,
      toMs,
    );
    for (let atMs = fromMs; atMs < toMs; atMs += binMs) {
      const bin: Bin = {
        cores: sharesAt(cores, atMs),
        memoryBytes: sharesAt(memory, atMs),
        invocationsPerSecond: calls.get("")?.get(atMs),
      };
      if (Object.values(bin).some((value) => value !== undefined)) this.#bins.set(atMs, bin);
    }
  }

  /** Values by state, then by the begin of their bin; a bin's value is asked for at its end. */
  async #query(expr: string, fromMs: number, toMs: number): Promise<Map<string, Map<number, number>>> {
    const { url, binMs, timeoutMs } = this.#options;
    const query = new URLSearchParams({
      query: expr,
      start: String((fromMs + binMs) / 1000),
      end: String(toMs / 1000),
      step: String(binMs / 1000),
      timeout: `${Math.ceil(timeoutMs / 1000)}s`,
    });
    const address = new URL(`${url.replace(/\/$/, "")}/api/v1/query_range?${query}`);
    const { status, text } = await this.#get(address);
    if (status === 401 || status === 403) throw new Trouble(`It refuses the controller (${status}).`);
    let answer: {
      status?: string;
      error?: string;
      data?: { resultType?: string; result?: readonly Series[] };
    };
    try {
      answer = JSON.parse(text);
    } catch (cause) {
      throw new Trouble(`It answers with status ${status} and no JSON.`, { cause });
    }
    if (answer.status !== "success")
      throw new Trouble("It could not answer the question.", {
        cause: new Error(`${status}: ${String(answer.error).slice(0, 300)}`),
      });
    if (answer.data?.resultType !== "matrix" || !Array.isArray(answer.data.result))
      throw new Trouble("Its answer was not understood.");
    const found = new Map<string, Map<number, number>>();
    for (const { metric, values } of answer.data.result as readonly Series[]) {
      const points = (values ?? []).map(
        ([seconds, value]) => [seconds * 1000 - binMs, Number(value)] as const,
      );
      found.set(metric?.state ?? "", new Map(points.filter(([, value]) => Number.isFinite(value))));
    }
    return found;
  }

  #get(address: URL): Promise<{ readonly status: number; readonly text: string }> {
    const { tokenFile, caFile, timeoutMs } = this.#options;
    let headers: Record<string, string> = { accept: "application/json" };
    let ca: Buffer | undefined;
    try {
      // Each time: tokens are renewed.
      if (tokenFile !== undefined)
        headers = { ...headers, authorization: `Bearer ${readFileSync(tokenFile, "utf8").trim()}` };
      if (caFile !== undefined) ca = readFileSync(caFile);
    } catch (cause) {
      throw new Trouble("The controller cannot read what it needs to log in there.", { cause });
    }
    const send = address.protocol === "https:" ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const signal = AbortSignal.timeout(timeoutMs);
      const failed = (cause: Error): void =>
        reject(
          signal.aborted
            ? new Trouble(`It does not answer within ${timeoutMs / 1000} s.`, { cause })
            : cause instanceof Trouble
              ? cause
              : new Trouble("It cannot be reached.", { cause }),
        );
      const asked = send(address, { headers, ca, signal, agent: false }, (response: IncomingMessage) => {
        const parts: Buffer[] = [];
        let bytes = 0;
        response.on("data", (part: Buffer) => {
          bytes += part.length;
          parts.push(part);
          if (bytes > maxAnswerBytes)
            response.destroy(new Trouble(`Its answer is longer than ${maxAnswerBytes / 1024 ** 2} MiB.`));
        });
        response.on("error", failed);
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString("utf8") }),
        );
      });
      asked.on("error", failed);
      asked.end();
    });
  }
}

/** Prometheus' metrics do not tell what jobs hold and do not use: it is among what they use. */
function sharesAt(
  states: ReadonlyMap<string, ReadonlyMap<number, number>>,
  atMs: number,
): Shares | undefined {
  const at = (state: string): number | undefined => states.get(state)?.get(atMs);
  const total = at("total");
  if (total === undefined) return undefined;
  const jobs = at("jobs") ?? 0;
  return sharesOf({
    total,
    allocated: jobs,
    used: jobs,
    lent: at("leased") ?? 0,
    lentShared: 0,
    spare: at("spare") ?? 0,
    spareShared: 0,
  });
}

function meanOf(values: readonly (number | undefined)[]): number | null {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
}
