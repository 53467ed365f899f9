/**
 * What the pages do beyond HTML: search, the switch between light and dark, copying of commands, and where in the page one
 * is. Without scripts everything but these works. The index is loaded when somebody first wants to search.
 */
import MiniSearch from "minisearch";
import { type Entry, options } from "../search.ts";

declare global {
  interface Window {
    subletSearch?: string;
  }
}

const shown = 12;
const excerptLength = 140;

function byId<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`no #${id}`);
  return found as T;
}

let index: Promise<MiniSearch<Entry>> | undefined;

function loadIndex(): Promise<MiniSearch<Entry>> {
  index ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "assets/search.js";
    script.onload = () => resolve(MiniSearch.loadJSON<Entry>(window.subletSearch ?? "{}", options));
    script.onerror = reject;
    document.head.append(script);
  });
  return index;
}

/** The words around the first hit, with hits marked. */
function excerpt(text: string, terms: readonly string[]): DocumentFragment {
  const wanted = terms.map((term) => term.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const first = wanted.length === 0 ? 0 : Math.max(text.search(new RegExp(wanted.join("|"), "i")), 0);
  const from = first < 40 ? 0 : text.indexOf(" ", first - 40) + 1;
  const end = text.lastIndexOf(" ", from + excerptLength);
  const to = from + excerptLength >= text.length ? text.length : end > from ? end : from + excerptLength;
  const part = text.slice(from, to);
  const fragment = document.createDocumentFragment();
  if (from > 0) fragment.append("… ");
  const pieces = wanted.length === 0 ? [part] : part.split(new RegExp(`(${wanted.join("|")})`, "gi"));
  for (const [at, piece] of pieces.entries()) {
    if (at % 2 === 0) fragment.append(piece);
    else fragment.append(Object.assign(document.createElement("mark"), { textContent: piece }));
  }
  if (to < text.length) fragment.append(" …");
  return fragment;
}

interface Hit {
  readonly entry: Entry;
  readonly terms: readonly string[];
}

function find(search: MiniSearch<Entry>, text: string): Hit[] {
  return search
    .search(text)
    .slice(0, shown)
    .map((result) => ({
      entry: result as unknown as Entry,
      terms: result.terms,
    }));
}

function hitElement({ entry, terms }: Hit, position: number): HTMLAnchorElement {
  const link = document.createElement("a");
  link.href = entry.href;
  link.id = `found-${position}`;
  link.role = "option";
  const title = document.createElement("b");
  title.append(excerpt(entry.heading, terms));
  const page = document.createElement("small");
  page.textContent = entry.page === entry.heading ? "" : entry.page;
  const body = document.createElement("p");
  body.append(excerpt(entry.body, terms));
  link.append(title, page, body);
  return link;
}

function startSearch(): void {
  const input = byId<HTMLInputElement>("search");
  const found = byId("found");
  let chosen = -1;
  const choose = (position: number): void => {
    const links = [...found.querySelectorAll("a")];
    chosen = links.length === 0 ? -1 : (position + links.length) % links.length;
    for (const [at, link] of links.entries()) link.setAttribute("aria-selected", String(at === chosen));
    input.setAttribute("aria-activedescendant", chosen < 0 ? "" : `found-${chosen}`);
    links[chosen]?.scrollIntoView({ block: "nearest" });
  };
  const show = (open: boolean): void => {
    found.hidden = !open;
    input.setAttribute("aria-expanded", String(open));
  };
  const update = async (): Promise<void> => {
    const text = input.value.trim();
    if (text === "") return show(false);
    const search = await loadIndex();
    if (text !== input.value.trim()) return;
    const hits = find(search, text);
    if (hits.length > 0) found.replaceChildren(...hits.map(hitElement));
    else found.replaceChildren(Object.assign(document.createElement("p"), { textContent: "Nothing found." }));
    show(true);
    choose(0);
  };
  const say = (): void => {
    found.replaceChildren(
      Object.assign(document.createElement("p"), { textContent: "The index cannot be read." }),
    );
    show(true);
  };
  input.addEventListener("focus", () => void loadIndex().catch(say));
  input.addEventListener("input", () => void update().catch(say));
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen - 1);
    else if (event.key === "Enter") found.querySelectorAll("a")[chosen]?.click();
    else if (event.key === "Escape") {
      input.value = "";
      show(false);
      input.blur();
    } else return;
    event.preventDefault();
  });
  found.addEventListener("click", () => show(false));
  document.addEventListener("click", (event) => {
    if (!(event.target as Element).closest(".search")) show(false);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if ((event.target as Element).closest("input, textarea")) return;
    event.preventDefault();
    input.focus();
    input.select();
  });
  // A search may be linked: index.html?q=prolog
  const asked = new URLSearchParams(location.search).get("q");
  if (asked !== null) {
    input.value = asked;
    input.focus();
    void update().catch(say);
  }
}

function startTheme(): void {
  const button = byId<HTMLButtonElement>("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const now = (): string => document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light");
  const label = (): void => {
    button.textContent = now() === "dark" ? "Light" : "Dark";
  };
  button.addEventListener("click", () => {
    const next = now() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("sublet-docs-theme", next);
    } catch {
      // Chosen for this page only.
    }
    label();
  });
  system.addEventListener("change", label);
  label();
  button.hidden = false;
}

function startCopying(): void {
  for (const block of document.querySelectorAll(".code")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", () => {
      const text = block.querySelector("code")?.textContent ?? "";
      void navigator.clipboard?.writeText(text).then(
        () => {
          button.textContent = "Copied";
          setTimeout(() => {
            button.textContent = "Copy";
          }, 2000);
        },
        () => {
          button.textContent = "Not allowed";
        },
      );
    });
    block.append(button);
  }
}

/** Marks in the list of sections the one that is being read. */
function startPlace(): void {
  const links = new Map(
    [...document.querySelectorAll<HTMLAnchorElement>("aside a")].map((link) => [link.hash.slice(1), link]),
  );
  const headings = [...document.querySelectorAll<HTMLElement>("main h2, main h3")];
  if (links.size === 0) return;
  const mark = (): void => {
    const above = headings.filter((heading) => heading.getBoundingClientRect().top < 120);
    const current = above.at(-1)?.id;
    for (const [id, link] of links) link.classList.toggle("here", id === current);
  };
  let due = false;
  addEventListener(
    "scroll",
    () => {
      if (due) return;
      due = true;
      requestAnimationFrame(() => {
        due = false;
        mark();
      });
    },
    { passive: true },
  );
  mark();
}

startSearch();
startTheme();
startCopying();
startPlace();

// On wide screens all pages are listed at all times; on narrow ones when asked for.
const wide = matchMedia("(min-width: 60rem)");
const unfold = (): void => {
  byId<HTMLDetailsElement>("menu").open = wide.matches;
};
wide.addEventListener("change", unfold);
unfold();
