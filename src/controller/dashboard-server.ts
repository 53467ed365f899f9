/** Starts the dashboard within a controller. Nothing of it is needed by anything else: what fails here is told, and that is all. */
import { accessSync, constants, mkdirSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Logger } from "pino";
import { Days } from "../common/days.ts";
import { toSubletError } from "../common/errors.ts";
import { version } from "../common/version.ts";
import type { ControllerConfig } from "../config/config.ts";
import { HistoryStore } from "../dashboard/history.ts";
import { PrometheusHistory } from "../dashboard/prometheus.ts";
import { type Dashboard, serveDashboard } from "../dashboard/server.ts";
import { readTls, type TlsPair } from "../dashboard/tls.ts";
import type { DashboardFeed } from "./dashboard.ts";

type Config = Pick<ControllerConfig, "dashboard" | "stateDir" | "accounting">;

export interface DashboardServerOptions {
  readonly config: Config;
  readonly feed: DashboardFeed;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
}

export interface DashboardServer {
  /** undefined: there is none. */
  readonly address: string | undefined;
  /** Why there is none though there should be; undefined: it runs, or is not wanted. */
  readonly trouble: string | undefined;
  /** By these settings where none runs. What fails is told, each time. */
  open(config: Config): Promise<void>;
  /** Its certificate was read again. */
  renew(tls: TlsPair): void;
  close(): Promise<void>;
}

const warnDays = 14;
const builtPages = fileURLToPath(new URL("../../build/dashboard", import.meta.url));
const builtDocs = fileURLToPath(new URL("../../build/site", import.meta.url));

export async function startDashboard(options: DashboardServerOptions): Promise<DashboardServer> {
  const { log } = options;
  let running: Dashboard | undefined;
  let trouble: string | undefined;
  const open = async (config: Config): Promise<void> => {
    const { listen } = config.dashboard;
    trouble = undefined;
    if (running !== undefined || listen === undefined) return;
    try {
      running = await openDashboard(listen, { ...options, config });
    } catch (thrown) {
      trouble = toSubletError(thrown).message;
      log.error({ message: trouble }, "there is no dashboard");
    }
  };
  await open(options.config);
  return {
    get address() {
      return running?.address;
    },
    get trouble() {
      return trouble;
    },
    open,
    renew(tls) {
      warnOfEnd(tls, log);
      running?.renew(tls);
    },
    close: async () => running?.close(),
  };
}

async function openDashboard(
  listen: string,
  { config, feed, log }: DashboardServerOptions,
): Promise<Dashboard> {
  const { dashboard } = config;
  const onTrouble = (why: string): void => log.warn({ why }, "the dashboard has trouble");
  // Without its certificate there is none: never in the clear what was to be hidden.
  const tls = dashboard.tls === undefined ? undefined : readTls(dashboard.tls);
  if (tls !== undefined) warnOfEnd(tls, log);
  if (!canWrite(config.stateDir))
    log.warn(
      { folder: config.stateDir },
      "state_dir cannot be written: the dashboard's history ends with this process, unless it can later",
    );
  const history = await HistoryStore.open({ file: join(config.stateDir, "history.db"), onTrouble });
  const server = await serveDashboard({
    listen,
    source: feed,
    history,
    cluster: dashboard.cluster || (hostname().split(".")[0] ?? ""),
    version,
    price: dashboard.price,
    days: new Days(config.accounting.timeZone),
    prometheus:
      dashboard.prometheus === undefined
        ? undefined
        : new PrometheusHistory({
            ...dashboard.prometheus,
            unixMs: Date.now,
            nowMs: () => performance.now(),
            onTrouble,
          }),
    tls,
    hstsSeconds: dashboard.hstsSeconds,
    proxies: dashboard.proxies,
    pagesDir: dashboard.pagesDir ?? builtPages,
    docsDir: builtDocs,
    onLogin: (user, admin) => log.info({ user, admin }, "somebody logged in at the dashboard"),
    onTrouble,
  }).catch((thrown: unknown) => {
    history.close();
    throw thrown;
  });
  const { live } = server;
  feed.show(
    live,
    (fromMs, toMs) => live.gain(fromMs, toMs),
    (fromMs, toMs) => live.reclaims.between(fromMs, toMs),
  );
  const scheme = tls === undefined ? "http" : "https";
  log.info({ url: `${scheme}://${server.address}/` }, "dashboard is ready");
  return server;
}

function warnOfEnd({ endsUnixMs }: TlsPair, log: Pick<Logger, "warn">): void {
  const days = Math.floor((endsUnixMs - Date.now()) / 86_400_000);
  const ends = new Date(endsUnixMs).toISOString();
  if (days < 0) log.warn({ ended: ends }, "the dashboard's certificate has ended: browsers refuse it");
  else if (days < warnDays) log.warn({ ends, days }, "the dashboard's certificate ends soon");
}

function canWrite(stateDir: string): boolean {
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o750 });
    accessSync(stateDir, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
