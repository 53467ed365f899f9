/** Samples the daemons' own metrics while jobs run. One request a daemon and tick; it stops when told. */
import { slowness } from "../shell.ts";
import { metricValues, type Sample } from "./figures.ts";

/** Fetches one page. @throws when the daemon does not answer within the time. */
export async function page(url: string, timeoutMs = 2000 * slowness): Promise<string> {
  // A connection of its own: one that was kept may be closed by the daemon just when the request is sent.
  const response = await fetch(url, {
    headers: { connection: "close" },
    signal: AbortSignal.timeout(timeoutMs),
  });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return await response.text();
}

/** Sums the agents' pages into one sample of the cluster. */
export function sampleOf(pages: readonly string[], atMs: number): Sample {
  const sum = (name: string, state: string) =>
    pages.reduce((all, text) => all + (metricValues(text, name).get(`state="${state}"`) ?? 0), 0);
  const kind = (name: string) => ({
    total: sum(name, "total"),
    jobs: sum(name, "jobs"),
    leased: sum(name, "leased"),
  });
  return { atMs, cores: kind("sublet_cores"), memoryBytes: kind("sublet_memory_bytes") };
}

export interface Sampler {
  readonly samples: readonly Sample[];
  stop(): Promise<readonly Sample[]>;
}

/** Starts sampling `urls` every `everyMs`. A page that fails is left out of its tick; the next one is tried again. */
export function startSampler(urls: readonly string[], everyMs: number): Sampler {
  const samples: Sample[] = [];
  const ended = new AbortController();
  const loop = (async () => {
    while (!ended.signal.aborted) {
      const pages = await Promise.allSettled(urls.map((url) => page(url)));
      const texts = pages.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
      if (texts.length === urls.length) samples.push(sampleOf(texts, performance.now()));
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, everyMs);
        ended.signal.addEventListener("abort", () => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  })();
  return {
    samples,
    async stop() {
      ended.abort();
      await loop;
      return samples;
    },
  };
}
