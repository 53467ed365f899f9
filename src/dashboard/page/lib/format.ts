/** Figures as a person reads them: cores, GiB, ms, money, times in the viewer's zone. Free of the DOM. */

const locale = "en-GB";
export const none = "–";

function digits(fraction: number): Intl.NumberFormat {
  return new Intl.NumberFormat(locale, { minimumFractionDigits: 0, maximumFractionDigits: fraction });
}
const formats = [digits(0), digits(1), digits(2), digits(3)];

/** Three significant digits below 100, whole numbers with separators above. */
export function number(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return none;
  const size = Math.abs(value);
  const fraction = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return formats[fraction]?.format(value) ?? none;
}

/** Short enough for an axis: 12K, 3.4M; what is below ten with its digits. */
export function compact(value: number): string {
  if (Math.abs(value) < 10) return number(Number(value.toPrecision(2)));
  // British English writes a million as m, which reads as milli here.
  return new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 }).format(value);
}

export function percent(share: number | null | undefined, fraction = 0): string {
  if (share === null || share === undefined || !Number.isFinite(share)) return none;
  const value = share * 100;
  return value > 0 && value < 1 && fraction === 0 ? "< 1 %" : `${formats[fraction]?.format(value)} %`;
}

/** Already percent; with its sign where `signed`. */
export function points(value: number | null | undefined, signed = false): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return none;
  const text = `${formats[2]?.format(Math.abs(value))} %`;
  const sign = value < -0.005 ? "−" : signed && value > 0.005 ? "+" : "";
  return sign + text;
}

const gib = 2 ** 30;

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return none;
  if (value === 0) return "0 GiB";
  if (value >= 1024 ** 2 * gib) return `${number(value / (1024 ** 2 * gib))} PiB`;
  if (value >= 1024 * gib) return `${number(value / (1024 * gib))} TiB`;
  return value >= 1000 * 2 ** 20 ? `${number(value / gib)} GiB` : `${number(value / 2 ** 20)} MiB`;
}

/** Steps of an axis of bytes: 1 MiB to 2 EiB by powers of two. */
export const byteSteps: readonly number[] = Array.from({ length: 42 }, (_, index) => 2 ** (20 + index));

export function cores(value: number | null | undefined): string {
  if (value === null || value === undefined) return none;
  return `${number(value)} ${value === 1 ? "core" : "cores"}`;
}

/** A length of time from ms: 0.4 ms, 12 ms, 3.2 s, 4 min 10 s, 3 h 20 min, 2 d 4 h. */
export function span(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return none;
  if (ms < 0) return "0 ms";
  if (ms < 1000) return `${number(ms < 10 ? Math.round(ms * 10) / 10 : Math.round(ms))} ms`;
  if (ms < 60_000) return `${number(Math.round(ms / 100) / 10)} s`;
  const pairs: readonly [number, string, number, string][] = [
    [86_400_000, "d", 3_600_000, "h"],
    [3_600_000, "h", 60_000, "min"],
    [60_000, "min", 1000, "s"],
  ];
  for (const [big, bigName, small, smallName] of pairs) {
    if (ms < big) continue;
    const whole = Math.floor(ms / big);
    const rest = Math.floor((ms - whole * big) / small);
    return rest > 0 ? `${whole} ${bigName} ${rest} ${smallName}` : `${whole} ${bigName}`;
  }
  return none;
}

export function money(value: number | null, currency: string): string {
  if (value === null) return none;
  try {
    return new Intl.NumberFormat(locale, {
      style: "currency",
      currency,
      maximumFractionDigits: Math.abs(value) >= 100 ? 0 : 2,
    }).format(value);
  } catch {
    // Not a currency of ISO 4217: a site's own unit.
    return `${number(value)} ${currency}`;
  }
}

const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat(locale, {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});

/** The hour if it is of the last 20 hours, else with the day. */
export function time(ms: number, nowMs: number): string {
  return Math.abs(nowMs - ms) < 20 * 3_600_000 ? clock.format(ms) : day.format(ms);
}

export function dayTime(ms: number): string {
  return day.format(ms);
}

export function iso(ms: number): string {
  return Number.isFinite(ms) ? new Date(ms).toISOString() : "";
}

/** A word of the protocol as a person says it: LEASE_STATE_ACTIVE and ACTIVE are active, BATCH_JOB is batch job. */
export function word(text: string): string {
  return text
    .replace(/^(LEASE_STATE|LEASE_KIND|REASON|LENDING)_/, "")
    .replaceAll("_", " ")
    .toLowerCase();
}

/** A message as a sentence: it begins large and ends with a stop. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  if (trimmed === "") return "";
  return `${trimmed.charAt(0).toUpperCase()}${trimmed.slice(1)}${/[.!?]$/.test(trimmed) ? "" : "."}`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/** Linux's way to write core numbers: 0-3,8. */
export function coreList(ids: readonly number[]): string {
  const sorted = [...ids].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let at = 0; at < sorted.length; ) {
    let end = at;
    while (sorted[end + 1] === (sorted[end] ?? 0) + 1) end++;
    parts.push(end > at ? `${sorted[at]}-${sorted[end]}` : `${sorted[at]}`);
    at = end + 1;
  }
  return parts.join(",");
}

/** A line, or an area, takes two points. */
export function isDrawn(values: readonly (number | null)[]): boolean {
  let points = 0;
  for (const value of values) if (value !== null && ++points === 2) return true;
  return false;
}

/** What stands in place of a chart. */
export function noHistory(history: { readonly stepMs: number }): string {
  return `No history of this span yet: a point comes every ${span(history.stepMs)}.`;
}

/** A time zone as a person says it: Europe/Zurich, America/New York. */
export function place(timeZone: string): string {
  return timeZone.replaceAll("_", " ");
}
