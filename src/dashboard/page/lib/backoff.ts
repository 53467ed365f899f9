const firstRetryMs = 1000;
const lastRetryMs = 30_000;

/** Wait before attempt number `attempt` (0 is the first again); `random` from 0 to 1 spreads a hundred screens. */
export function retryDelayMs(attempt: number, random: number): number {
  return Math.min(lastRetryMs, firstRetryMs * 2 ** attempt) * (0.75 + random / 2);
}
