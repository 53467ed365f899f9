/**
 * The log of a daemon: JSON lines on standard error for terminals, files and containers; entries of the journal under systemd.
 * Systemd says in JOURNAL_STREAM which device and inode standard error has when it leads to the journal; one that was led
 * elsewhere since has others.
 */
import { fstatSync } from "node:fs";
import { type Logger, pino } from "pino";
import { journalSink } from "./journal.ts";
import { type LogSink, logSink } from "./log.ts";

export interface LogSettings {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly to: "auto" | "journal" | "stderr";
}

export interface DaemonLog {
  readonly log: Logger;
  /** When the settings are known; until then info, to where `auto` leads. */
  configure(settings: LogSettings): void;
  flushSync(): void;
}

const standardError = 2;

export function leadsToJournal(fd: number, environment: NodeJS.ProcessEnv = process.env): boolean {
  const [device, inode] = (environment.JOURNAL_STREAM ?? "").split(":");
  if (device === undefined || inode === undefined) return false;
  try {
    const found = fstatSync(fd, { bigint: true });
    return `${found.dev}` === device && `${found.ino}` === inode;
  } catch {
    return false; // Closed: nobody hears anything there.
  }
}

/** `identifier`: what `journalctl -t` finds it by. */
export function daemonLog(identifier: string, environment: NodeJS.ProcessEnv = process.env): DaemonLog {
  const stderr = logSink(standardError);
  const journal = (): LogSink => journalSink({ identifier, fallback: stderr });
  let sink = leadsToJournal(standardError, environment) ? journal() : stderr;
  const log = pino({ base: null }, { write: (line) => sink.write(line) });
  return {
    log,
    configure({ level, to }) {
      log.level = level;
      if (to === "journal" && sink === stderr) sink = journal();
      if (to === "stderr") sink = stderr;
    },
    flushSync: () => sink.flushSync(),
  };
}
