/**
 * Calls that follow one another on a channel without asking munged for each. The callee, having verified a caller by
 * MUNGE, hands it a random key in a MUNGE credential that only the caller's uid can open (and that is encrypted); later
 * calls show a code over it:
 *
 *   sublet-session: v1 <session> <counter> <unix ms> <hmac>      hmac = HMAC-SHA256(key, "v1" session counter time
 *                                                                       audience method SHA-256(body)), joined by spaces
 *
 * What a MUNGE credential promises holds: a code is good for one callee, one method, one minute and one time (counters in
 * a window, since calls overtake each other), and beyond that for one body. A key is known to one caller uid and one life
 * of the callee, which keeps it in memory only; it ends after some minutes of the callee's monotonic clock. Whatever is
 * wrong with a code (callee restarted, session over, clock jumped, replay, forgery), the callee has done nothing yet and
 * says so (`sublet-session: refused` behind the status); the caller forgets the key and asks once more with MUNGE, whose
 * word is the last.
 *
 * The nonce of the asker is in the answer, so that an answer of another call or another life is not taken. Who gets between
 * the two learns no key; who plays the callee gives a key of his own, which the true callee does not know.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { SubletError } from "../common/errors.ts";
import { type Caller, maxCredentialAgeMs } from "./identity.ts";

/** Metadata of a call: its code. Of a failed answer: that the code was not accepted. */
export const sessionKey = "sublet-session";
/** Metadata of a call that carries a credential: the caller's nonce, by which it asks for a key. */
export const sessionNonceKey = "sublet-session-nonce";
/** Metadata behind an answer: the sealed key. */
export const sessionGrantKey = "sublet-session-grant";
export const sessionRefused = "refused";

export const sessionLifeMs = 600_000;
/** Callers stop before the callee does. */
const callerLifeMs = sessionLifeMs - 60_000;
const maxSessions = 8_192;
const maxSessionsPerUid = 64;
/** Counters so far behind the highest are not accepted any more. */
const windowSize = 2_048;
const version = "sublet.session.v1";
const noncePattern = /^[0-9a-f]{32}$/;
const headerPattern = /^v1 ([0-9a-f]{32}) (\d{1,15}) (\d{1,15}) ([0-9a-f]{64})$/;
const grantPattern = /^sublet\.session\.v1 (\S{1,300}) ([0-9a-f]{32}) ([0-9a-f]{32}) ([0-9a-f]{64})$/;

/** The call was not begun: it may be made again with a credential. */
export class SessionRefused extends SubletError {
  constructor(why: string) {
    super("UNAUTHENTICATED", why);
  }
}

export interface Signed {
  readonly method: string;
  readonly body: Buffer;
}

export function newNonce(): string {
  return randomBytes(16).toString("hex");
}

function codeOf(
  key: Buffer,
  id: string,
  counter: number,
  timeMs: number,
  audience: string,
  call: Signed,
): string {
  const digest = createHash("sha256").update(call.body).digest("hex");
  return createHmac("sha256", key)
    .update(`v1 ${id} ${counter} ${timeMs} ${audience} ${call.method} ${digest}`)
    .digest("hex");
}

/** The caller's side of one session. */
export interface CallerSession {
  readonly usable: boolean;
  /** The header of one call. */
  sign(call: Signed): string;
}

export interface Clocks {
  /** For ages within this process. */
  readonly monotonicMs: () => number;
  /** Compared with the other side's. */
  readonly unixMs: () => number;
}

/** @throws SubletError UNAUTHENTICATED when the opened grant is not the answer to this nonce of this callee. */
export function openGrant(text: string, audience: string, nonce: string, clocks: Clocks): CallerSession {
  const [, made, asked, id, key] = grantPattern.exec(text) ?? [];
  if (made !== audience || asked !== nonce || id === undefined || key === undefined)
    throw new SubletError("UNAUTHENTICATED", `session: ${audience} answered for somebody else`);
  const secret = Buffer.from(key, "hex");
  const untilMs = clocks.monotonicMs() + callerLifeMs;
  let counter = 0;
  return {
    get usable() {
      return clocks.monotonicMs() < untilMs;
    },
    sign(call) {
      counter += 1;
      const timeMs = clocks.unixMs();
      return `v1 ${id} ${counter} ${timeMs} ${codeOf(secret, id, counter, timeMs, audience, call)}`;
    },
  };
}

interface Session {
  readonly caller: Caller;
  readonly audience: string;
  readonly key: Buffer;
  readonly endMs: number;
  highest: number;
  readonly seen: Set<number>;
}

/** The callee's side: all sessions of one life. */
export class Sessions {
  readonly #clocks: Clocks;
  /** Oldest first, since all live equally long. */
  readonly #sessions = new Map<string, Session>();
  readonly #perUid = new Map<number, Set<string>>();

  constructor(clocks: Clocks) {
    this.#clocks = clocks;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** A new session of a verified caller; what is to be sealed for it. audience: the callee's name as the caller knows it. */
  grant(caller: Caller, audience: string, nonce: string): string {
    if (!noncePattern.test(nonce)) throw new SubletError("INVALID_ARGUMENT", "session nonce: 32 hex digits");
    this.#expire();
    const mine = this.#perUid.get(caller.uid) ?? new Set();
    this.#perUid.set(caller.uid, mine);
    const [oldestOfMine] = mine;
    if (mine.size >= maxSessionsPerUid && oldestOfMine !== undefined) this.#drop(oldestOfMine);
    const [oldest] = this.#sessions.keys();
    if (this.#sessions.size >= maxSessions && oldest !== undefined) this.#drop(oldest);
    const id = randomBytes(16).toString("hex");
    const key = randomBytes(32);
    const endMs = this.#clocks.monotonicMs() + sessionLifeMs;
    this.#sessions.set(id, { caller, audience, key, endMs, highest: 0, seen: new Set() });
    mine.add(id);
    this.#perUid.set(caller.uid, mine); // its oldest may have been its last
    return `${version} ${audience} ${nonce} ${id} ${key.toString("hex")}`;
  }

  /** Who makes this call. A counter is used up only by a good code. @throws SessionRefused. */
  verify(header: string, call: Signed): Caller {
    const bad = (why: string): SessionRefused => new SessionRefused(`session: ${why}`);
    const [, id = "", count, time, code = ""] = headerPattern.exec(header) ?? [];
    const counter = Number(count);
    const session = this.#sessions.get(id);
    if (session === undefined || session.endMs <= this.#clocks.monotonicMs()) throw bad("is over or unknown");
    const right = codeOf(session.key, id, counter, Number(time), session.audience, call);
    if (!timingSafeEqual(Buffer.from(right), Buffer.from(code))) throw bad("code is wrong");
    const ageMs = this.#clocks.unixMs() - Number(time);
    if (Math.abs(ageMs) > maxCredentialAgeMs)
      throw bad(`code is ${Math.round(ageMs / 1000)} s old; compare the clocks of both machines`);
    if (counter <= session.highest - windowSize || session.seen.has(counter))
      throw bad("code was used before");
    this.#use(session, counter);
    return session.caller;
  }

  #use(session: Session, counter: number): void {
    session.seen.add(counter);
    session.highest = Math.max(session.highest, counter);
    if (session.seen.size <= 2 * windowSize) return;
    for (const old of session.seen) if (old <= session.highest - windowSize) session.seen.delete(old);
  }

  #expire(): void {
    const nowMs = this.#clocks.monotonicMs();
    for (const [id, { endMs }] of this.#sessions) {
      if (endMs > nowMs) return;
      this.#drop(id);
    }
  }

  #drop(id: string): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    this.#sessions.delete(id);
    const mine = this.#perUid.get(session.caller.uid);
    mine?.delete(id);
    if (mine?.size === 0) this.#perUid.delete(session.caller.uid);
  }
}
