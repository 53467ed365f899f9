/** Who may drain, resume and reclaim, what is asked before, and what is told after. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { becomes, until, violations, world } from "./world.ts";

const { open, fake } = world({ nodes: 300 });

async function logIn(page: Page, credential: string): Promise<void> {
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByLabel("Credential").fill(credential);
  await page.locator("dialog").getByRole("button", { name: "Log in" }).click();
}

test("nobody sees actions without login; a bad credential is refused and says why", async () => {
  const { page, close } = await open("#/nodes/n001");
  await page.locator(".core").first().waitFor();
  assert.equal(await page.locator(".actions").count(), 0);
  await logIn(page, "nonsense");
  await page.getByRole("alert").filter({ hasText: "That is no credential of MUNGE" }).waitFor();
  assert.deepEqual(await violations(page), []);
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  await becomes(
    () => page.evaluate(() => document.activeElement?.textContent),
    "Log in",
    "the focus goes back to where it was",
  );
  await close();
});

test("a user who is no administrator sees no actions, and the controller refuses him", async () => {
  const { page, close } = await open("#/nodes/n001");
  await logIn(page, "MUNGE:ada:");
  await page.getByText("ada (no administrator)").waitFor();
  assert.equal(await page.locator(".actions").count(), 0);
  const status = await page.evaluate(async () => {
    const body = JSON.stringify({ all: true, reason: "because" });
    return (await fetch("api/v1/drain", { method: "POST", body })).status;
  });
  assert.equal(status, 403);
  assert.equal(fake().asked.length, 0);
  await close();
});

test("an administrator drains what the filter shows, after a question, and reads the outcome of each node", async () => {
  const { page, problems, close } = await open("#/nodes?name=n00*");
  await logIn(page, "MUNGE:root:");
  await page.getByRole("button", { name: "Drain 9 nodes" }).click();
  const dialog = page.getByRole("dialog", { name: "Drain 9 nodes" });
  await dialog.waitFor();
  assert.match(
    (await dialog.textContent()) ?? "",
    /lend nothing from now on.*holders are told, have 60 s.*jobs are not touched/is,
  );
  assert.deepEqual(await violations(page), []);
  const confirm = dialog.getByRole("button", { name: "Drain 9 nodes" });
  await becomes(() => confirm.isDisabled(), true, "without a reason there is no drain");
  await dialog.getByLabel(/^Reason/).fill("kernel update");
  await dialog.getByText("At once").click();
  assert.match((await dialog.textContent()) ?? "", /ended at once/);
  await confirm.click();
  await dialog.getByText("1 of 9 nodes did not do it.").waitFor();
  const first = dialog.locator("tbody tr").first();
  assert.match(
    (await first.textContent()) ?? "",
    /^n002its agent does not answer01$/,
    "those that failed come first",
  );
  assert.deepEqual(await violations(page), []);
  const nodes = Array.from({ length: 9 }, (_, index) => `n00${index + 1}`);
  assert.deepEqual(fake().asked.at(-1), {
    verb: "drain",
    body: { nodes, graceful: false, reason: "kernel update" },
  });
  await dialog.getByRole("button", { name: "Close" }).click();
  await dialog.waitFor({ state: "detached" });
  assert.deepEqual(problems, []);
  await close();
});

test("cancelled is not asked; all and partitions are asked by name; leases by id", async () => {
  const { page, close } = await open("#/nodes");
  await logIn(page, "MUNGE:root:");
  const before = fake().asked.length;
  await page.getByRole("button", { name: "Reclaim all 300 nodes" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal(fake().asked.length, before);
  const ask = async (button: string | RegExp) => {
    await page.getByRole("button", { name: button }).click();
    await page.getByLabel(/^Reason/).fill("test");
    await page.getByRole("dialog").locator("button[type=submit]").click();
    await page.getByRole("button", { name: "Close" }).click();
    return fake().asked.at(-1);
  };
  assert.deepEqual(await ask("Resume all 300 nodes"), {
    verb: "resume",
    body: { all: true, reason: "test" },
  });
  await page.getByLabel("Partition").selectOption("gpu");
  assert.deepEqual(await ask("Drain 30 nodes of gpu"), {
    verb: "drain",
    body: { partitions: ["gpu"], graceful: true, budgetMs: 60_000, reason: "test" },
  });
  await page.getByRole("link", { name: "Leases", exact: true }).click();
  await page.getByLabel(/^Find/).fill("grace");
  const asked = await ask(/^Reclaim \d+ leases/);
  assert.equal(asked?.verb, "reclaim");
  assert.ok((asked?.body.leaseIds?.length ?? 0) > 3);
  await page.getByRole("button", { name: "Log out" }).click();
  await until("no actions", async () => (await page.locator(".actions").count()) === 0);
  await close();
});

test("over a line that others read nobody is asked for a credential, and an address that has one sends none", async () => {
  const { page, close } = await open("#/about");
  const posts: string[] = [];
  page.on("request", (request) => request.method() === "POST" && posts.push(request.url()));
  await page.route("**/api/v1/whoami", (route) =>
    route.fulfill({ json: { user: null, admin: false, noLogin: "over a network without TLS" } }),
  );
  await page.reload();
  await page.getByRole("button", { name: "Log in" }).click();
  const dialog = page.getByRole("dialog", { name: "Log in" });
  await dialog.getByText(/over a network without TLS\..*could act for you/).waitFor();
  assert.equal(await dialog.getByRole("textbox").count(), 0);
  assert.deepEqual(await violations(page), []);
  await dialog.getByRole("button", { name: "Close" }).click();
  await page.evaluate(() => {
    location.hash = `#/login/${encodeURIComponent("MUNGE:root:")}`;
  });
  await dialog.getByText(/over a network without TLS/).waitFor();
  assert.equal(new URL(page.url()).hash, "#/");
  assert.deepEqual(posts, []);
  await close();
});
