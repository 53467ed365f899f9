/** Names of nodes, users and accounts, causes and notices are text, whatever they look like. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { hostileText } from "./fake/cluster.ts";
import { assertClean, world } from "./world.ts";

const { open, fake } = world({ nodes: 60, hostile: true });

for (const hash of [
  "#/",
  "#/nodes?view=table",
  `#/nodes/${encodeURIComponent(hostileText)}`,
  "#/leases",
  "#/reclaims",
  "#/accounts",
  `#/nodes?name=${encodeURIComponent(hostileText)}`,
  `#/leases?find=${encodeURIComponent(hostileText)}`,
])
  test(`hostile text stays text: ${decodeURIComponent(hash)}`, async () => {
    const watched = await open(hash);
    const { page, close } = watched;
    await page.locator("h1").waitFor();
    await page.locator(".live-live").waitFor();
    fake().pushLeases();
    fake().pushSummary();
    await page.getByText(hostileText).first().waitFor();
    assert.equal(await page.locator("img").count(), 0);
    assert.doesNotMatch(await page.title(), /^owned/);
    assertClean(watched);
    await close();
  });

test("a node with such a name is opened from the map", async () => {
  const { page, close } = await open("#/nodes");
  await page.locator(".map-box").focus();
  await page.locator(".tip strong", { hasText: hostileText }).waitFor();
  await page.keyboard.press("Enter");
  await page.locator("h1", { hasText: hostileText }).waitFor();
  assert.equal(await page.locator("img").count(), 0);
  await close();
});
