/**
 * The dashboard's pages in Debian's Chromium, with 10,000 nodes: a first visit, and what an event of the stream costs the
 * main thread. Baselines: a bare page in the same browser; the same page with 100 nodes. Rounds take turns.
 */
import { openBrowser, openPage } from "../browser/browser.ts";
import { startFake } from "../browser/fake/server.ts";
import { barePaintMs, firstPaint, liveUpdates } from "../browser/measure.ts";
import { type Extent, whole } from "./bed.ts";
import { medianOf, pairedRatio, percentileOf, type Row } from "./table.ts";

const many = 10_000;
const few = 100;
/** Of the nodes, per event: one in fifty changes within two seconds. */
const changing = 0.02;

const pages = [
  { name: "overview", hash: "#/" },
  { name: "node map", hash: "#/nodes" },
  { name: "node table", hash: "#/nodes?view=table&sort=-coresLent" },
] as const;

export async function run(progress: (message: string) => void, extent: Extent = whole): Promise<Row[]> {
  const rounds = extent.small ? 1 : 7;
  const updates = extent.small ? 3 : 30;
  const browser = await openBrowser();
  const [large, small] = await Promise.all([startFake({ nodes: many }), startFake({ nodes: few })]);
  const rows: Row[] = [];
  try {
    for (const { name, hash } of pages.filter(({ name }) => name !== "node table")) {
      progress(`first visits: ${name}`);
      const bare: number[] = [];
      const painted: number[] = [];
      const shown: number[] = [];
      for (let round = 0; round < rounds; round++) {
        bare.push(await barePaintMs(browser, large.url));
        const { paintMs, shownMs } = await firstPaint(browser, large.url, hash);
        painted.push(paintMs);
        shown.push(shownMs);
      }
      const baseline = { what: "bare page", value: medianOf(bare) };
      rows.push({
        what: `${name}, ${many} nodes: first paint`,
        value: medianOf(painted),
        unit: "ms",
        baseline,
        ratio: pairedRatio(painted, bare).ratio,
      });
      // The mark is on the time itself: a person waits for milliseconds, not for ratios.
      rows.push({
        what: `${name}, ${many} nodes: figures shown`,
        value: medianOf(shown),
        p99: percentileOf(shown, 0.99),
        unit: "ms",
        baseline,
        ratio: pairedRatio(shown, bare).ratio,
        mark: 1500,
        markOn: "value",
        issue: "5.1",
      });
    }
    for (const { name, hash } of pages) {
      progress(`live updates: ${name}`);
      const [wide, narrow] = await Promise.all([
        openPage(browser, large.url + hash),
        openPage(browser, small.url + hash),
      ]);
      await Promise.all([wide, narrow].map(({ page }) => page.locator(".live-live").waitFor()));
      await wide.page.waitForTimeout(1000);
      const slow = await liveUpdates(wide.page, large, many * changing, updates);
      const quick = await liveUpdates(narrow.page, small, few * changing, updates);
      rows.push({
        what: `${name}, ${many} nodes: main thread per live update`,
        value: medianOf(slow.taskMs),
        p99: percentileOf(slow.taskMs, 0.99),
        unit: "ms",
        mark: 50,
        issue: "5.1",
        note: `${few} nodes: ${medianOf(quick.taskMs).toFixed(1)} ms; longest task ${slow.longestMs === 0 ? "below 50" : slow.longestMs.toFixed(0)} ms`,
      });
      await Promise.all([wide.close(), narrow.close()]);
    }
  } finally {
    await browser.close();
    await Promise.all([large.close(), small.close()]);
  }
  return rows;
}
