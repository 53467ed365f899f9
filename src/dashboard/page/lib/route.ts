/**
 * The page's state is its address: `#/nodes/n12?range=24h`. What follows # works below any prefix of a reverse proxy, and
 * the server needs to know none of the pages. Going to another page is a step back; turning a filter is not.
 */
import { href, parseRoute, type Query, type Route } from "./address.ts";
import { createStore, useStore } from "./store.ts";

export { href, type Query } from "./address.ts";

/** Of an address that logs in, `#/login/CREDENTIAL`, until somebody takes it. */
export const loginCredential = createStore<string | undefined>(undefined);

/** What the address says now. A credential is taken out of it at once: neither the bar nor the history keeps it. */
function here(): Route {
  const found = parseRoute(globalThis.location?.hash ?? "");
  if (found.path[0] !== "login") return found;
  history.replaceState(null, "", href([]));
  loginCredential.set(found.path[1]);
  return parseRoute("");
}

const route = createStore<Route>(here());
globalThis.addEventListener?.("hashchange", () => route.set(here()));

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
