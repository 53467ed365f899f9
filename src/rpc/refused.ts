/**
 * Callers whose credential is not accepted, told to the sysadmin: a clock that jumped or keys that differ cut a node off,
 * and only who refuses knows why. A session's code that is refused is no such case: its caller comes back with a credential. One line in ten seconds at most, since such callers try again and again.
 */
import type { CallEvent } from "./server.ts";
import { SessionRefused } from "./session.ts";

const pauseMs = 10_000;

export function refusedCallers(
  warn: (fields: { method: string; times: number; message: string }, text: string) => void,
  nowMs: () => number = () => performance.now(),
): (event: CallEvent) => void {
  let toldAtMs = Number.NEGATIVE_INFINITY;
  let times = 0;
  return ({ method, code, error }) => {
    if (code !== "UNAUTHENTICATED" || error === undefined || error instanceof SessionRefused) return;
    times += 1;
    if (nowMs() - toldAtMs < pauseMs) return;
    toldAtMs = nowMs();
    warn({ method, times, message: error.message }, "a caller was refused");
    times = 0;
  };
}
