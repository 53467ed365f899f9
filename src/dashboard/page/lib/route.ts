/**
 * The page's state is its address: `#/nodes/n12?range=24h`. What follows # works below any prefix of a reverse proxy, and
 * the server needs to know none of the pages. Going to another page is a step back; turning a filter is not.
 */
import { createStore, useStore } from "./store.ts";

export interface Route {
  /** Decoded parts: [], ["nodes"], ["nodes", "n12"]. */
  readonly path: readonly string[];
  readonly query: ReadonlyMap<string, string>;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function parseRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split("?", 2);
  return {
    path: path.split("/").filter(Boolean).map(decode),
    query: new Map(new URLSearchParams(query)),
  };
}

export type Query = Readonly<Record<string, string | undefined>>;

export function href(path: readonly string[], query: Query = {}): string {
  const set = Object.entries(query).filter((entry): entry is [string, string] => Boolean(entry[1]));
  const text = new URLSearchParams(set).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

const route = createStore<Route>(parseRoute(globalThis.location?.hash ?? ""));
globalThis.addEventListener?.("hashchange", () => route.set(parseRoute(location.hash)));

export function useRoute(): Route {
  return useStore(route);
}

/** Changes parts of the query in place; undefined takes one out. */
export function setQuery(change: Query): void {
  const { path, query } = route.get();
  const next = href(path, { ...Object.fromEntries(query), ...change });
  if (next === location.hash) return;
  history.replaceState(null, "", next);
  route.set(parseRoute(next));
}

export function go(path: readonly string[], query: Query = {}): void {
  location.hash = href(path, query);
}
