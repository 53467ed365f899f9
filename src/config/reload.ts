/**
 * SIGHUP: the configuration is read again, and applied as a whole or not at all. First everything is read and checked, also
 * against what only the daemon knows (its guard policy), and opened; nothing that can fail comes after. Keys that the schema calls
 * live change at once, and so do those of a part that does not run; the others keep the value with which the daemon was
 * started, and are named until it is started again (or the file says the old value again). One reload at a time: signals that come meanwhile cause one more after it.
 */
import { type SubletError, toSubletError } from "../common/errors.ts";
import type { KeySpec } from "./keys.ts";
import { isTable, type Values } from "./layers.ts";
import { type Setting, valueAt } from "./load.ts";
import { hidden } from "./show.ts";
import type { Configuration, FileReader, Read } from "./sources.ts";
import { readStable, type StableOptions } from "./stable.ts";
import { tomlValue } from "./toml-value.ts";

export interface Change {
  readonly key: string;
  /** As TOML writes them; "unset". */
  readonly from: string;
  readonly to: string;
  /** Where the new value comes from; empty: the default. */
  readonly where: string;
}

export interface Reloaded {
  /** In force. */
  readonly changed: readonly Change[];
  /** In the files, but not in force until the daemon is started again. */
  readonly pending: readonly Change[];
}

function text({ key, value }: Setting): string {
  return value === undefined ? "unset" : key.secret ? hidden : tomlValue(value);
}

/** Compared by what they are: a secret that changed shows, though not what it is. */
const sameValue = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Does a reload change this key at once? */
type IsLive = (key: KeySpec) => boolean;

function changesBetween(before: Read<unknown>, after: Read<unknown>, isLive: IsLive): Reloaded {
  const changed: Change[] = [];
  const pending: Change[] = [];
  for (const [index, setting] of after.settings.entries()) {
    const old = before.settings[index];
    if (old === undefined || sameValue(old.value, setting.value)) continue;
    const change = {
      key: setting.key.key,
      from: text(old),
      to: text(setting),
      where: setting.origin.where,
    };
    (isLive(setting.key) ? changed : pending).push(change);
  }
  return { changed, pending };
}

function withValue(values: Values, path: readonly string[], value: unknown): Values {
  const [first = "", ...rest] = path;
  if (rest.length === 0) return { ...values, [first]: value };
  const inner = isTable(values[first]) ? values[first] : {};
  return { ...values, [first]: withValue(inner, rest, value) };
}

/** What is in force when `next` is read while `running` runs: live keys of the one, the others of the other. */
function liveOf<R>(running: Read<R>, next: Read<R>, isLive: IsLive): Read<R> {
  let raw = running.raw as Values;
  const settings = next.settings.map((setting, index) => {
    if (!isLive(setting.key)) return running.settings[index] ?? setting;
    if (valueAt(raw, setting.key.path) !== setting.value)
      raw = withValue(raw, setting.key.path, setting.value);
    return setting;
  });
  return { ...next, raw: raw as R, settings };
}

export interface ReloaderOptions<C, R> {
  readonly running: Configuration<C, R>;
  readonly read: (read: FileReader) => Configuration<C, R>;
  readonly compile: (read: Read<R>) => Configuration<C, R>;
  /** Keys that change at once, too, for now: of a part that does not run, and so has nothing to keep. */
  readonly alsoLive?: (key: string) => boolean;
  /** What only the daemon knows is checked and may be refused by throwing; what it returns applies all, and cannot fail. */
  readonly prepare: (config: C, read: FileReader) => () => void;
  /**
   * What takes time and may still fail (a port to listen at): once all was checked, before anything is applied. Whatever it
   * rejects with refuses the reload; it leaves nothing behind then.
   */
  readonly open?: (config: C) => Promise<void>;
  readonly onReloaded: (reloaded: Reloaded) => void;
  readonly onRefused: (error: SubletError) => void;
  readonly stable?: StableOptions;
}

export interface Reloader<C, R> {
  /** In force now. */
  readonly running: Configuration<C, R>;
  /** Resolves when the configuration as of this call was applied or refused. Never rejects. */
  reload(): Promise<void>;
}

export function createReloader<C, R>(options: ReloaderOptions<C, R>): Reloader<C, R> {
  let running = options.running;
  let under: Promise<void> | undefined;
  let again: Promise<void> | undefined;

  async function once(): Promise<void> {
    const isLive: IsLive = (key) => key.live || (options.alsoLive?.(key.key) ?? false);
    try {
      const { next, effective, apply } = await readStable((read) => {
        const whole = options.read(read);
        const now = options.compile(liveOf(running.read, whole.read, isLive));
        return { next: whole, effective: now, apply: options.prepare(now.config, read) };
      }, options.stable);
      const reloaded = changesBetween(running.read, next.read, isLive);
      await options.open?.(effective.config);
      apply();
      running = effective;
      options.onReloaded(reloaded);
    } catch (thrown) {
      options.onRefused(toSubletError(thrown));
    }
  }

  return {
    get running() {
      return running;
    },
    reload() {
      if (under === undefined) {
        under = once().finally(() => {
          under = undefined;
        });
        return under;
      }
      again ??= under.then(() => {
        again = undefined;
        return this.reload();
      });
      return again;
    },
  };
}
