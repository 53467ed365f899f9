/**
 * A screen on a wall runs for months: when the controller is another version than the one that this page came from, the page
 * loads itself anew, not at once (a hundred screens), and not while a dialog is open.
 */
import { summary } from "./stream.ts";

const spreadMs = 10_000;
const againMs = 2000;

export function followUpgrades(): void {
  let first: string | undefined;
  const stop = summary.subscribe(() => {
    const version = summary.get()?.version;
    first ??= version;
    if (version === undefined || version === first) return;
    stop();
    const load = () => {
      if (document.querySelector("dialog[open]") === null) location.reload();
      else setTimeout(load, againMs);
    };
    setTimeout(load, Math.random() * spreadMs);
  });
}
