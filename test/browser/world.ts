/** A browser and a fake controller for the tests of one file, and what all of them ask of a page. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before } from "node:test";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { openBrowser, openPage, patienceMs, type Watched } from "./browser.ts";
import type { FakeOptions } from "./fake/cluster.ts";
import { type FakeServer, startFake } from "./fake/server.ts";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export interface World {
  readonly browser: () => Browser;
  readonly fake: () => FakeServer;
  /** Opens a page below the fake's address, e.g. "#/nodes". */
  open(hash: string, options?: BrowserContextOptions): Promise<Watched>;
}

export function world(options: FakeOptions): World {
  let browser: Browser | undefined;
  let fake: FakeServer | undefined;
  before(async () => {
    [browser, fake] = await Promise.all([openBrowser(), startFake(options)]);
  });
  after(async () => {
    await browser?.close();
    await fake?.close();
  });
  const known = <T>(value: T | undefined): T => {
    assert.ok(value, "the browser or the fake controller did not start");
    return value;
  };
  return {
    browser: () => known(browser),
    fake: () => known(fake),
    open: (hash, more) => openPage(known(browser), known(fake).url + hash, more),
  };
}

interface Violation {
  readonly id: string;
  readonly help: string;
  readonly nodes: readonly { readonly target: unknown; readonly failureSummary?: string }[];
}

/** Rules of WCAG 2.2, levels A and AA, and axe's best practices; one line for each place that breaks one. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { axe: checker } = globalThis as unknown as {
      axe: { run(options: unknown): Promise<{ violations: Violation[] }> };
    };
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    return (await checker.run({ runOnly: { type: "tag", values: tags }, resultTypes: ["violations"] }))
      .violations;
  });
  return found.flatMap(({ id, help, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${help} at ${String(target)}: ${failureSummary ?? ""}`),
  );
}

/** No message of the console, no error, no request to elsewhere. */
export function assertClean({ problems, strayed }: Watched): void {
  assert.deepEqual(problems, []);
  assert.deepEqual(strayed, []);
}

/** Waits until `ask` answers this: a page shows what a key or a click did when it comes to it. */
export async function becomes<T>(ask: () => Promise<T>, wanted: T, why?: string): Promise<void> {
  const endMs = performance.now() + patienceMs;
  for (;;) {
    const answer = await ask();
    if (answer === wanted) return;
    if (performance.now() >= endMs) assert.equal(answer, wanted, why);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Waits until `told` says yes. */
export async function until(
  what: string,
  told: () => boolean | Promise<boolean>,
  deadlineMs = patienceMs,
): Promise<void> {
  const endMs = performance.now() + deadlineMs;
  while (!(await told())) {
    assert.ok(performance.now() < endMs, `${what}: not within ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
