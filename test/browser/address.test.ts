/** The address is the state: it can be sent to a colleague, and the back button does what it should. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertClean, until, world } from "./world.ts";

const { open, fake } = world({ nodes: 1000 });

test("filters, colour and zoom come from the address and go into it", async () => {
  const watched = await open("#/nodes?partition=gpu&color=parts&zoom=2&name=n00*");
  const { page, close } = watched;
  await page.locator(".summed", { hasText: /^\d+ of 1,000 nodes/ }).waitFor();
  assert.equal(await page.getByLabel("Partition").inputValue(), "gpu");
  assert.equal(await page.getByLabel("Name").inputValue(), "n00*");
  assert.equal(await page.getByRole("radio", { name: "All parts" }).isChecked(), true);
  await page.locator(".summed strong", { hasText: "9 of 1,000 nodes" }).waitFor();
  await page.getByLabel("Name").fill("n000");
  await page.waitForURL(/name=n000$|name=n000&/);
  await page.getByLabel("Partition").selectOption("");
  await page.locator(".summed strong", { hasText: "9 of 1,000 nodes" }).waitFor();
  await page.waitForURL((url) => !url.href.includes("partition"));
  assertClean(watched);
  await close();
});

test("filters are no steps of the back button, pages are", async () => {
  const { page, close } = await open("#/");
  await page.locator(".live-live").waitFor();
  await page.getByRole("link", { name: "Nodes", exact: true }).click();
  await page.getByLabel("Name").fill("n00");
  await page.waitForURL(/name=n00/);
  await page.getByRole("link", { name: "Leases", exact: true }).click();
  await page.locator("h1", { hasText: "Leases" }).waitFor();
  await page.goBack();
  await page.waitForURL(/nodes\?name=n00/);
  assert.equal(await page.getByLabel("Name").inputValue(), "n00");
  await page.goBack();
  await page.locator("h1", { hasText: "Overview" }).waitFor();
  await close();
});

test("a click on the map opens that node; dragging over a chart picks the span", async () => {
  const { page, close } = await open("#/nodes");
  const map = page.locator(".map-box");
  const title = page.locator("h1", { hasText: "n0001" });
  await until("the node's page", async () => {
    // The map is there before its nodes are: a click may have met none.
    if (!(await title.isVisible()))
      await map.click({ position: { x: 85, y: 10 }, timeout: 1000 }).catch(() => {});
    return await title.isVisible();
  });
  await page.goto(`${fake().url}#/`);
  const over = page.locator(".plot .u-over").first();
  await over.waitFor();
  const box = await over.boundingBox();
  assert.ok(box);
  await page.mouse.move(box.x + box.width * 0.5, box.y + 30);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.75, box.y + 30, { steps: 4 });
  await page.mouse.up();
  await page.waitForURL(/from=\d+&to=\d+/);
  const { searchParams } = new URL(page.url().replace("#/", ""));
  const spanHours = (Number(searchParams.get("to")) - Number(searchParams.get("from"))) / 3_600_000;
  assert.ok(Math.abs(spanHours - 6) < 1, `a quarter of a day, not ${spanHours} h`);
  await page.locator(".range-picked").waitFor();
  await page.getByText("6 h", { exact: true }).click();
  await page.waitForURL(/range=6h/);
  await close();
});

test("the stream carries only what the page shows", async () => {
  const asked: string[] = [];
  const { page, close } = await open("#/about");
  page.on("request", (request) => {
    if (request.url().includes("/events"))
      asked.push(new URL(request.url()).searchParams.get("topics") ?? "");
  });
  await page.locator(".live-live").waitFor();
  await page.getByRole("link", { name: "Nodes", exact: true }).click();
  await until("nodes", () => asked.at(-1) === "summary,nodes");
  await page.getByRole("link", { name: "Leases", exact: true }).click();
  await until("leases", () => asked.at(-1) === "summary,leases");
  await until("its stream", () => fake().viewers("leases") === 1);
  fake().pushLeases();
  await page.locator(".feed li").first().waitFor();
  await close();
});
