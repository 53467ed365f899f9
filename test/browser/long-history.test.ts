/** Spans beyond the controller's own history: offered where Prometheus has them, said to be its, and failing in words. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertClean, violations, world } from "./world.ts";

const { open, fake } = world({ nodes: 200, longHistory: true });

test("a year is offered, and the page says where it comes from", async () => {
  const watched = await open("#/", { viewport: { width: 1280, height: 900 }, colorScheme: "light" });
  const { page, close } = watched;
  await page.getByRole("radio", { name: "1 y" }).check({ force: true });
  await page.waitForURL(/range=1y/);
  await page.getByRole("status").filter({ hasText: "the figures are Prometheus's" }).waitFor();
  await page.locator(".histogram").first().waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByRole("radio", { name: "24 h" }).check({ force: true });
  await page.getByRole("status").filter({ hasText: "Prometheus" }).waitFor({ state: "detached" });
  assertClean(watched);
  await close();
});

test("what Prometheus does wrong is told in words, and the own history is shown", async () => {
  fake().cluster.trouble = "It cannot be reached.";
  const watched = await open("#/leases?range=90d", { viewport: { width: 390, height: 844 } });
  const { page, close } = watched;
  await page.getByRole("status").filter({ hasText: "some are missing. It cannot be reached." }).waitFor();
  await page.locator(".plot canvas").first().waitFor();
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0, `the page scrolls sideways by ${overflow} px`);
  assert.deepEqual(await violations(page), []);
  assertClean(watched);
  await close();
});
