/**
 * Sessions of those who logged in: a random token in a cookie, known here by its hash, in memory only. Bounded: the oldest
 * goes when there are too many. Whether somebody is an administrator is asked anew with each thing that he wants.
 */
import { createHash, randomBytes } from "node:crypto";
import type { Principal } from "./source.ts";

export const sessionMs = 8 * 3_600_000;
export const maxSessions = 64;

interface Held {
  readonly principal: Principal;
  readonly untilMs: number;
}

const hashOf = (token: string): string => createHash("sha256").update(token).digest("base64");

export class Sessions {
  readonly #held = new Map<string, Held>();
  readonly #nowMs: () => number;
  readonly #secure: boolean;
  readonly #cookie: string;

  /** secure: the pages come by TLS. nowMs: monotonic. */
  constructor(nowMs: () => number, secure: boolean) {
    this.#nowMs = nowMs;
    this.#secure = secure;
    this.#cookie = secure ? "__Host-sublet" : "sublet";
  }

  /** Gives the Set-Cookie line. */
  begin(principal: Principal): string {
    const token = randomBytes(32).toString("base64url");
    for (const [key, { untilMs }] of this.#held) if (untilMs <= this.#nowMs()) this.#held.delete(key);
    for (const key of this.#held.keys()) {
      if (this.#held.size < maxSessions) break;
      this.#held.delete(key);
    }
    this.#held.set(hashOf(token), { principal, untilMs: this.#nowMs() + sessionMs });
    return this.#line(token, sessionMs / 1000);
  }

  #line(token: string, seconds: number): string {
    const secure = this.#secure ? "; Secure" : "";
    return `${this.#cookie}=${token}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Strict${secure}`;
  }

  #keyOf(cookies: string | undefined): string | undefined {
    for (const part of (cookies ?? "").split(";")) {
      const [name, token] = part.trim().split("=");
      if (name === this.#cookie && token !== undefined && token.length <= 64) return hashOf(token);
    }
    return undefined;
  }

  of(cookies: string | undefined): Principal | undefined {
    const held = this.#held.get(this.#keyOf(cookies) ?? "");
    return held !== undefined && held.untilMs > this.#nowMs() ? held.principal : undefined;
  }

  /** Gives the Set-Cookie line that removes it. */
  end(cookies: string | undefined): string {
    this.#held.delete(this.#keyOf(cookies) ?? "");
    return this.#line("", 0);
  }
}
