/** README.md, ARCHITECTURE.md, CHANGELOG.md and docs/: every link leads somewhere, every page is in the navigation and the site. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { generate } from "../../../deploy/site/generate.ts";
import { anchorOf, readPage, readPageFile, target } from "../../../deploy/site/markdown.ts";
import { entries, pageOf } from "../../../deploy/site/navigation.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));

test("every page of docs/ is in the navigation, once, and every entry is a page", () => {
  const written = readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`);
  const listed = entries.map(({ source }) => source);
  assert.deepEqual(
    listed.filter((source) => source.startsWith("docs/")).sort(),
    written.sort(),
    "deploy/site/navigation.ts names the pages of docs/",
  );
  assert.equal(new Set(listed.map(pageOf)).size, listed.length, "two pages would have one file");
});

test("every relative link and anchor leads somewhere", () => {
  const pages = new Map(entries.map(({ source }) => [source, readPageFile(root, source)]));
  const broken: string[] = [];
  for (const page of pages.values())
    for (const href of page.links) {
      const to = target(page.source, href);
      if (to === undefined) continue;
      const anchors = pages.get(to.path)?.headings.map(({ anchor }) => anchor);
      if (!existsSync(join(root, to.path))) broken.push(`${page.source}: ${href}: there is no such file`);
      else if (to.anchor !== "" && !(anchors?.includes(to.anchor) ?? false))
        broken.push(`${page.source}: ${href}: there is no such heading`);
    }
  assert.deepEqual(broken, []);
});

test("anchors are those of GitHub", () => {
  const taken = new Map<string, number>();
  assert.equal(anchorOf("What `sublet` does, and why", taken), "what-sublet-does-and-why");
  assert.equal(anchorOf("[reclaim] of agent.toml", taken), "reclaim-of-agenttoml");
  assert.equal(anchorOf("job_submit and cli_filter", taken), "job_submit-and-cli_filter");
  assert.equal(anchorOf("[reclaim] of agent.toml", taken), "reclaim-of-agenttoml-1");
});

test("links lead to pages of the site; what the site does not have is text", () => {
  const { html } = readPage(
    "docs/guard.md",
    "# A\n\n[b](install.md#slurm) [c](../README.md) [d](#a) [e](../src/x.ts) [f](https://example.org/)\n",
  );
  assert.match(html, /<a href="install.html#slurm">b<\/a>/);
  assert.match(html, /<a href="index.html">c<\/a>/);
  assert.match(html, /<a href="#a">d<\/a>/);
  assert.match(html, /<span>e<\/span>/);
  assert.match(html, /<a href="https:\/\/example.org\/">f<\/a>/);
});

test("the site needs nothing from elsewhere, has no scripts or styles within pages, and lacks no file", async () => {
  const out = mkdtempSync(join(tmpdir(), "sublet-site-"));
  try {
    const pages = await generate(out);
    assert.equal(pages.length, entries.length);
    for (const { source } of pages) {
      const name = pageOf(source);
      const html = readFileSync(join(out, name), "utf8");
      assert.doesNotMatch(html, /<style|<script>|\sstyle="|\son[a-z]+="/, name);
      for (const [, kind, address = ""] of html.matchAll(/\s(src|href)="([^"]+)"/g)) {
        if (kind === "href" && /^https?:/.test(address)) continue;
        const [file = ""] = address.split("#");
        assert.ok(file === "" || existsSync(join(out, file)), `${name}: ${address}`);
      }
    }
    const styles = readFileSync(join(out, "assets/site.css"), "utf8");
    assert.deepEqual(
      [...styles.matchAll(/url\(([^)]+)\)/g)].map(([, address]) => address),
      ['"inter.woff2"'],
    );
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});
