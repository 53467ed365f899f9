/** Paths and queries behind # and back. Free of the DOM. */

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
