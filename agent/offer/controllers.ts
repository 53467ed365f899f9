/**
 * The controllers that this agent reports to, as the configuration names them now: a reload adds and drops some, and the
 * others are not disturbed. A controller that is dropped forgets this node like one that fell silent.
 */
import { logEvent } from "../../src/common/log-events.ts";
import type { TlsConfig } from "../../src/config/tls.ts";
import { type ControllerClient, connectController } from "../../src/rpc/client.ts";
import type { Identity } from "../../src/rpc/identity.ts";
import type { AgentLog } from "../log.ts";
import { type Reporter, type ReporterOptions, startReporter } from "./reporter.ts";

export interface FollowedControllers {
  /** In the order of the configuration; the same array at all times. */
  readonly clients: readonly ControllerClient[];
  readonly reporters: readonly Reporter[];
  connectedCount(): number;
  /** By the configuration, from now on. */
  follow(addresses: readonly string[]): void;
  close(): void;
}

export interface FollowOptions {
  readonly identity: Identity;
  readonly tls: TlsConfig | undefined;
  /** Called before reporters begin and end. */
  readonly onFollow?: (addresses: readonly string[]) => void;
  readonly reporter: (client: ControllerClient) => Omit<ReporterOptions, "client">;
}

/** What the log says when a controller is found or lost. */
export function tellContact(log: AgentLog, controller: string): ReporterOptions["onContact"] {
  return (connected, why) => {
    if (connected) log.info({ controller, why }, "controller found");
    else log.info(logEvent("controller_lost", { controller, why }), "controller lost");
  };
}

export function followControllers({ identity, tls, reporter, onFollow }: FollowOptions): FollowedControllers {
  const clients: ControllerClient[] = [];
  const reporters: Reporter[] = [];
  const known = new Map<string, { client: ControllerClient; reporter: Reporter }>();

  function show(addresses: readonly string[]): void {
    const all = addresses.flatMap((address) => known.get(address) ?? []);
    clients.splice(0, clients.length, ...all.map(({ client }) => client));
    reporters.splice(0, reporters.length, ...all.map((each) => each.reporter));
  }

  return {
    clients,
    reporters,
    connectedCount: () => reporters.filter(({ connected }) => connected).length,
    follow(addresses) {
      onFollow?.(addresses);
      for (const [address, gone] of [...known]) {
        if (addresses.includes(address)) continue;
        known.delete(address);
        gone.reporter.close();
        gone.client.close();
      }
      for (const address of new Set(addresses)) {
        if (known.has(address)) continue;
        const client = connectController(address, { identity, tls });
        known.set(address, { client, reporter: startReporter({ client, ...reporter(client) }) });
      }
      show([...new Set(addresses)]);
    },
    close() {
      for (const { client, reporter: each } of known.values()) {
        each.close();
        client.close();
      }
    },
  };
}
