/** Debian's Chromium by playwright-core, for tests, benchmark and screenshots. */
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

/** When a test gives up waiting for a page: what is waited for takes a small part of it. */
export const patienceMs = 30_000;

export async function openBrowser(): Promise<Browser> {
  return await chromium.launch({
    executablePath: "/usr/bin/chromium",
    // Root may not use Chromium's sandbox; what is shown is our own page.
    args: [
      ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
      "--disable-gpu",
      "--font-render-hinting=none",
    ],
  });
}

export interface Watched {
  readonly page: Page;
  /** Messages of the console and uncaught errors; a clean page has none. */
  readonly problems: string[];
  /** Where requests went that left the page's own origin. */
  readonly strayed: string[];
  close(): Promise<void>;
}

/** A page in a context of its own, watched for errors and for requests that leave its origin. */
export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<Watched> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    locale: "en-GB",
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(patienceMs);
  const problems: string[] = [];
  const strayed: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(error.stack ?? error.message));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) strayed.push(request.url());
  });
  await page.goto(url);
  return { page, problems, strayed, close: () => context.close() };
}
