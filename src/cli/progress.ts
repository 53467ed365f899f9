/**
 * What takes long says how far it is: on a terminal in one line that is written over and in the end taken away, elsewhere
 * (a log, a pipe) as one line at the end. Nothing is said of what is over within two seconds.
 */
import { formatDuration, type Output } from "./output.ts";

const progressAfterMs = 2_000;
const everyMs = 500;

export interface Progress {
  /** Takes the line away; where there was none, says what was done. */
  end(): void;
}

/**
 * `now`: how far it is, asked at most every 500 ms; `whole`: what it was about, for the line at the end.
 * `quiet`: nothing at all, since programs read what comes.
 */
export function showProgress(
  options: { readonly output: Output; readonly quiet: boolean; readonly nowMs?: () => number },
  now: (elapsedMs: number) => string | Promise<string>,
  whole: () => string,
): Progress {
  const { output, quiet, nowMs = () => performance.now() } = options;
  const startedMs = nowMs();
  let shown = "";
  let ended = false;
  let asking = false;
  const paint = async (): Promise<void> => {
    const elapsedMs = nowMs() - startedMs;
    if (output.live !== true || elapsedMs < progressAfterMs || asking) return;
    asking = true;
    const text = await now(elapsedMs);
    asking = false;
    if (ended) return;
    shown = text;
    output.error(`\r${shown}\u001b[K`);
  };
  const timer = quiet ? undefined : setInterval(() => void paint().catch(() => undefined), everyMs);
  return {
    end() {
      ended = true;
      clearInterval(timer);
      const tookMs = nowMs() - startedMs;
      if (shown !== "") output.error("\r\u001b[K");
      else if (!quiet && output.live !== true && tookMs >= progressAfterMs)
        output.error(`sublet: ${whole()} in ${formatDuration(tookMs)}\n`);
    },
  };
}
