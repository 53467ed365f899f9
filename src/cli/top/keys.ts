/** What a key does to the picture of `sublet top`. Pure. */
import { type SortName, sortNames, type View } from "./frame.ts";

export type Act = "quit" | "suspend" | View;

const sorts: Readonly<Record<string, SortName>> = {
  N: "node",
  P: "allocated",
  L: "lent",
  S: "spare",
  M: "memory",
};

const moves: Readonly<Record<string, (top: number, page: number, rows: number) => number>> = {
  "\u001b[A": (top) => top - 1,
  "\u001bOA": (top) => top - 1,
  k: (top) => top - 1,
  "\u001b[B": (top) => top + 1,
  "\u001bOB": (top) => top + 1,
  j: (top) => top + 1,
  "\u001b[5~": (top, page) => top - page,
  "\u0002": (top, page) => top - page,
  "\u001b[6~": (top, page) => top + page,
  "\u0006": (top, page) => top + page,
  "\u001b[H": () => 0,
  "\u001b[1~": () => 0,
  g: () => 0,
  "\u001b[F": (_, page, rows) => rows - page,
  "\u001b[4~": (_, page, rows) => rows - page,
  G: (_, page, rows) => rows - page,
};

const maxSearch = 64;

function typed(view: View, key: string): View {
  if (key === "\r" || key === "\n") return { ...view, typing: false };
  if (key === "\u001b") return { ...view, typing: false, search: "" };
  if (key === "\u007f" || key === "\b") return { ...view, search: view.search.slice(0, -1), top: 0 };
  if (key === "\u0015") return { ...view, search: "", top: 0 };
  if (/^[\x20-\x7e]$/.test(key)) return { ...view, search: (view.search + key).slice(0, maxSearch), top: 0 };
  return view;
}

function sortBeside(view: View, step: number): View {
  const at = sortNames.indexOf(view.sort) + step;
  const sort = sortNames[Math.max(0, Math.min(sortNames.length - 1, at))] ?? view.sort;
  return { ...view, sort, top: 0 };
}

/** `page`: nodes that are shown at once; `rows`: nodes that are listed. */
export function press(view: View, key: string, page: number, rows: number): Act {
  if (key === "\u0003") return "quit";
  if (key === "\u001a") return "suspend";
  if (view.typing) return typed(view, key);
  if (view.help) return key === "q" ? "quit" : { ...view, help: false };
  if (key === "q" || key === "Q") return "quit";
  const move = moves[key];
  if (move !== undefined) {
    const top = Math.max(0, Math.min(move(view.top, page, rows), rows - page));
    return { ...view, top };
  }
  const sort = sorts[key];
  if (sort !== undefined) return { ...view, sort, top: 0 };
  if (key === "/") return { ...view, typing: true, search: "", top: 0 };
  if (key === "\u001b") return { ...view, search: "", top: 0 };
  if (key === "<" || key === ",") return sortBeside(view, -1);
  if (key === ">" || key === ".") return sortBeside(view, 1);
  if (key === "r" || key === "I" || key === "R") return { ...view, reverse: !view.reverse };
  if (key === " ") return { ...view, paused: !view.paused };
  if (key === "h" || key === "?") return { ...view, help: true };
  return view;
}

/** Keys of what a terminal sent at once: escape sequences stay whole. */
export function keysOf(text: string): string[] {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what keys send.
  return text.match(/\u001b(?:\[[0-9;]*[A-Za-z~]|O[A-Za-z])|[\s\S]/g) ?? [];
}
