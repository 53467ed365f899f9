/**
 * `npm run docs:screenshots`: the pages as docs/dashboard.md shows them, from a fake cluster of 10,000 nodes,
 * into docs/images. PNGs of 256 colours, so that the repository stays small.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openBrowser, openPage } from "./browser.ts";
import { startFake } from "./fake/server.ts";

const folder = join(import.meta.dirname, "../../docs/images");

interface Shot {
  readonly name: string;
  readonly hash: string;
  readonly width: number;
  readonly height: number;
  readonly theme: "light" | "dark";
  /** The button that an administrator has pressed. */
  readonly admin?: string;
}

const shots: readonly Shot[] = [
  { name: "overview", hash: "#/", width: 1280, height: 1120, theme: "light" },
  { name: "overview-dark", hash: "#/", width: 1280, height: 1120, theme: "dark" },
  { name: "overview-phone", hash: "#/", width: 390, height: 844, theme: "dark" },
  { name: "nodes", hash: "#/nodes?color=parts", width: 1280, height: 860, theme: "dark" },
  {
    name: "nodes-table",
    hash: "#/nodes?view=table&sort=-coresLent",
    width: 1280,
    height: 700,
    theme: "light",
  },
  { name: "node", hash: "#/nodes/n00217", width: 1280, height: 1000, theme: "light" },
  { name: "leases", hash: "#/leases", width: 1280, height: 860, theme: "light" },
  { name: "reclaims", hash: "#/reclaims", width: 1280, height: 860, theme: "dark" },
  { name: "accounts", hash: "#/accounts", width: 1280, height: 480, theme: "light" },
  { name: "about", hash: "#/about", width: 1280, height: 860, theme: "light" },
  {
    name: "drain",
    hash: "#/nodes?name=n0021*",
    width: 1280,
    height: 760,
    theme: "light",
    admin: "Drain 10 nodes",
  },
];

const fake = await startFake({ nodes: 10_000 });
const browser = await openBrowser();
mkdirSync(folder, { recursive: true });
for (const { name, hash, width, height, theme, admin } of shots) {
  const { page, close } = await openPage(browser, fake.url + hash, {
    viewport: { width, height },
    colorScheme: theme,
    deviceScaleFactor: width < 500 ? 2 : 1,
  });
  await page.locator(".live-live").waitFor();
  if (admin !== undefined) {
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByLabel("Credential").fill("MUNGE:root:");
    await page.locator("dialog").getByRole("button", { name: "Log in" }).click();
    await page.getByRole("button", { name: admin }).click();
    await page.getByLabel(/^Reason/).fill("new kernel");
  }
  await page.waitForTimeout(800);
  const file = join(folder, `dashboard-${name}.png`);
  const input = await page.screenshot();
  writeFileSync(file, execFileSync("pngquant", ["--quality", "60-95", "--strip", "-"], { input }));
  console.log(`${file}: ${Math.round(statSync(file).size / 1024)} KiB`);
  await close();
}
await browser.close();
await fake.close();
