/**
 * The names by which this host is known to itself: its host name, short, and with the domains that it looks names up in, and
 * what /etc/hosts calls its addresses. From files of root's alone: no name server is asked, which may be slow, or wrong.
 */
import { readFileSync } from "node:fs";
import { hostname, networkInterfaces } from "node:os";

export interface HostFacts {
  readonly hostname: string;
  readonly addresses: readonly string[];
  /** /etc/hosts and /etc/resolv.conf; empty where there is none. */
  readonly hosts: string;
  readonly resolv: string;
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

export function hostFacts(): HostFacts {
  return {
    hostname: hostname(),
    addresses: Object.values(networkInterfaces()).flatMap((list) =>
      (list ?? []).map(({ address }) => address),
    ),
    hosts: textOf("/etc/hosts"),
    resolv: textOf("/etc/resolv.conf"),
  };
}

const words = (line: string): string[] => (line.split("#")[0] ?? "").trim().split(/\s+/);

/** The last of `search` and `domain`, as the resolver has it. */
function searched(resolv: string): string[] {
  const found = resolv
    .split("\n")
    .map(words)
    .filter(([key]) => key === "search" || key === "domain");
  return (found.at(-1) ?? [])
    .slice(1)
    .map((domain) => domain.replace(/\.$/, ""))
    .filter(Boolean);
}

/** Without its addresses. */
export function ownNames({ hostname: name, addresses, hosts, resolv }: HostFacts): string[] {
  const short = name.split(".")[0] ?? "";
  const own = new Set(addresses.filter((address) => !/^(127\.|::1$)/.test(address)));
  const called = hosts
    .split("\n")
    .map(words)
    .flatMap(([address = "", ...names]) =>
      // 127.0.1.1 is where Debian puts the full name; what else is the loopback's is every host's.
      own.has(address) || address === "127.0.1.1" ? names : [],
    );
  const everybodys = /^(localhost|ip6-|.*\.localdomain\d?$)/;
  const names = [name, short, ...searched(resolv).map((domain) => `${short}.${domain}`), ...called];
  return [...new Set(names)].filter((each) => each !== "" && !everybodys.test(each));
}
