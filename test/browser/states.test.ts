/** What is seen before there is something, when there is nothing, when it failed, and when the stream is cut. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openPage } from "./browser.ts";
import { startFake } from "./fake/server.ts";
import { assertClean, until, violations, world } from "./world.ts";

const { open, fake, browser } = world({ nodes: 200 });

test("the stream is cut and comes back: the page says since when, tries again, and shows what is new", async () => {
  const { page, close } = await open("#/");
  await page.locator(".live-live").waitFor();
  fake().cut();
  await page.locator(".stale").waitFor();
  assert.match(
    (await page.locator(".stale").textContent()) ?? "",
    /Not live\. These figures are of \d\d:\d\d:\d\d/,
  );
  assert.match((await page.locator(".stale time").getAttribute("datetime")) ?? "", /^\d{4}-\d\d-\d\dT/);
  assert.deepEqual(await violations(page), []);
  fake().push(150);
  fake().mend();
  await page.locator(".live-live").waitFor({ timeout: 60_000 }); // it tries after 30 s at the latest
  await page.locator(".stale").waitFor({ state: "detached" });
  const lent = page.locator("section.shares", { hasText: "Cores" }).locator(".headline strong");
  await lent.filter({ hasText: fake().cluster.summary().cores.lent.toLocaleString("en-GB") }).waitFor();
  await close();
});

test("nodes missed while the stream was cut are read again", async () => {
  const { page, close } = await open("#/nodes?view=table&sort=-coresLent");
  await page.locator("tbody th a").first().waitFor();
  await until("a viewer", () => fake().viewers("nodes") === 1);
  fake().cut();
  await page.locator(".stale").waitFor();
  fake().cluster.step(200);
  fake().mend();
  const live = page.locator(".live-live").waitFor();
  // The page may try by itself just then, and the button is gone.
  await Promise.any([page.getByRole("button", { name: "Try now" }).click(), live]);
  await live;
  const most = Math.max(...fake().cluster.table.coresLent);
  const cell = page.locator("tbody tr:not(.space) td").nth(5);
  await cell.filter({ hasText: String(most) }).waitFor();
  await page
    .locator(".summed", {
      hasText: `${fake()
        .cluster.table.coresLent.reduce((a, b) => a + b, 0)
        .toLocaleString("en-GB")} lent`,
    })
    .waitFor();
  await close();
});

test("a gap in the revisions makes the page read the whole table", async () => {
  const { page, problems, close } = await open("#/nodes");
  await page.locator(".map-legend").waitFor();
  await until("a viewer", () => fake().viewers("nodes") === 1);
  fake().cluster.step(100);
  fake().push(100);
  const sum = () =>
    fake()
      .cluster.table.coresLent.reduce((a, b) => a + b, 0)
      .toLocaleString("en-GB");
  await page.locator(".summed", { hasText: `${sum()} lent` }).waitFor();
  assert.deepEqual(problems, []);
  await close();
});

test("before the first answer it says that it is loading", async () => {
  fake().hang("nodes");
  const { page, close } = await open("#/nodes");
  await page.getByRole("status").filter({ hasText: "Loading: Nodes" }).waitFor({ state: "attached" });
  assert.deepEqual(await violations(page), []);
  fake().hang(undefined);
  await close();
});

test("an error says what to do, and trying again helps", async () => {
  fake().fail("history");
  const { page, close } = await open("#/reclaims");
  const alert = page.getByRole("alert").filter({ hasText: "History cannot be shown." });
  await alert.waitFor();
  assert.match((await alert.textContent()) ?? "", /Is there room on the controller's disk\?/);
  assert.deepEqual(await violations(page), []);
  fake().fail(undefined);
  await alert.getByRole("button", { name: "Try again" }).click();
  await page.locator(".plot canvas").waitFor();
  await close();
});

test("a cluster on its first day", async () => {
  const young = await startFake({ nodes: 12, empty: true });
  for (const [hash, text] of [
    ["#/", "No history of this span yet: a point comes every"],
    ["#/", "too little data"],
    ["#/leases", "Nobody holds a lease"],
    ["#/reclaims", "No reclaims in this span"],
    ["#/accounts", "Nothing is accounted in these days"],
    ["#/nodes/n01", "No lease on this node"],
    ["#/nodes/n99", "No node is called n99"],
    ["#/nowhere", "There is no such page."],
    ["#/nodes?name=nothing", "No node matches"],
  ] as const) {
    const { page, problems, close } = await openPage(browser(), young.url + hash);
    await page.getByText(text).first().waitFor();
    assert.deepEqual(await violations(page), [], hash);
    assert.deepEqual(
      problems.filter((line) => !line.includes("404")),
      [],
    );
    await close();
  }
  await young.close();
});

test("no login, no stream, no answer at all: the page still says so", async () => {
  const watched = await open("#/about");
  const { page, close } = watched;
  await page.locator(".live-live").waitFor();
  assertClean(watched);
  await page.route("**/api/v1/**", (route) => route.abort());
  await page.evaluate(() => {
    location.hash = "#/accounts";
  });
  await page.getByRole("alert").filter({ hasText: "The controller does not answer" }).waitFor();
  await close();
});

test("a screen on the wall loads the pages of an upgraded controller, but not under an open dialog", async () => {
  const wall = await startFake({ nodes: 5 });
  const { page, close } = await openPage(browser(), "about:blank");
  await page.addInitScript("Math.random = () => 0.01");
  await page.goto(wall.url);
  await page.locator(".live-live").waitFor();
  await page.getByText("Sublet 0.1.0").waitFor();
  const began = () => page.evaluate("performance.timeOrigin");
  const first = await began();
  await page.getByRole("button", { name: "Log in" }).click();
  wall.cluster.version = "0.2.0";
  wall.pushSummary();
  await page.getByText("Sublet 0.2.0").waitFor();
  await page.waitForTimeout(500);
  assert.equal(await began(), first, "not while somebody types a credential");
  await page.keyboard.press("Escape");
  await until("loaded anew", async () => (await began().catch(() => first)) !== first);
  await close();
  await wall.close();
});

test("a fault of the page itself is said, and other pages go on", async () => {
  const { page, close } = await open("#/about");
  await page.locator(".live-live").waitFor();
  await page.route("**/api/v1/accounts*", (route) => route.fulfill({ json: { nonsense: true } }));
  await page.getByRole("link", { name: "Accounts", exact: true }).click();
  await page.getByRole("alert").filter({ hasText: "This page has a fault" }).waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByRole("link", { name: "Nodes", exact: true }).click();
  await page.locator(".map-legend").waitFor();
  await close();
});

test("leases are read once the stream tells of them: nothing that ends in between stays", async () => {
  const { page, close } = await open("#/about");
  await page.locator(".live-live").waitFor();
  const order: string[] = [];
  page.on("request", (request) => {
    const { pathname, searchParams } = new URL(request.url());
    if (pathname.endsWith("/events")) order.push(`stream of ${searchParams.get("topics") ?? ""}`);
    if (pathname.endsWith("/leases")) order.push("leases");
  });
  await page.getByRole("link", { name: "Leases", exact: true }).click();
  await page.locator("tbody th code").first().waitFor();
  assert.deepEqual(order, ["stream of summary,leases", "leases"]);
  await close();
});

test("nodes whose agent is silent, charts with one point, bars that keep their proportions", async () => {
  const { page, close } = await open("#/reclaims");
  const heights = await page
    .locator(".histogram li")
    .first()
    .waitFor()
    .then(() =>
      page
        .locator(".histogram li")
        .evaluateAll((bins) =>
          bins.map((bin) => [
            Number((bin.querySelector(".bar-count")?.textContent || "0").replaceAll(",", "")),
            bin.querySelector(".bar")?.getBoundingClientRect().height ?? 0,
          ]),
        ),
    );
  const [most = 1, tallest = 1] = heights.reduce((a, b) => ((a[0] ?? 0) >= (b[0] ?? 0) ? a : b), [0, 0]);
  for (const [count = 0, height = 0] of heights)
    assert.ok(
      Math.abs(height - Math.max(1, (tallest * count) / most)) < 1,
      `${count} of ${most}: ${height} px`,
    );
  await page.route("**/api/v1/nodes/n001", async (route) => {
    const answer = await (await route.fetch()).json();
    await route.fulfill({ json: { ...answer, lending: "none", offerAgeMs: 754_000 } });
  });
  await page.route("**/api/v1/history*", async (route) => {
    const answer = await (await route.fetch()).json();
    const one = (values: unknown[]) =>
      values.map((value, index) => (index === values.length - 1 ? value : null));
    answer.invocationsPerSecond = one(answer.invocationsPerSecond);
    await route.fulfill({ json: answer });
  });
  await page.goto(`${fake().url}#/nodes/n001`);
  await page.getByText("silent for 12 min 34 s").waitFor();
  await page.goto(`${fake().url}#/leases`);
  await page.getByText(/^No history of this span yet: a point comes every/).waitFor();
  await close();
});

test("a viewer who was too slow reads what it missed: leases, and nodes if there was news", async () => {
  const { page, problems, close } = await open("#/leases");
  await page.locator("tbody tr").first().waitFor();
  const read: string[] = [];
  page.on("request", (request) => read.push(new URL(request.url()).pathname.replace("/api/v1/", "")));
  fake().pushMissed();
  await until("the leases are read anew", () => read.includes("leases"));
  await page.goto(`${fake().url}#/nodes`);
  await page.locator(".map-legend").waitFor();
  await until("a viewer", () => fake().viewers("nodes") === 1);
  read.length = 0;
  fake().pushMissed();
  fake().cluster.step(10);
  fake().pushMissed();
  await until("the nodes are read anew", () => read.includes("nodes"));
  assert.deepEqual(problems, []);
  await close();
});
