/**
 * When something was, for a later life of the agent: the wall clock says the day, and the time since the boot how long it
 * took. The wall clock is set by people and NTP; the kernel's time since the boot goes on under a restart of the agent and
 * only ever forward, so that no step of the clock adds or takes a core-second.
 */
import { readFileSync } from "node:fs";
import { uptime } from "node:os";

export interface Moment {
  readonly unixMs: number;
  /** Of which boot bootMs tells; "" when nobody knows. */
  readonly boot: string;
  /** Since that boot. */
  readonly bootMs: number;
}

let bootId: string | undefined;

function thisBoot(): string {
  try {
    bootId ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    bootId = ""; // Then the wall clock has to do.
  }
  return bootId;
}

export function thisMoment(): Moment {
  return { unixMs: Date.now(), boot: thisBoot(), bootMs: Math.round(uptime() * 1000) };
}

/** From `earlier` to `later`, 0 at least; by the wall clock only where they are not of the same boot. */
export function betweenMs(earlier: Moment, later: Moment): number {
  const sameBoot = earlier.boot !== "" && earlier.boot === later.boot;
  const lengthMs = sameBoot ? later.bootMs - earlier.bootMs : later.unixMs - earlier.unixMs;
  return Math.max(0, Math.round(lengthMs));
}

/** The same moment, later. */
export function plusMs({ unixMs, boot, bootMs }: Moment, lengthMs: number): Moment {
  return { unixMs: unixMs + lengthMs, boot, bootMs: bootMs + lengthMs };
}
