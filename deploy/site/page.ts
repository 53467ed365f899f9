/** One page of the site as HTML: head, navigation by reader, text, what is on this page, and the pages before and after. */
import type { Page } from "./markdown.ts";
import { entries, navigation, pageOf } from "./navigation.ts";

const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
  "base-uri 'none'; form-action 'none'";

export function escaped(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}

function menu(source: string): string {
  return navigation
    .map(({ reader, entries: list }) => {
      const items = list.map((entry) => {
        const here = entry.source === source ? ' aria-current="page"' : "";
        return `<li><a href="${pageOf(entry.source)}"${here}>${escaped(entry.title)}</a></li>`;
      });
      return `<h2>${escaped(reader)}</h2>\n<ul>\n${items.join("\n")}\n</ul>`;
    })
    .join("\n");
}

function contents(page: Page): string {
  const list = page.headings.filter(({ level }) => level === 2 || level === 3);
  if (list.length < 2) return "";
  const items = list.map(
    ({ level, text, anchor }) => `<li class="level-${level}"><a href="#${anchor}">${escaped(text)}</a></li>`,
  );
  return `<aside aria-label="On this page"><h2>On this page</h2>\n<ul>\n${items.join("\n")}\n</ul></aside>`;
}

function neighbours(source: string): string {
  const at = entries.findIndex((entry) => entry.source === source);
  const link = (index: number, rel: string, arrow: string): string => {
    const entry = entries[index];
    if (entry === undefined) return "<span></span>";
    return `<a rel="${rel}" href="${pageOf(entry.source)}"><small>${arrow}</small>${escaped(entry.title)}</a>`;
  };
  return `<nav class="turn" aria-label="Pages">${link(at - 1, "prev", "Before")}${link(at + 1, "next", "Next")}</nav>`;
}

export function htmlOf(page: Page): string {
  const title = page.source === "README.md" ? "Sublet" : `${page.title} · Sublet`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${escaped(title)}</title>
<link rel="icon" href="assets/icon.svg">
<link rel="stylesheet" href="assets/site.css">
<script src="assets/theme.js"></script>
<script src="assets/site.js" defer></script>
</head>
<body>
<a class="skip" href="#text">To the text</a>
<header>
<a class="home" href="index.html"><img src="assets/icon.svg" alt="" width="22" height="22">Sublet</a>
<div class="search" role="search">
<input id="search" type="search" placeholder="Search" aria-label="Search the documentation" autocomplete="off"
 spellcheck="false" role="combobox" aria-expanded="false" aria-controls="found" aria-autocomplete="list">
<kbd aria-hidden="true">/</kbd>
<div id="found" role="listbox" aria-label="Found" hidden></div>
</div>
<button id="theme" type="button" hidden>Dark</button>
</header>
<div class="page">
<nav class="menu" aria-label="All pages">
<details id="menu"><summary>All pages</summary>
${menu(page.source)}
</details>
</nav>
<main id="text" tabindex="-1">
${page.html}
${neighbours(page.source)}
</main>
${contents(page)}
</div>
</body>
</html>
`;
}
