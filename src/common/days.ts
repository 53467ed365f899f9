/** Days of the site: which day a moment is in, where a day begins. By the site's time zone, with its summer time. Pure. */

const dayMs = 86_400_000;
/** No clock is further from UTC than this. */
const zoneMs = 15 * 3_600_000;

/** This machine's. */
export function localTimeZone(): string {
  return new Intl.DateTimeFormat().resolvedOptions().timeZone;
}

export interface DayPart {
  /** 2026-11-25 */
  readonly day: string;
  /** Part of the span that is in this day; all parts add up to 1. */
  readonly share: number;
}

/** By its parts: a trimmed Node lacks most languages, and with them how they write dates. */
function partsOf(format: Intl.DateTimeFormat, unixMs: number): Record<string, string> {
  return Object.fromEntries(format.formatToParts(unixMs).map(({ type, value }) => [type, value]));
}

function dayText({ year, month, day }: Record<string, string>): string {
  return `${year}-${month}-${day}`;
}

export class Days {
  readonly timeZone: string;
  readonly #format: Intl.DateTimeFormat;
  readonly #clock: Intl.DateTimeFormat;
  /** The day that was asked for last, [from, to). */
  #last = { day: "", fromMs: 0, toMs: 0 };

  constructor(timeZone: string) {
    this.timeZone = timeZone;
    const day = { timeZone, year: "numeric", month: "2-digit", day: "2-digit" } as const;
    this.#format = new Intl.DateTimeFormat("en-US", day);
    const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" } as const;
    this.#clock = new Intl.DateTimeFormat("en-US", { ...day, ...clock });
  }

  /** The day of a moment. */
  dayOf(unixMs: number): string {
    if (unixMs >= this.#last.fromMs && unixMs < this.#last.toMs) return this.#last.day;
    const day = this.#dayAt(unixMs);
    this.#last = { day, fromMs: this.startOf(day), toMs: this.endOf(day) };
    return day;
  }

  /** What a clock shows there: 2026-11-25 12:00:00. */
  clockAt(unixMs: number): string {
    const parts = partsOf(this.#clock, unixMs);
    return `${dayText(parts)} ${parts.hour}:${parts.minute}:${parts.second}`;
  }

  #dayAt(unixMs: number): string {
    return dayText(partsOf(this.#format, unixMs));
  }

  /** When a clock there shows 2026-11-25T12:00; of two such moments the first, where it skips one the same time later. */
  momentOf(clock: string): number {
    const utcMs = Date.parse(`${clock}Z`);
    const offsetMs = (atMs: number): number =>
      Date.parse(`${this.clockAt(atMs).replace(" ", "T")}Z`) - Math.floor(atMs / 1000) * 1000;
    const [earlier, later] = [utcMs - zoneMs, utcMs + zoneMs].map((atMs) => utcMs - offsetMs(atMs)) as [
      number,
      number,
    ];
    const is = (atMs: number): boolean => offsetMs(atMs) === utcMs - atMs;
    return !is(earlier) && is(later) ? later : earlier;
  }

  /** The first moment of a day: midnight, or what comes first where a clock skips it. */
  startOf(day: string): number {
    const utcMs = Date.parse(`${day}T00:00:00Z`);
    let before = utcMs - zoneMs;
    let within = utcMs + zoneMs;
    while (within - before > 1) {
      const middle = Math.floor((before + within) / 2);
      if (this.#dayAt(middle) >= day) within = middle;
      else before = middle;
    }
    return within;
  }

  /** The first moment that is not in it any more. */
  endOf(day: string): number {
    return this.startOf(this.shift(day, 1));
  }

  /** `count` days later. */
  shift(day: string, count: number): string {
    return new Date(Date.parse(`${day}T00:00:00Z`) + count * dayMs).toISOString().slice(0, 10);
  }

  /** How a span is divided among days; all of it in its day when it has no length. */
  split(beginUnixMs: number, endUnixMs: number): DayPart[] {
    const parts: DayPart[] = [];
    const lengthMs = endUnixMs - beginUnixMs;
    const lastDay = this.dayOf(endUnixMs);
    let day = this.dayOf(beginUnixMs);
    let fromMs = beginUnixMs;
    while (day < lastDay) {
      const toMs = this.endOf(day);
      parts.push({ day, share: (toMs - fromMs) / lengthMs });
      fromMs = toMs;
      day = this.shift(day, 1);
    }
    if (endUnixMs > fromMs || parts.length === 0)
      parts.push({ day: lastDay, share: lengthMs <= 0 ? 1 : (endUnixMs - fromMs) / lengthMs });
    return parts;
  }
}

/**
 * A day as a person names it: 2026-11-25, today, yesterday, or 7d, the first of the last 7 days.
 * undefined: it is none.
 */
export function parseDay(text: string, today: string, days: Pick<Days, "shift">): string | undefined {
  if (text === "" || text === "today") return today;
  if (text === "yesterday") return days.shift(today, -1);
  const back = /^([1-9]\d{0,4})d$/.exec(text)?.[1];
  if (back !== undefined) return days.shift(today, 1 - Number(back));
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return undefined;
  const parsed = Date.parse(`${text}T00:00:00Z`);
  return Number.isNaN(parsed) || days.shift(text, 0) !== text ? undefined : text;
}
