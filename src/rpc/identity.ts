/**
 * Who is calling between daemons. A caller proves itself with a credential made for one callee and one method,
 * so that a credential which a callee got cannot be used against another one. The payload that both sides agree on:
 * `sublet.v1 <audience> <method> <unix ms> <random>`.
 */
import { randomBytes } from "node:crypto";
import { SubletError } from "../common/errors.ts";

/** gRPC metadata key of the credential. */
export const credentialKey = "sublet-munge";

export interface Caller {
  readonly uid: number;
  readonly gid: number;
}

/** audience: which of the callee's names the credential was made for. */
export interface VerifiedCaller extends Caller {
  readonly audience?: string;
}

export interface Identity {
  /** A credential of this process for one call. audience: the callee's host:port; method: the full gRPC path. */
  credential(audience: string, method: string): Promise<string>;
  /** Who made the credential. @throws SubletError UNAUTHENTICATED when it is not good for this call. */
  verify(credential: string, audiences: readonly string[], method: string): Promise<VerifiedCaller>;
  /** Sessions (session.ts) are possible where these are. Text that only processes of that uid can open, for a minute. */
  seal?(text: string, reader: Caller): Promise<string>;
  /** @throws SubletError UNAUTHENTICATED when it was not sealed for this process. */
  open?(sealed: string): Promise<string>;
  /** The clock of credentials; Date.now() if there is none. */
  readonly nowUnixMs?: () => number;
}

export const maxCredentialAgeMs = 60_000;

const maxPayload = 512;

export function credentialPayload(audience: string, method: string, nowUnixMs: number): string {
  return `sublet.v1 ${audience} ${method} ${nowUnixMs} ${randomBytes(12).toString("hex")}`;
}

/** The audience it was made for. @throws SubletError UNAUTHENTICATED unless it was made for this callee and method just now. */
export function checkCredentialPayload(
  payload: string,
  audiences: readonly string[],
  method: string,
  nowUnixMs: number,
): string {
  const bad = (why: string): SubletError => new SubletError("UNAUTHENTICATED", `credential: ${why}`);
  if (payload.length > maxPayload) throw bad("payload is too long");
  const [version, audience, path, made, nonce, ...rest] = payload.split(" ");
  if (version !== "sublet.v1" || nonce === undefined || nonce.length < 16 || rest.length > 0)
    throw bad("payload is not sublet.v1");
  if (audience === undefined || !audiences.includes(audience))
    throw bad(`made for ${audience}, this is ${audiences.join(" or ")}`);
  if (path !== method) throw bad(`made for ${path}, not ${method}`);
  if (made === undefined || !/^\d{1,15}$/.test(made)) throw bad("payload has no time");
  const ageMs = nowUnixMs - Number(made);
  if (Math.abs(ageMs) > maxCredentialAgeMs)
    throw bad(
      `${Math.round(ageMs / 1000)} s old, at most ${maxCredentialAgeMs / 1000} s are accepted; ` +
        "compare the clocks of both machines",
    );
  return audience;
}
