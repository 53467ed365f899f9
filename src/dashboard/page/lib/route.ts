/**
 * The page's state is its address: `#/nodes/n12?range=24h`. What follows # works below any prefix of a reverse proxy, and
 * the server needs to know none of the pages. Going to another page is a step back; turning a filter is not.
 */
import { href, parseRoute, type Query, type Route } from "./address.ts";
import { createStore, useStore } from "./store.ts";

export { href, type Query } from "./address.ts";

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
