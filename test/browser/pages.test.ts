/** Every page, light and dark, wide and narrow: it shows what it should, nothing goes elsewhere, axe finds nothing at AA. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openPage } from "./browser.ts";
import { assertClean, becomes, until, violations, world } from "./world.ts";

const { open, fake, browser } = world({ nodes: 1000 });

const pages: readonly { readonly hash: string; readonly heading: string; readonly shows: string }[] = [
  { hash: "#/", heading: "Overview", shows: ".histogram" },
  { hash: "#/nodes", heading: "Nodes", shows: ".map-legend" },
  { hash: "#/nodes?view=table", heading: "Nodes", shows: "tbody th a" },
  { hash: "#/nodes/n0056", heading: "n0056", shows: ".core" },
  { hash: "#/leases", heading: "Leases and invocations", shows: "tbody th code" },
  { hash: "#/reclaims", heading: "Reclaims", shows: "tbody time" },
  { hash: "#/accounts", heading: "Accounts", shows: ".quota" },
  { hash: "#/about", heading: "About these figures", shows: ".terms" },
];

/** The same page in turn; a fresh load of each would take the gate a minute more. */
const looks = [
  { colorScheme: "light", width: 1280 },
  { colorScheme: "dark", width: 1280 },
  { colorScheme: "dark", width: 2560 },
  { colorScheme: "light", width: 390 },
] as const;

for (const { hash, heading, shows } of pages)
  test(`${hash}: light and dark, on a desk, a wall and a phone`, async () => {
    const watched = await open(hash, { colorScheme: "light" });
    const { page, close } = watched;
    await page.locator("h1", { hasText: heading }).waitFor();
    await page.locator(shows).first().waitFor();
    await page.locator(".live-live").waitFor();
    assert.equal(await page.title(), `${heading} · alps`);
    for (const { colorScheme, width } of looks) {
      await page.setViewportSize({ width, height: 844 });
      await page.emulateMedia({ colorScheme });
      await until("its colours", () =>
        page.evaluate((wanted) => document.documentElement.dataset.theme === wanted, colorScheme),
      );
      assert.deepEqual(await violations(page), [], `${colorScheme}, ${width} px`);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `the page scrolls sideways at ${width} px, by ${overflow} px`);
    }
    assertClean(watched);
    await close();
  });

test("the overview follows the stream", async () => {
  const watched = await open("#/");
  const { page, close } = watched;
  const lent = page.locator("section.shares", { hasText: "Cores" }).locator(".headline strong");
  const text = () => fake().cluster.summary().cores.lent.toLocaleString("en-GB");
  await lent.filter({ hasText: text() }).waitFor();
  fake().push(500);
  fake().pushSummary();
  await lent.filter({ hasText: text() }).waitFor();
  assertClean(watched);
  await close();
});

test("what the jobs paid: their waiting, the difference to held-out nodes with its range, and from how much", async () => {
  const watched = await open("#/");
  const { page, close } = watched;
  const row = (name: string) => page.locator(".cost tr", { hasText: name });
  await row("Hold-out difference, cores")
    .filter({ hasText: "95 %: \u22120.15 % to +0.07 %. Waiting of jobs:" })
    .waitFor();
  assert.match(
    (await row("Hold-out difference, cores").textContent()) ?? "",
    /nodes that lend: 0\.41 % of [\d,]+ job core-hours on 900 nodes; held out: 0\.45 % of [\d,]+ job core-hours on 50 nodes/,
  );
  await row("Hold-out difference, memory").filter({ hasText: "95 %: \u22120.01 % to +0.01 %" }).waitFor();
  assert.equal(await row("Hold-out difference, cores").locator("td").textContent(), "\u22120.04 %");
  await row("Waiting for a core").filter({ hasText: "+0.31 %" }).waitFor();
  assertClean(watched);
  await close();
});

test("what was gained and who paid stand first, without scrolling, on a desk and on a phone", async () => {
  for (const viewport of [
    { width: 1440, height: 900 },
    { width: 390, height: 844 },
  ]) {
    const { page, close } = await open("#/", { viewport });
    const answer = page.locator(".answer");
    await answer.getByText("Gained today").waitFor();
    await answer.getByText(/^[\d,]+ core-hours$/).waitFor();
    await answer.getByText("No difference to be seen").waitFor();
    const box = await answer.boundingBox();
    assert.ok(box !== null && box.y + box.height < viewport.height, `it ends at ${JSON.stringify(box)}`);
    await page.getByRole("radio", { name: "30 days" }).check({ force: true });
    await answer.getByText("Gained in 30 days").waitFor();
    await close();
  }
});

test("all of a lease's columns are in sight on a desk", async () => {
  const { page, close } = await open("#/leases", { viewport: { width: 1440, height: 900 } });
  await page.locator("tbody th code").first().waitFor();
  const hidden = await page
    .locator(".data-scroll")
    .first()
    .evaluate((table) => table.scrollWidth - table.clientWidth);
  assert.ok(hidden <= 0, `${hidden} px are beyond the edge`);
  await close();
});

for (const width of [1440, 800, 390])
  test(`nothing moves under the reader's eyes as a page loads, ${width} px wide`, async () => {
    for (const { hash, shows } of pages) {
      const { page, close } = await openPage(browser(), "about:blank", { viewport: { width, height: 900 } });
      await page.addInitScript(() => {
        const moved: number[] = [];
        Object.assign(globalThis, { moved });
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) moved.push((entry as unknown as { value: number }).value);
        }).observe({ type: "layout-shift", buffered: true });
      });
      // What a large cluster takes longest to answer comes last.
      await page.route(/\/api\/v1\/(history|reclaims|leases|accounts)/, async (route) => {
        await new Promise((resolve) => setTimeout(resolve, 300));
        await route.continue();
      });
      await page.goto(fake().url + hash);
      await page.locator(shows).first().waitFor();
      await page.locator(".live-live").waitFor();
      await page.waitForTimeout(300);
      const moved = await page.evaluate(() => (globalThis as unknown as { moved: number[] }).moved);
      const sum = moved.reduce((all, value) => all + value, 0);
      // A page that jumps is above 0.25, and 0.1 counts as good.
      assert.ok(sum < 0.1, `${hash}: the layout shifted by ${sum.toFixed(3)}`);
      await close();
    }
  });

test("the switch of colours is kept, and follows the system when it says so", async () => {
  const watched = await open("#/about", { colorScheme: "light" });
  const { page, close } = watched;
  const shown = () => page.evaluate(() => document.documentElement.dataset.theme);
  await becomes(shown, "light");
  await page.getByRole("radio", { name: "Dark" }).check({ force: true });
  await becomes(shown, "dark");
  await page.reload();
  await becomes(shown, "dark");
  await page.getByRole("radio", { name: "Auto" }).check({ force: true });
  await becomes(shown, "light");
  await page.emulateMedia({ colorScheme: "dark" });
  await becomes(shown, "dark");
  assertClean(watched);
  await close();
});

test("who wants less motion gets none", async () => {
  fake().hang("summary");
  const { page, close } = await open("#/", { reducedMotion: "reduce" });
  await page.locator(".page-head").waitFor();
  const running = await page.evaluate(() => document.getAnimations().length);
  assert.equal(running, 0);
  fake().hang(undefined);
  await close();
});
