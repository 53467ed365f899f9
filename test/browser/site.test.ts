/** The site of docs/ as it opens from a disk: nothing is missing, search, light and dark, and no page wider than a phone. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import type { Browser } from "playwright-core";
import { generate } from "../../deploy/site/generate.ts";
import { entries, pageOf } from "../../deploy/site/navigation.ts";
import { openBrowser, openPage } from "./browser.ts";

let browser: Browser;
let out = "";
const address = (file: string): string => pathToFileURL(join(out, file)).href;
const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };

before(async () => {
  out = mkdtempSync(join(tmpdir(), "sublet-site-"));
  await generate(out);
  browser = await openBrowser();
});
after(async () => {
  await browser?.close();
  rmSync(out, { recursive: true, force: true });
});

test("every page opens without a complaint and is no wider than a phone", async () => {
  const { page, problems, strayed, close } = await openPage(browser, address("index.html"), phone);
  for (const { source } of entries) {
    await page.goto(address(pageOf(source)));
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wider <= 0, `${source} is ${wider} px too wide`);
  }
  assert.deepEqual(problems, []);
  assert.deepEqual(
    strayed.filter((url) => !url.startsWith("data:")),
    [],
  );
  await close();
});

test("a search leads to the section, by keyboard alone", async () => {
  const { page, problems, close } = await openPage(browser, address("index.html"));
  await page.keyboard.press("/");
  await page.keyboard.type("spank plugin");
  await page.locator("#found a").first().waitFor();
  assert.match((await page.locator("#found").textContent()) ?? "", /The SPANK plugin/);
  await page.locator("#found a", { hasText: "The SPANK plugin" }).first().click();
  await page.waitForURL(/neighbours\.html#the-spank-plugin$/);
  await page.keyboard.press("/");
  await page.keyboard.type("sublet_reclaim_seconds");
  await page.locator("#found a").first().waitFor();
  await page.keyboard.press("Enter");
  await page.waitForURL((url) => !url.href.includes("neighbours"));
  await page.fill("#search", "qqqqqqqq");
  await page.getByText("Nothing found.").waitFor();
  assert.deepEqual(problems, []);
  await close();
});

test("dark as the system is, or as one chose, and kept", async () => {
  const { page, close } = await openPage(browser, address("guard.html"), { colorScheme: "dark" });
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.equal(await background(), "rgb(14, 15, 18)");
  await page.getByRole("button", { name: "Light", exact: true }).click();
  assert.equal(await background(), "rgb(255, 255, 255)");
  await page.goto(address("faq.html"));
  assert.equal(await background(), "rgb(255, 255, 255)");
  await close();
});

test("a phone unfolds the list of pages", async () => {
  const { page, close } = await openPage(browser, address("faq.html"), phone);
  const link = page.locator(".menu a", { hasText: "Runbook" });
  assert.equal(await link.isVisible(), false);
  await page.getByText("All pages").click();
  await link.click();
  await page.waitForURL(/runbook\.html$/);
  await close();
});

test("axe finds nothing, light and dark, wide and narrow", async () => {
  const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
  const looks = [{ colorScheme: "light" as const }, { colorScheme: "dark" as const, ...phone }];
  for (const look of looks) {
    // The policy of the pages allows no foreign script, the test's own among them.
    const { page, close } = await openPage(browser, address("index.html"), { ...look, bypassCSP: true });
    for (const name of ["index.html", "security.html", "configuration.html", "dashboard.html"]) {
      await page.goto(address(name));
      await page.addScriptTag({ path: axe });
      const found = await page.evaluate(async () => {
        const { violations } = await (
          globalThis as unknown as {
            axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
          }
        ).axe.run();
        return violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html.slice(0, 160)}`);
      });
      assert.deepEqual(found, [], `${name} ${look.colorScheme}`);
    }
    await close();
  }
});
