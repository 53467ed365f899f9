import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { openBrowser, openPage } from "./browser.ts";
import { type FakeServer, startFake } from "./fake/server.ts";

let browser: Browser;
let fake: FakeServer;
before(async () => {
  [browser, fake] = await Promise.all([openBrowser(), startFake({ nodes: 1000 })]);
});
after(async () => {
  await browser?.close();
  await fake?.close();
});

test("the overview says how many cores are lent, and follows the stream", async () => {
  const { page, problems, strayed, close } = await openPage(browser, fake.url);
  const lent = page.locator("section.shares", { hasText: "Cores" }).locator(".headline strong");
  const text = () => fake.cluster.summary().cores.lent.toLocaleString("en-GB");
  await lent.filter({ hasText: text() }).waitFor();
  fake.push(500);
  fake.pushSummary();
  await lent.filter({ hasText: text() }).waitFor();
  assert.deepEqual(problems, []);
  assert.deepEqual(strayed, []);
  await close();
});
