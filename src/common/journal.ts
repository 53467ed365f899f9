/**
 * Lines of the log as entries of systemd's journal, by its native protocol: a datagram of fields. Only so an entry has a
 * MESSAGE_ID (journalctl -x explains it) and fields to search by; the "<4>" before a line on standard error sets its priority alone.
 *
 * Names of fields: SUBLET_ and the name in the line, in capitals: SUBLET_LEASE=, SUBLET_JOBS=77, SUBLET_JOBS=78. MESSAGE says
 * it all once more in words, since that is what `journalctl -u` shows.
 *
 * Sending never blocks. What journald does not take at once waits, up to a bound, and is sent again; what it can never take is
 * written to standard error, as is everything while there is no journald.
 */
import { type DatagramSender, datagramSender } from "./datagram.ts";
import type { LogSink } from "./log.ts";
import { logEvents } from "./log-events.ts";

export const journalSocket = "/run/systemd/journal/socket";

const busyPauseMs = 50;
const maxWaiting = 2_000;
/** A datagram has to fit into a socket's buffer (net.core.wmem_default is 208 KiB where nobody changed it). */
const maxFieldBytes = 24 * 1024;
const maxFields = 64;
const errnoBusy = 11;

type Fields = Readonly<Record<string, unknown>>;

/** pino's numbers as syslog's. */
function priorityOf(level: unknown): number {
  const number = typeof level === "number" ? level : 30;
  if (number >= 60) return 2;
  if (number >= 50) return 3;
  if (number >= 40) return 4;
  return number >= 30 ? 6 : 7;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** quotaPercent as SUBLET_QUOTA_PERCENT. The journal takes capitals, digits and underscores, 64 at most. */
export function fieldName(name: string): string {
  const plain = name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").replace(/[^A-Za-z0-9]+/g, "_");
  return `SUBLET_${plain.toUpperCase()}`.slice(0, 64);
}

function cut(bytes: Buffer): Buffer {
  return bytes.length <= maxFieldBytes ? bytes : bytes.subarray(0, maxFieldBytes);
}

function field(name: string, value: string): Buffer {
  const bytes = cut(Buffer.from(value));
  if (!bytes.includes(10)) return Buffer.concat([Buffer.from(`${name}=`), bytes, Buffer.from("\n")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([Buffer.from(`${name}\n`), length, bytes, Buffer.from("\n")]);
}

/** lease=n1-x jobs=77,78 why="a word or two". */
function inWords(fields: Fields): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined && value !== null && value !== "")
    .map(([name, value]) => {
      const said = Array.isArray(value) ? value.map(text).join(name === "reasons" ? "; " : ",") : text(value);
      return `${name}=${/[\s"=]/.test(said) ? JSON.stringify(said) : said}`;
    })
    .join(" ");
}

/** A line of pino as an entry. Not one of ours (no JSON): as it is. */
export function journalEntry(identifier: string, line: string): Buffer {
  let parsed: Fields;
  try {
    parsed = JSON.parse(line) as Fields;
  } catch {
    parsed = { msg: line.trimEnd() };
  }
  const { level, time: _time, msg, event, ...fields } = parsed;
  const said = `${text(msg ?? "")} ${inWords(fields)}`.trim();
  const parts = [
    field("MESSAGE", said),
    field("PRIORITY", String(priorityOf(level))),
    field("SYSLOG_IDENTIFIER", identifier),
  ];
  const known = logEvents[event as keyof typeof logEvents];
  if (known !== undefined) parts.push(field("MESSAGE_ID", known.id), field("SUBLET_EVENT", String(event)));
  for (const [name, value] of Object.entries(fields))
    for (const each of Array.isArray(value) ? value : [value])
      if (parts.length < maxFields && each !== undefined && each !== null)
        parts.push(field(fieldName(name), text(each)));
  return Buffer.concat(parts);
}

export interface JournalOptions {
  readonly identifier: string;
  /** Where lines go that journald does not take. */
  readonly fallback: LogSink;
  readonly socket?: string;
  /** For tests. */
  readonly sender?: DatagramSender;
}

export function journalSink({ identifier, fallback, socket, sender }: JournalOptions): LogSink {
  const out = sender ?? datagramSender(socket ?? journalSocket);
  const waiting: { readonly entry: Buffer; readonly line: string }[] = [];
  let dropped = 0;
  let timer: NodeJS.Timeout | undefined;

  /** False: busy. */
  function send(entry: Buffer, line: string): boolean {
    const errno = out === undefined ? -1 : out.send(entry);
    if (errno === errnoBusy) return false;
    if (errno !== 0) fallback.write(line);
    return true;
  }

  function drain(): void {
    timer = undefined;
    for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
      if (!send(next.entry, next.line)) {
        later();
        return;
      }
      waiting.shift();
    }
    if (dropped === 0) return;
    const lost = JSON.stringify({
      level: 40,
      lines: dropped,
      msg: "the journal was busy: lines were dropped",
    });
    dropped = 0;
    send(journalEntry(identifier, lost), `${lost}\n`);
  }

  function later(): void {
    if (timer === undefined) timer = setTimeout(drain, busyPauseMs).unref();
  }

  return {
    write(line) {
      const entry = journalEntry(identifier, line);
      if (waiting.length === 0 && send(entry, line)) return;
      if (waiting.length >= maxWaiting) dropped += 1;
      else waiting.push({ entry, line });
      later();
    },
    flushSync() {
      drain();
      fallback.flushSync();
    },
  };
}
