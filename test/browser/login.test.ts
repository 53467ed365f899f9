/** The address that logs in: used once, within a minute, by whom it names, and seen by nobody on the way. The controller's own server. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import type { Browser, Request } from "playwright-core";
import { FakeSource } from "../../deploy/testbed/fake-source.ts";
import { Days } from "../../src/common/days.ts";
import { SubletError } from "../../src/common/errors.ts";
import { HistoryStore } from "../../src/dashboard/history.ts";
import { type Dashboard, serveDashboard } from "../../src/dashboard/server.ts";
import type { Person } from "../../src/dashboard/source.ts";
import { checkCredentialPayload, credentialPayload } from "../../src/rpc/identity.ts";
import { openBrowser, openPage } from "./browser.ts";
import { until, violations } from "./world.ts";

const people: Record<string, Person> = {
  root: { uid: 0, gid: 0, user: "root", admin: true },
  ada: { uid: 1001, gid: 1001, user: "ada", admin: false },
};
let clockMs = 0;
let browser: Browser;
let dashboard: Dashboard;
let url = "";

/** What munged does, with the payload that the controller checks: whose it is, good once. */
const used = new Set<string>();
const credentialOf = (user: string): string =>
  `MUNGE:${Buffer.from(`${user}+/= ${credentialPayload("dashboard", "login", Date.now())}`).toString("base64")}:`;
async function identify(credential: string): Promise<Person> {
  const text = Buffer.from(credential.slice(6, -1), "base64").toString();
  const person = people[text.split("+")[0] ?? ""];
  const bad = (why: string) => new SubletError("UNAUTHENTICATED", why);
  if (!/^MUNGE:.*:$/.test(credential) || person === undefined) throw bad("credential: Invalid credential");
  if (used.has(credential)) throw bad("credential was used before");
  used.add(credential);
  checkCredentialPayload(text.slice(text.indexOf(" ") + 1), ["dashboard"], "login", Date.now() + clockMs);
  return person;
}

const loginUrl = (credential: string): string => `${url}#/login/${encodeURIComponent(credential)}`;

before(async () => {
  browser = await openBrowser();
  const source = new FakeSource(50, { reclaimed: () => undefined, leaseEnded: () => undefined });
  dashboard = await serveDashboard({
    listen: "127.0.0.1:0",
    source: Object.assign(source, { identify }),
    history: await HistoryStore.open({ file: undefined, onTrouble: assert.fail }),
    cluster: "test",
    version: "1",
    price: undefined,
    days: new Days("UTC"),
    pagesDir: join(import.meta.dirname, "../../build/dashboard"),
  });
  url = `http://${dashboard.address}/`;
});
after(async () => {
  await browser?.close();
  await dashboard?.close();
});
beforeEach(() => {
  clockMs = 0;
});

test("logs in who made it, and leaves no trace in address, history, referrer or request line", async () => {
  const credential = credentialOf("root");
  const { page, problems, close } = await openPage(browser, "about:blank");
  const seen: Request[] = [];
  page.on("request", (request) => seen.push(request));
  await page.goto(loginUrl(credential));
  await page.getByText("root", { exact: true }).waitFor();
  assert.equal(new URL(page.url()).hash, "#/");
  const secrets = [credential, encodeURIComponent(credential), credential.slice(6, 40)];
  const leaks = (text: string) => secrets.some((secret) => text.includes(secret));
  const bodies = seen.filter((request) => leaks(request.postData() ?? ""));
  assert.deepEqual(
    bodies.map((request) => new URL(request.url()).pathname),
    ["/api/v1/login"],
  );
  for (const request of seen)
    assert.equal(leaks(JSON.stringify([request.url().split("#")[0], request.headers()])), false);
  await page.getByRole("link", { name: "Nodes", exact: true }).click();
  await page.goBack();
  assert.equal(leaks(page.url()), false);
  const kept = await page.evaluate(() => JSON.stringify([document.referrer, localStorage, sessionStorage]));
  assert.equal(leaks(kept), false);
  const [cookie] = await page.context().cookies();
  assert.deepEqual([cookie?.httpOnly, cookie?.sameSite], [true, "Strict"]);
  await page.reload();
  await page.getByText("root", { exact: true }).waitFor();
  assert.deepEqual(problems, []);
  await close();
});

test("is good once: who opens it a second time is told, and stays nobody", async () => {
  const credential = credentialOf("root");
  const first = await openPage(browser, loginUrl(credential));
  await first.page.getByText("root", { exact: true }).waitFor();
  const second = await openPage(browser, loginUrl(credential));
  await second.page.getByRole("alert").filter({ hasText: "credential was used before" }).waitFor();
  assert.deepEqual(await violations(second.page), []);
  assert.deepEqual(await second.page.context().cookies(), []);
  await first.close();
  await second.close();
});

test("is good for a minute", async () => {
  const credential = credentialOf("root");
  clockMs = 61_000;
  const { page, close } = await openPage(browser, loginUrl(credential));
  await page
    .getByRole("alert")
    .filter({ hasText: /\d\d s old, at most 60 s/ })
    .waitFor();
  assert.deepEqual(await page.context().cookies(), []);
  await close();
});

test("of another user, opened by one who is logged in, asks before it takes his place", async () => {
  const { page, close } = await openPage(browser, loginUrl(credentialOf("root")));
  await page.getByText("root", { exact: true }).waitFor();
  await page.evaluate(
    (hash) => {
      location.hash = hash;
    },
    new URL(loginUrl(credentialOf("ada"))).hash,
  );
  const dialog = page.getByRole("dialog", { name: "Log in anew" });
  await dialog.getByText("in place of root").waitFor();
  assert.deepEqual(await violations(page), []);
  await dialog.getByRole("button", { name: "Stay root" }).click();
  await dialog.waitFor({ state: "detached" });
  const whoami = () => page.evaluate(async () => (await fetch("api/v1/whoami")).json());
  assert.deepEqual(await whoami(), { user: "root", admin: true });
  await page.evaluate(
    (hash) => {
      location.hash = hash;
    },
    new URL(loginUrl(credentialOf("ada"))).hash,
  );
  await dialog.getByRole("button", { name: "Log in anew" }).click();
  await page.getByText("ada (no administrator)").waitFor();
  assert.deepEqual(await whoami(), { user: "ada", admin: false });
  await close();
});

test("pasted as a whole logs in as well; a guess does not, and ten end all guessing for a minute", async () => {
  const { page, close } = await openPage(browser, url);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByLabel("Credential").fill(loginUrl(credentialOf("ada")));
  await page.locator("dialog").getByRole("button", { name: "Log in" }).click();
  await page.getByText("ada (no administrator)").waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  let statuses: number[] = [];
  await until("guesses are refused unheard", async () => {
    const response = await fetch(`${url}api/v1/login`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ credential: "MUNGE:guess:" }),
    });
    statuses = [...statuses, response.status];
    return response.status === 429;
  });
  assert.ok(statuses.length <= 11, statuses.join());
  await page.goto("about:blank");
  await page.goto(loginUrl(credentialOf("root")));
  await page
    .getByRole("alert")
    .filter({ hasText: /within a minute.*Try again in \d+ s/ })
    .waitFor();
  await close();
});
