/**
 * Who is logged in: a random cookie for a person whom MUNGE vouched for. In memory, bounded, for eight hours; a controller
 * that starts again asks anew. The cookie is of no use to another site (SameSite=Strict, and what changes anything must be
 * JSON from our own pages) nor to a script (HttpOnly).
 */
import { createHash, randomBytes } from "node:crypto";
import type { Way } from "./entry.ts";
import type { Person } from "./source.ts";

const cookieName = "sublet_session";
/** One that a browser takes over HTTPS and from this host alone: no page on plain HTTP can put another in its place. */
const secureName = `__Host-${cookieName}`;
const lifeMs = 8 * 3_600_000;
const maxSessions = 1000;

export class Sessions {
  /** By the hash of the cookie: a core dump has no cookie in it that works. */
  readonly #people = new Map<string, { readonly person: Person; readonly untilMs: number }>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Value of Set-Cookie. */
  begin(person: Person, way: Way): string {
    const token = randomBytes(32).toString("base64url");
    const oldest = this.#people.keys().next();
    if (this.#people.size >= maxSessions && !oldest.done) this.#people.delete(oldest.value);
    this.#people.set(keyOf(token), { person, untilMs: this.#nowMs() + lifeMs });
    return cookie(token, lifeMs / 1000, way);
  }

  /** Nobody, on a way by which nobody logs in. */
  find(cookies: string | undefined, way: Way): Person | undefined {
    const key = way.refused === undefined ? keyIn(cookies, way) : undefined;
    const found = key === undefined ? undefined : this.#people.get(key);
    if (found === undefined || key === undefined) return undefined;
    if (found.untilMs > this.#nowMs()) return found.person;
    this.#people.delete(key);
    return undefined;
  }

  end(cookies: string | undefined, way: Way): string {
    const key = keyIn(cookies, way);
    if (key !== undefined) this.#people.delete(key);
    return cookie("", 0, way);
  }
}

function cookie(value: string, seconds: number, { secure }: Way): string {
  const rest = `Path=/; HttpOnly; SameSite=Strict; Max-Age=${seconds}`;
  return secure ? `${secureName}=${value}; ${rest}; Secure` : `${cookieName}=${value}; ${rest}`;
}

function keyOf(token: string): string {
  return createHash("sha256").update(token).digest("base64");
}

function keyIn(cookies: string | undefined, { secure }: Way): string | undefined {
  const name = secure ? secureName : cookieName;
  const token = new RegExp(`(?:^|;\\s*)${name}=([A-Za-z0-9_-]{43})(?:;|$)`).exec(cookies ?? "")?.[1];
  return token === undefined ? undefined : keyOf(token);
}
