/** What a page reads by itself: its state, the last good answer kept while a newer one is on its way or fails. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type ApiFailure, get } from "./api.ts";
import { onOpen } from "./stream.ts";

export interface Loaded<T> {
  readonly data: T | undefined;
  readonly error: ApiFailure | undefined;
  readonly loading: boolean;
  readonly reload: () => void;
}

/** Reads `path` now, when it changes, when the stream is back, and every `everyMs`. Undefined reads nothing. */
export function useLoad<T>(path: string | undefined, everyMs = 0): Loaded<T> {
  const [state, setState] = useState<Omit<Loaded<T>, "reload">>({
    data: undefined,
    error: undefined,
    loading: true,
  });
  const [turn, setTurn] = useState(0);
  const shown = useRef<string | undefined>(undefined);
  const reload = useCallback(() => setTurn((was) => was + 1), []);
  useEffect(() => {
    if (path === undefined) return;
    const abort = new AbortController();
    const kept = shown.current === path.split("?")[0];
    setState((was) => ({
      data: kept ? was.data : undefined,
      error: kept ? was.error : undefined,
      loading: true,
    }));
    get<T>(path, abort.signal).then(
      (data) => {
        if (abort.signal.aborted) return;
        shown.current = path.split("?")[0] ?? "";
        setState({ data, error: undefined, loading: false });
      },
      (error: ApiFailure) => {
        if (!abort.signal.aborted) setState((was) => ({ data: was.data, error, loading: false }));
      },
    );
    return () => abort.abort();
  }, [path, turn]);
  useEffect(() => {
    if (path === undefined) return;
    const stop = onOpen(reload);
    const timer = everyMs > 0 ? setInterval(() => !document.hidden && reload(), everyMs) : undefined;
    return () => {
      stop();
      clearInterval(timer);
    };
  }, [path, everyMs, reload]);
  return { ...state, reload };
}
