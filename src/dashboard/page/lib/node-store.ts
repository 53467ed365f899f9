/** The one copy of the node table that all pages share: read once, then kept up by the stream. */
import { useEffect } from "preact/hooks";
import type { NodeTable } from "../../api.ts";
import { type ApiFailure, get } from "./api.ts";
import { applyChanges } from "./nodes.ts";
import { createStore, useStore } from "./store.ts";
import { onNodes, onOpen } from "./stream.ts";

export interface Nodes {
  readonly table: NodeTable | undefined;
  readonly error: ApiFailure | undefined;
  /** Rises with each change, since the table is changed in place. */
  readonly version: number;
}

const store = createStore<Nodes>({ table: undefined, error: undefined, version: 0 });
let users = 0;
let stop: (() => void) | undefined;
let reading: AbortController | undefined;

function publish(table: NodeTable | undefined, error: ApiFailure | undefined): void {
  store.set({ table, error, version: store.get().version + 1 });
}

export function readNodes(): void {
  reading?.abort();
  const abort = new AbortController();
  reading = abort;
  get<NodeTable>("nodes", abort.signal).then(
    (table) => {
      const known = store.get().table;
      if (
        !abort.signal.aborted &&
        (known === undefined || known.revision <= table.revision || known.atMs < table.atMs)
      )
        publish(table, undefined);
      if (reading === abort) reading = undefined;
    },
    (error: ApiFailure) => {
      if (abort.signal.aborted) return;
      reading = undefined;
      publish(store.get().table, error);
    },
  );
}

function start(): void {
  const stopNodes = onNodes((changes) => {
    const { table } = store.get();
    const next = table === undefined ? changes.table : applyChanges(table, changes);
    if (next !== undefined) publish(next, undefined);
    else if (reading === undefined) readNodes();
  });
  const stopOpen = onOpen(readNodes);
  readNodes();
  stop = () => {
    stopNodes();
    stopOpen();
    reading?.abort();
    reading = undefined;
  };
}

export function useNodes(): Nodes {
  useEffect(() => {
    if (users++ === 0) start();
    return () => {
      if (--users === 0) stop?.();
    };
  }, []);
  return useStore(store);
}
