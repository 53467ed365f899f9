/**
 * Who is logged in: a random cookie for a person whom MUNGE vouched for. In memory, bounded, for eight hours; a controller
 * that starts again asks anew. The cookie is of no use to another site (SameSite=Strict, and what changes anything must be
 * JSON from our own pages) nor to a script (HttpOnly).
 */
import { createHash, randomBytes } from "node:crypto";
import type { Person } from "./source.ts";

const cookieName = "sublet_session";
const lifeMs = 8 * 3_600_000;
const maxSessions = 1000;

export class Sessions {
  /** By the hash of the cookie: a core dump has no cookie in it that works. */
  readonly #people = new Map<string, { readonly person: Person; readonly untilMs: number }>();
  readonly #nowMs: () => number;
  readonly #secure: boolean;

  constructor(nowMs: () => number, secure: boolean) {
    this.#nowMs = nowMs;
    this.#secure = secure;
  }

  /** Value of Set-Cookie. */
  begin(person: Person): string {
    const token = randomBytes(32).toString("base64url");
    const oldest = this.#people.keys().next();
    if (this.#people.size >= maxSessions && !oldest.done) this.#people.delete(oldest.value);
    this.#people.set(keyOf(token), { person, untilMs: this.#nowMs() + lifeMs });
    return this.#cookie(token, lifeMs / 1000);
  }

  find(cookies: string | undefined): Person | undefined {
    const key = keyIn(cookies);
    const found = key === undefined ? undefined : this.#people.get(key);
    if (found === undefined || key === undefined) return undefined;
    if (found.untilMs > this.#nowMs()) return found.person;
    this.#people.delete(key);
    return undefined;
  }

  end(cookies: string | undefined): string {
    const key = keyIn(cookies);
    if (key !== undefined) this.#people.delete(key);
    return this.#cookie("", 0);
  }

  #cookie(value: string, seconds: number): string {
    const secure = this.#secure ? "; Secure" : "";
    return `${cookieName}=${value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${seconds}${secure}`;
  }
}

function keyOf(token: string): string {
  return createHash("sha256").update(token).digest("base64");
}

function keyIn(cookies: string | undefined): string | undefined {
  const token = new RegExp(`(?:^|;\\s*)${cookieName}=([A-Za-z0-9_-]{43})(?:;|$)`).exec(cookies ?? "")?.[1];
  return token === undefined ? undefined : keyOf(token);
}
