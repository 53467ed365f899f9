/** 10,000 nodes: promises of time, with a tenfold margin for busy machines. `npm run bench -- page` measures them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { firstPaint, liveUpdates } from "./measure.ts";
import { assertClean, violations, world } from "./world.ts";

const { open, fake, browser } = world({ nodes: 10_000 });
const firstMs = 1500;
const updateMs = 50;
const margin = 10;

for (const hash of ["#/", "#/nodes"])
  test(`first visit of ${hash}`, async () => {
    const { paintMs, shownMs } = await firstPaint(browser(), fake().url, hash);
    assert.ok(paintMs < firstMs * margin, `first paint took ${paintMs} ms`);
    assert.ok(shownMs < firstMs * margin, `figures took ${shownMs} ms`);
  });

for (const hash of ["#/nodes", "#/nodes?view=table&sort=-coresLent"])
  test(`live updates of ${hash}`, async () => {
    const watched = await open(hash);
    const { page, close } = watched;
    await page.locator(".summed", { hasText: "10,000 of 10,000 nodes" }).waitFor();
    await page.locator(".live-live").waitFor();
    const { taskMs } = await liveUpdates(page, fake(), 200, 5);
    for (const cost of taskMs) assert.ok(cost < updateMs * margin, `an update took ${cost} ms`);
    const lent = fake().cluster.table.coresLent.reduce((sum, value) => sum + value, 0);
    await page.locator(".summed", { hasText: `${lent.toLocaleString("en-GB")} lent` }).waitFor();
    assert.deepEqual(await violations(page), []);
    assertClean(watched);
    await close();
  });
