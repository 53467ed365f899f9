/** A walk without a pointer: everything is reached by Tab, opened by Enter, and says where it is. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { assertClean, becomes, until, world } from "./world.ts";

const { open } = world({ nodes: 400 });

const focused = (page: Page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    return `${element?.tagName.toLowerCase()} ${element?.getAttribute("aria-label") ?? element?.textContent?.trim() ?? ""}`;
  });

/** Tabs until the focus is on what matches. */
async function tabTo(page: Page, what: RegExp, most = 40): Promise<void> {
  const seen: string[] = [];
  for (let at = 0; at < most; at++) {
    await page.keyboard.press("Tab");
    const now = await focused(page);
    if (what.test(now)) return;
    seen.push(now);
  }
  assert.fail(`Tab never came to ${what}: ${seen.join(" | ")}`);
}

test("from the address bar to a node, by keys alone", async () => {
  const watched = await open("#/");
  const { page, close } = watched;
  await page.locator(".histogram").waitFor();
  await page.keyboard.press("Tab");
  await becomes(() => focused(page), "button Skip to content");
  await page.keyboard.press("Enter");
  await becomes(() => focused(page), "main Overview");
  await page.keyboard.press("Shift+Tab");
  await page.locator("h1").waitFor();
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  await tabTo(page, /^a Nodes/);
  const ring = await page.evaluate(() => getComputedStyle(document.activeElement as Element).outlineStyle);
  assert.equal(ring, "solid", "the focus is seen");
  await page.keyboard.press("Enter");
  await page.locator("h1", { hasText: "Nodes" }).waitFor();
  await becomes(() => focused(page), "main Nodes", "a new page takes the focus");
  await tabTo(page, /^div Map of 400 nodes/);
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await page.getByRole("status").filter({ hasText: "n003: " }).waitFor({ state: "attached" });
  await page.keyboard.press("Enter");
  await page.locator("h1", { hasText: "n003" }).waitFor();
  assert.match(page.url(), /#\/nodes\/n003$/);
  await page.goBack();
  await page.locator("h1", { hasText: "Nodes" }).waitFor();
  assertClean(watched);
  await close();
});

test("a chart is a slider whose text tells the values", async () => {
  const watched = await open("#/");
  const { page, close } = watched;
  const chart = page.getByRole("slider", { name: "Cores over time" });
  await chart.waitFor();
  await chart.focus();
  const last = Number(await chart.getAttribute("aria-valuemax"));
  await page.keyboard.press("ArrowLeft");
  await becomes(() => chart.getAttribute("aria-valuenow"), String(last - 1));
  assert.match(
    (await chart.getAttribute("aria-valuetext")) ?? "",
    /: Used by jobs [\d,]+, Held, unused .*Closed/,
  );
  await page.keyboard.press("Home");
  await becomes(() => chart.getAttribute("aria-valuenow"), "0");
  await until(
    "the legend follows",
    async () => (await page.locator(".legend caption").first().textContent()) !== "Now",
  );
  await page.locator("summary").first().focus();
  await page.keyboard.press("Enter");
  await page.getByRole("region", { name: "Cores over time, table" }).locator("tbody tr").first().waitFor();
  assertClean(watched);
  await close();
});

test("the span is chosen by Tab and arrows, from an hour to a month, and stays in the address", async () => {
  const watched = await open("#/");
  const { page, close } = watched;
  const spans = page.getByRole("group", { name: "Time range" });
  await page.locator(".plot canvas").first().waitFor();
  await page.getByRole("button", { name: "Skip to content" }).focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await becomes(() => spans.getByLabel("24 h").evaluate((radio) => radio === document.activeElement), true);
  const asked: number[] = [];
  page.on("request", (request) => {
    const { pathname, searchParams } = new URL(request.url());
    if (pathname.endsWith("/history"))
      asked.push(Number(searchParams.get("to")) - Number(searchParams.get("from")));
  });
  for (const [key, name] of [
    ["ArrowRight", "7d"],
    ["ArrowRight", "30d"],
    ["ArrowRight", "1h"],
  ] as const) {
    await page.keyboard.press(key);
    await page.waitForURL(new RegExp(`range=${name}$`));
  }
  await page.locator(".plot canvas").first().waitFor();
  await until("the charts are of that span", () => asked.at(-1) === 3_600_000);
  assert.ok(asked.includes(30 * 86_400_000));
  assertClean(watched);
  await close();
});

test("a table sorts by its headers and says how", async () => {
  const { page, close } = await open("#/nodes?view=table");
  const header = page.getByRole("columnheader", { name: "Lent", exact: true });
  await header.waitFor();
  await header.getByRole("button").focus();
  await page.keyboard.press("Enter");
  await page.locator("th[aria-sort=descending]").waitFor();
  await page.waitForURL(/sort=-coresLent/);
  await page.keyboard.press("Enter");
  await page.locator("th[aria-sort=ascending]").waitFor();
  assert.equal(await page.locator("table").first().getAttribute("aria-rowcount"), "401");
  const rows = await page.locator("tbody tr:not(.space)").count();
  assert.ok(rows < 60, `only what is in view is in the document, not ${rows} rows`);
  await page.locator(".data-scroll").focus();
  await page.keyboard.press("End");
  await page.locator('tr[aria-rowindex="401"]').waitFor();
  await close();
});

test("what changes by itself is not read out", async () => {
  const { page, close } = await open("#/nodes");
  await page.locator(".map-legend").waitFor();
  const said = await page.evaluate(async () => {
    const texts: string[] = [];
    const watch = new MutationObserver((changes) => {
      for (const { target } of changes) {
        const element = target instanceof Element ? target : target.parentElement;
        if (element?.closest("[role=status],[role=alert],[aria-live]")) texts.push(element.textContent ?? "");
      }
    });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    watch.observe(document.body, { subtree: true, childList: true, characterData: true });
    return await new Promise<string[]>((resolve) => setTimeout(() => resolve(texts), 1500));
  });
  assert.deepEqual(said, []);
  await close();
});
