/**
 * By which way a request comes, and whether a login may come by it: over TLS, from this machine itself (a tunnel), or by a
 * reverse proxy that the settings name and that says its side speaks HTTPS. All others read, and change nothing: whoever
 * is on the line between could take the session.
 */
import type { IncomingMessage } from "node:http";
import { isIPv4 } from "node:net";
import type { TLSSocket } from "node:tls";
import { SubletError } from "../common/errors.ts";

export interface Way {
  /** Why nobody logs in by it, as a sentence's end: "over ...". undefined: one may. */
  readonly refused: string | undefined;
  /** The browser speaks HTTPS. */
  readonly secure: boolean;
  /** Whose attempts are counted together. */
  readonly from: string;
  /** What the browser calls us, by the headers that count on this way. */
  readonly hosts: readonly string[];
}

const hint =
  "Give the dashboard a certificate ([dashboard.tls]), name the reverse proxy in dashboard.proxies, " +
  "or come through `ssh -L 7704:localhost:7704 HEAD`.";
const forwardedHeaders = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"] as const;

function addressOf(text: string | undefined): string {
  const plain = (text ?? "").replace(/^::ffff:/i, "");
  return plain === "" ? "unknown" : plain;
}

/** What the nearest proxy said: the last of a list. */
function lastOf(value: string | string[] | undefined): string {
  const text = Array.isArray(value) ? (value.at(-1) ?? "") : (value ?? "");
  return text.split(",").at(-1)?.trim() ?? "";
}

export function wayOf(
  { socket, headers }: Pick<IncomingMessage, "socket" | "headers">,
  proxies: readonly string[],
): Way {
  const peer = addressOf(socket.remoteAddress);
  const own = headers.host === undefined ? [] : [headers.host];
  const forwarded = forwardedHeaders.some((name) => headers[name] !== undefined);
  const way = { refused: undefined, secure: false, from: peer, hosts: own };
  if (forwarded && proxies.includes(peer)) {
    const host = lastOf(headers["x-forwarded-host"]);
    const from = lastOf(headers["x-forwarded-for"]) || peer;
    const by = { ...way, from, hosts: host === "" ? own : [host] };
    const proto = lastOf(headers["x-forwarded-proto"]).toLowerCase();
    if (proto === "https") return { ...by, secure: true };
    const said = proto === "" ? "does not say by X-Forwarded-Proto how" : `says that by ${proto}`;
    return { ...by, refused: `by the proxy ${peer}, which ${said} the browser reached it` };
  }
  if ((socket as TLSSocket).encrypted === true) return { ...way, secure: true };
  // A packet from one of our own addresses comes from this machine: the kernel takes no other.
  const local = peer === "::1" || (isIPv4(peer) && peer.startsWith("127."));
  if (!local && peer !== addressOf(socket.localAddress))
    return { ...way, refused: "over a network without TLS" };
  return forwarded ? { ...way, refused: `by a proxy (${peer}) that dashboard.proxies does not name` } : way;
}

/** @throws SubletError PERMISSION_DENIED. */
export function mustBeSafe({ refused }: Way): void {
  if (refused !== undefined)
    throw new SubletError("PERMISSION_DENIED", `nobody logs in or changes anything ${refused}`, {
      details: { hint },
    });
}

/** A page of another site can send forms and plain text here, but no JSON, and it has its own origin. */
export function mustBeOurs({ headers }: IncomingMessage, { secure, hosts }: Way): void {
  if (!/^application\/json\b/.test(headers["content-type"] ?? ""))
    throw new SubletError("INVALID_ARGUMENT", "content-type must be application/json");
  const { origin } = headers;
  const scheme = secure ? "https" : "http";
  if (origin !== undefined && !hosts.some((host) => origin === `${scheme}://${host}`))
    throw new SubletError("PERMISSION_DENIED", "that request comes from another site", {
      details: { hint: "A reverse proxy has to pass Host, or X-Forwarded-Host, as the browser sent it." },
    });
}
