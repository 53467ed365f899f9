/**
 * What a page costs: time until it shows what it is for, and the main thread's time for a live update. Scripts for the page
 * are text, so that this file needs no types of a browser.
 */
import type { Browser, CDPSession, Page } from "playwright-core";
import { openPage } from "./browser.ts";
import type { FakeServer } from "./fake/server.ts";

/** Notes when the first figure of the overview, or the first square of the map, was there and painted. */
const watchFirst = `
  const note = () => requestAnimationFrame(() => setTimeout(() => { globalThis.firstShown ??= performance.now(); }));
  const fill = CanvasRenderingContext2D.prototype.fill;
  CanvasRenderingContext2D.prototype.fill = function (...how) {
    if (this.canvas.closest(".map-box")) note();
    return fill.apply(this, how);
  };
  new MutationObserver(() => {
    const figure = document.querySelector(".headline strong");
    if (figure !== null && /[0-9]/.test(figure.textContent)) note();
  }).observe(document, { subtree: true, childList: true, characterData: true });
`;

/** Asked from outside: the page's policy forbids what playwright's own waiting does inside. */
async function waitFor(page: Page, expression: string): Promise<void> {
  const endMs = performance.now() + 30_000;
  while ((await page.evaluate(expression)) !== true) {
    if (performance.now() > endMs) throw new Error(`the page never said: ${expression}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Waited for: the browser tells the entry some time after the paint. */
async function firstContentfulPaintMs(page: Page): Promise<number> {
  const entry = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime";
  await waitFor(page, `${entry} !== undefined`);
  return Number(await page.evaluate(entry));
}

export interface FirstPaint {
  /** First contentful paint: something is seen. */
  readonly paintMs: number;
  /** What the page is for is seen: figures, or the map of all nodes. */
  readonly shownMs: number;
}

/** A first visit: nothing is cached. */
export async function firstPaint(browser: Browser, url: string, hash: string): Promise<FirstPaint> {
  const { page, close } = await openPage(browser, "about:blank");
  await page.addInitScript(watchFirst);
  await page.goto(url + hash);
  await waitFor(page, "globalThis.firstShown !== undefined");
  const paintMs = await firstContentfulPaintMs(page);
  const shownMs = Number(await page.evaluate("globalThis.firstShown"));
  await close();
  return { paintMs, shownMs };
}

/** First contentful paint of a page that is a heading and nothing else: what this browser needs on this machine. */
export async function barePaintMs(browser: Browser, url: string): Promise<number> {
  const { page, close } = await openPage(browser, "about:blank");
  await page.route("**/bare", (route) => route.fulfill({ contentType: "text/html", body: "<h1>bare</h1>" }));
  await page.goto(`${url}bare`);
  const paintMs = await firstContentfulPaintMs(page);
  await close();
  return paintMs;
}

async function taskMs(session: CDPSession): Promise<number> {
  const { metrics } = await session.send("Performance.getMetrics");
  return (metrics.find(({ name }) => name === "TaskDuration")?.value ?? Number.NaN) * 1000;
}

export interface Updates {
  /** CPU time of the main thread for each update: message, state, layout, drawing. */
  readonly taskMs: readonly number[];
  /** The longest single stretch by the clock, others' work on this machine in it; 0: none was above 50 ms. */
  readonly longestMs: number;
}

/** Lets `nodes` nodes change `count` times on an open page, and measures each. */
export async function liveUpdates(
  page: Page,
  fake: FakeServer,
  nodes: number,
  count: number,
): Promise<Updates> {
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  await page.evaluate(
    "globalThis.longTasks = []; new PerformanceObserver((list) => { for (const { duration } of list.getEntries()) longTasks.push(duration); }).observe({ type: 'longtask' });",
  );
  const costs: number[] = [];
  for (let at = 0; at < count; at++) {
    const before = await taskMs(session);
    fake.push(nodes);
    fake.pushSummary();
    await page.waitForTimeout(250);
    costs.push((await taskMs(session)) - before);
  }
  const long = (await page.evaluate("longTasks")) as number[];
  await session.detach();
  return { taskMs: costs, longestMs: Math.max(0, ...long) };
}
