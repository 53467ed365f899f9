/** What both daemons show of their configuration. */
import { counter, gauge, type Registry } from "./registry.ts";

export function configMetrics(registry: Registry) {
  return {
    reloads: counter(registry, "config_reloads_total", {
      help: "Times that the configuration was read again (SIGHUP): applied, or refused as a whole (the old one stays).",
      labels: { outcome: ["applied", "refused"] },
    }),
    pending: gauge(registry, "config_pending_keys", {
      help: "Settings that changed in the files and want the daemon to be started again.",
    }),
  };
}
