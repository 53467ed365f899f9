/** The pages of a real controller over a real Slurm cluster: what a lease, an administrator and a lost controller look like. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { alice, hold, root, sublet } from "../cluster/users.ts";
import { openBrowser, openPage } from "./browser.ts";
import { assertClean, until, violations } from "./world.ts";

const url = "http://10.77.0.1:7704/";
let browser: Browser;
let cluster: Cluster;
before(async () => {
  cluster = await startCluster({
    waitForLockMs: 60_000,
    controllerSettings: { poll_interval_ms: 1000 },
  });
  browser = await openBrowser();
});
after(async () => {
  await browser?.close();
  await cluster?.stop();
});

/** As root gets it on a node. */
async function credential(where: string): Promise<string> {
  const said = await sublet(cluster, where, root, ["--json", "dashboard", "--login", "--url", url]);
  assert.equal(said.status, 0, said.error);
  return String(said.json().credential);
}

test("a lease is seen where it is, as it comes and goes", async () => {
  const [first = "", second = ""] = cluster.layout.nodes.map(({ name }) => name);
  const watched = await openPage(browser, `${url}#/nodes/${second}`);
  const { page, close } = watched;
  await page.locator("h1", { hasText: second }).waitFor();
  await until("the node offers cores", async () => (await page.locator(".core-spare").count()) > 0, 30_000);
  const held = await hold(cluster, alice, first, second);
  await page.locator(".core-guest").first().waitFor({ timeout: 20_000 });
  await page
    .getByRole("table", { name: `Leases on ${second}` })
    .getByText("function")
    .first()
    .waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByRole("link", { name: "Leases", exact: true }).click();
  await page.locator("tbody th code", { hasText: held.lease.id.slice(0, 12) }).waitFor();
  await held.letGo();
  await page.getByText("Nobody holds a lease").waitFor({ timeout: 20_000 });
  assertClean(watched);
  await close();
});

test("root drains a node and resumes it; the map says so", async () => {
  const [, , third = ""] = cluster.layout.nodes.map(({ name }) => name);
  const watched = await openPage(browser, `${url}#/nodes/${third}`);
  const { page, close } = watched;
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByLabel("Credential").fill(await credential(third));
  await page.locator("dialog").getByRole("button", { name: "Log in" }).click();
  const lending = page.locator(".stat", { hasText: "Lending" }).locator(".stat-value");
  for (const [verb, word] of [
    ["Drain", "drained"],
    ["Resume", "on"],
  ] as const) {
    await page.getByRole("button", { name: `${verb} ${third}` }).click();
    await page.getByLabel(/^Reason/).fill("browser test");
    await page.getByRole("dialog").locator("button[type=submit]").click();
    await page.getByText("Done: 1 node.").waitFor({ timeout: 20_000 });
    await page.getByRole("button", { name: "Close" }).click();
    await lending.filter({ hasText: word }).waitFor({ timeout: 30_000 });
  }
  assertClean(watched);
  await close();
});

test("a controller that is killed and comes back", async () => {
  const { page, close } = await openPage(browser, url);
  await page.locator(".live-live").waitFor();
  await page.locator(".headline strong").first().waitFor();
  await cluster.killDaemon("controller");
  await page.locator(".stale").waitFor({ timeout: 20_000 });
  await cluster.startDaemon("controller");
  await page.locator(".live-live").waitFor({ timeout: 60_000 });
  const lending = page.locator(".strip .stat", { hasText: "Nodes lending" });
  await lending.getByText("3", { exact: true }).waitFor({ timeout: 30_000 });
  await close();
});
