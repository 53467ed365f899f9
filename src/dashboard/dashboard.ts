/**
 * The dashboard put together: history, view, events, HTTP. It only looks at its source, and what goes wrong here ends here:
 * leases and jobs do not notice. What survives a restart: the history (history-file.ts); sessions and viewers begin anew.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { SubletError } from "../common/errors.ts";
import { Events } from "./events.ts";
import { readAssets } from "./files.ts";
import type { Price } from "./gain.ts";
import { Recorder } from "./history.ts";
import { openHistory } from "./history-file.ts";
import { type HttpServer, serveDashboard } from "./http.ts";
import { Sessions } from "./session.ts";
import type { DashboardSource } from "./source.ts";
import { View } from "./view.ts";

export interface DashboardOptions {
  /** host:port; "": no HTTP, history all the same. */
  readonly listen: string;
  readonly tls?: { readonly certFile: string; readonly keyFile: string } | undefined;
  /** Where history.db is; undefined: in memory. */
  readonly stateDir: string | undefined;
  readonly source: DashboardSource;
  readonly price: () => Price | undefined;
  /** Folder of the built pages. */
  readonly pages?: string;
  readonly recorder?: Recorder;
  readonly nowUnixMs?: () => number;
  /** Monotonic. */
  readonly nowMs?: () => number;
  /** For the log; each is said once. */
  readonly onNote: (text: string) => void;
  readonly onError: (path: string, error: SubletError) => void;
}

export interface Dashboard {
  /** "" without HTTP. */
  readonly url: string;
  readonly view: View;
  readonly viewers: number;
  close(): Promise<void>;
}

const tickMs = 1_000;
const saveMs = 60_000;

export function builtPages(): string {
  return fileURLToPath(new URL("../../build/dashboard/", import.meta.url));
}

/** Rejects when the address cannot be taken or the certificate not be read. */
export async function startDashboard(options: DashboardOptions): Promise<Dashboard> {
  const { source } = options;
  const nowUnixMs = options.nowUnixMs ?? Date.now;
  const nowMs = options.nowMs ?? (() => performance.now());
  const file = openHistory(options.stateDir);
  if (file.note !== "") options.onNote(file.note);
  const recorder = options.recorder ?? new Recorder(file.kept);
  const view = new View({ source, recorder, price: options.price, nowUnixMs, nowMs });
  const events = new Events(view, nowMs);
  let http: HttpServer | undefined;
  let savedMs = nowMs();
  let failed = false;

  function save(): void {
    const why = file.save(recorder);
    if (why !== "" && !failed)
      options.onNote(`history.db cannot be written: ${why}; it is tried again every minute`);
    failed = why !== "";
  }

  const timer = setInterval(() => {
    try {
      view.sample();
      events.tick();
      if (nowMs() - savedMs < saveMs) return;
      savedMs = nowMs();
      save();
    } catch (thrown) {
      options.onError("tick", thrown as SubletError);
    }
  }, tickMs);

  async function close(): Promise<void> {
    clearInterval(timer);
    events.close();
    await http?.close();
    save();
    file.close();
  }

  try {
    const { tls } = options;
    if (options.listen !== "")
      http = await serveDashboard({
        listen: options.listen,
        tls:
          tls === undefined
            ? undefined
            : { cert: readFileSync(tls.certFile), key: readFileSync(tls.keyFile) },
        assets: readAssets(options.pages ?? builtPages()),
        source,
        view,
        events,
        sessions: new Sessions(nowMs, tls !== undefined),
        nowUnixMs,
        onError: options.onError,
      });
  } catch (thrown) {
    await close();
    throw thrown;
  }
  return {
    url: http?.url ?? "",
    view,
    get viewers() {
      return events.count;
    },
    close,
  };
}
