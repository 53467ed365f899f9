/** Attempts to log in that failed, counted by whence they came, so that nobody guesses, or keeps munged busy with guesses. */
import { SubletError } from "../common/errors.ts";

const windowMs = 60_000;
const mostFailed = 10;
/** Of all together: credentials cannot be guessed, but each guess is a request to munged. */
const mostFailedOfAll = 200;
const maxSources = 4096;
const everybody = "";

interface Count {
  sinceMs: number;
  failed: number;
}

export class Attempts {
  readonly #counts = new Map<string, Count>();
  readonly #nowMs: () => number;

  /** nowMs: monotonic. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  #live(source: string): Count | undefined {
    const count = this.#counts.get(source);
    return count !== undefined && count.sinceMs + windowMs > this.#nowMs() ? count : undefined;
  }

  /**
   * Counts an attempt as failed until the function that it gives says otherwise, so that many at once are no more than many
   * in turn. @throws SubletError RESOURCE_EXHAUSTED: too many of the last minute failed.
   */
  begin(from: string): () => void {
    const limits = [
      [from, mostFailed],
      [everybody, mostFailedOfAll],
    ] as const;
    for (const [source, most] of limits) {
      const count = this.#live(source);
      if (count === undefined || count.failed < most) continue;
      const whose = source === everybody ? "" : ` from ${from}`;
      const seconds = Math.ceil((count.sinceMs + windowMs - this.#nowMs()) / 1000);
      throw new SubletError("RESOURCE_EXHAUSTED", `${most} logins${whose} failed within a minute`, {
        details: { hint: `Try again in ${seconds} s.` },
      });
    }
    const counts = limits.map(([source]) => this.#count(source));
    return () => {
      for (const count of counts) count.failed--;
    };
  }

  #count(source: string): Count {
    const count = this.#live(source) ?? { sinceMs: this.#nowMs(), failed: 0 };
    count.failed++;
    this.#counts.delete(source);
    this.#counts.set(source, count);
    // The one that was quiet for longest goes.
    const oldest = this.#counts.keys().next();
    if (this.#counts.size > maxSources && !oldest.done) this.#counts.delete(oldest.value);
    return count;
  }
}
