/** SIGHUP of a daemon: reads its configuration again and says in log, metrics and to systemd how that went. */
import { logEvent } from "../common/log-events.ts";
import { type Change, createReloader, type Reloader, type ReloaderOptions } from "./reload.ts";

export interface Hangups {
  /** Of every SIGHUP from now on, and at once of one that came before. */
  tell(listener: () => void): void;
}

/** From here on the process does not die of SIGHUP. The handler stays the same: a signal between two would be lost. */
export function hearHangups(): Hangups {
  let early = false;
  let listener = (): void => {
    early = true;
  };
  process.on("SIGHUP", () => listener());
  return {
    tell(next) {
      listener = next;
      if (early) next();
    },
  };
}

export interface ReloadLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface HangupOptions<C, R>
  extends Pick<
    ReloaderOptions<C, R>,
    "running" | "read" | "compile" | "alsoLive" | "prepare" | "open" | "stable"
  > {
  readonly log: ReloadLog;
  readonly hangups: Hangups;
  /** A reload has begun; `done` resolves when it was applied or refused. */
  readonly onBegun?: (done: Promise<void>) => void;
  /** For the metrics; `pending`: keys that wait for the daemon to be started again. */
  readonly onOutcome: (outcome: "applied" | "refused", pending: number) => void;
}

const said = ({ key, from, to, where }: Change): string =>
  `${key}: ${from} -> ${to}${where === "" ? " (default)" : ` (${where})`}`;

export function reloadOnHangup<C, R>(options: HangupOptions<C, R>): Reloader<C, R> {
  const { log, onOutcome } = options;
  let pending = 0;
  const reloader = createReloader({
    ...options,
    onReloaded(reloaded) {
      pending = reloaded.pending.length;
      onOutcome("applied", pending);
      const changed = reloaded.changed.map(said);
      log.info(
        logEvent("config_changed", { changed }),
        changed.length === 0 ? "configuration read again: nothing to change" : "configuration changed",
      );
      if (pending > 0)
        log.warn(
          logEvent("config_wants_restart", { restart: reloaded.pending.map(said) }),
          "these settings want the daemon to be started again",
        );
    },
    onRefused(error) {
      onOutcome("refused", pending);
      log.error(
        logEvent("config_refused", { reasons: error.message.split("\n") }),
        "configuration refused: nothing was applied, the old one stays",
      );
    },
  });
  options.hangups.tell(() => {
    const done = reloader.reload();
    options.onBegun?.(done);
  });
  return reloader;
}
