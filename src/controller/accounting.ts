/** The accounting within a controller: records out of reports, quotas into leasing and reports, GetUsage. */
import type { Logger } from "pino";
import { type Accounting, startAccounting } from "../accounting/accounting.ts";
import { databasePlace, openDatabase } from "../accounting/open.ts";
import type { Running } from "../accounting/quota.ts";
import type { UsageGroup } from "../accounting/store.ts";
import { parseDay } from "../common/days.ts";
import { SubletError } from "../common/errors.ts";
import { logEvent } from "../common/log-events.ts";
import type { Billing } from "../common/nouns.ts";
import { quotaRefusal } from "../common/quota.ts";
import type { ControllerConfig } from "../config/config.ts";
import type { ControllerMetrics } from "../metrics/controller.ts";
import type {
  GetUsageRequest,
  GetUsageResponse,
  PrincipalMessage,
  QuotasMessage,
  UsageGroupName,
} from "../rpc/messages.ts";
import type { ClusterSnapshot } from "../slurm/snapshot.ts";
import type { ControllerState } from "./state.ts";
import { BillingBook, type CheckedUsage } from "./usage.ts";

export interface AccountingParts {
  readonly accounting: Accounting;
  /** Users by uid, as far as jobs of theirs were seen. */
  readonly names: ReadonlyMap<number, string>;
  /** Of a report; keys that are stored are told to `onAcked`. */
  take(usage: CheckedUsage, onAcked: (keys: readonly string[]) => void): void;
  /** Whose account a request is counted to. @throws SubletError RESOURCE_EXHAUSTED when that has nothing left. */
  admit(owner: PrincipalMessage): Billing;
  /** Who has nothing left, as a text that tells whether it changed. */
  quotas(): { readonly text: string; readonly message: QuotasMessage };
  getUsage(request: GetUsageRequest, asker: PrincipalMessage, seesAll: boolean): Promise<GetUsageResponse>;
  /** For the controller's tick of a second. */
  tick(): void;
  close(): Promise<void>;
}

export interface ControllerAccountingOptions {
  /** accounting: as it is in force now. */
  readonly config: Pick<ControllerConfig, "accounting" | "stateDir">;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
  readonly metrics: ControllerMetrics;
  readonly state: ControllerState;
  readonly snapshot: () => ClusterSnapshot | undefined;
}

/** Rows of an answer: as many as fit into a message of 4 MiB. */
const maxRows = 20_000;
const groups: Readonly<Partial<Record<UsageGroupName, UsageGroup>>> = {
  USAGE_GROUP_DAY: "day",
  USAGE_GROUP_USER: "user",
  USAGE_GROUP_ACCOUNT: "account",
};

function* runningLeases(state: ControllerState, book: BillingBook): Generator<Running> {
  for (const agent of state.agents.values())
    for (const { message } of agent.leases.values()) {
      const { id, owner, cores, grantedUnixMs } = message;
      const account = message.account || book.of(owner?.uid ?? 0, owner?.jobId ?? 0).account;
      yield { leaseId: id, account, cores: cores.length, grantedUnixMs };
    }
}

export function controllerAccounting(options: ControllerAccountingOptions): AccountingParts {
  const { log, metrics, state, snapshot } = options;
  // A reload changes what is allowed and how long it is kept; where it is kept stays.
  const config = {
    ...options.config.accounting,
    get quota() {
      return options.config.accounting.quota;
    },
    get retentionDays() {
      return options.config.accounting.retentionDays;
    },
    get totalsRetentionDays() {
      return options.config.accounting.totalsRetentionDays;
    },
  };
  const book = new BillingBook();
  const accounting = startAccounting({
    config,
    place: databasePlace(config, options.config.stateDir),
    open: () => openDatabase(config, options.config.stateDir),
    names: () => book.names,
    running: () => runningLeases(state, book),
    events: {
      onStored({ stored, duplicates }) {
        metrics.usageRecords.inc({ outcome: "stored" }, stored);
        metrics.usageRecords.inc({ outcome: "duplicate" }, duplicates);
      },
      onInvalid(count, why) {
        metrics.usageRecords.inc({ outcome: "invalid" }, count);
        log.warn({ count, why }, "usage records were dropped");
      },
      onDatabase(up, place, why) {
        if (!up) metrics.accountingErrors.inc();
        if (up) log.info(logEvent("accounting_back", { place }), "accounting: the data base takes records");
        else
          log.error(
            logEvent("accounting_away", { place, why }),
            "accounting: the data base is away; leases go on, records wait at the agents",
          );
      },
      onForgotten: (records) => log.info({ records }, "accounting: old records were removed"),
    },
  });
  for (const outcome of ["stored", "duplicate", "invalid"]) metrics.usageRecords.inc({ outcome }, 0);
  let exhausted = accounting.exhausted();

  function tick(): void {
    book.learn(snapshot());
    exhausted = accounting.exhausted();
    metrics.quotaExhausted.set(exhausted.length);
    metrics.accountingUp.set(accounting.status.up ? 1 : 0);
  }

  return {
    accounting,
    names: book.names,
    take({ records, invalid, why }, onAcked) {
      if (invalid.length > 0) {
        metrics.usageRecords.inc({ outcome: "invalid" }, invalid.length);
        log.warn({ count: invalid.length, why }, "usage records were dropped");
        onAcked(invalid);
      }
      if (records.length === 0) return;
      book.learn(snapshot());
      accounting.take(
        records.map((record) => book.filled(record)),
        onAcked,
      );
    },
    admit({ uid, jobId }) {
      book.learn(snapshot());
      const billing = book.of(uid, jobId);
      const by = exhausted.find(({ account }) => account === billing.account);
      if (by !== undefined) throw quotaRefusal(by);
      return billing;
    },
    quotas() {
      // The account and its limit are news; how much it is beyond that is none.
      const text = JSON.stringify(
        exhausted.map(({ account, limitCoreSeconds }) => [account, limitCoreSeconds]),
      );
      return { text, message: { exhausted: exhausted.map((each) => ({ ...each })) } };
    },
    async getUsage(request, asker, seesAll) {
      return await getUsage(accounting, request, asker, seesAll);
    },
    tick,
    close: () => accounting.close(),
  };
}

/** The days of a request. @throws SubletError INVALID_ARGUMENT. */
function daysOf({ days }: Accounting, { from, to }: GetUsageRequest): { fromDay: string; toDay: string } {
  const today = days.dayOf(Date.now());
  const read = (what: string, text: string): string => {
    const day = parseDay(text, today, days);
    if (day !== undefined) return day;
    throw new SubletError(
      "INVALID_ARGUMENT",
      `${what} ${JSON.stringify(text.slice(0, 40))} is no day: write 2026-11-25, today, yesterday, or 7d`,
    );
  };
  const fromDay = read("from", from);
  const toDay = read("to", to);
  if (toDay < fromDay) throw new SubletError("INVALID_ARGUMENT", `to ${toDay} is before from ${fromDay}`);
  return { fromDay, toDay };
}

/** A user as it was named: by number, or by name. */
function userOf(text: string): { uid?: number; user?: string } {
  if (text === "") return {};
  if (/^\d{1,10}$/.test(text)) return { uid: Number(text) };
  return text === "root" ? { uid: 0 } : { user: text };
}

async function getUsage(
  accounting: Accounting,
  request: GetUsageRequest,
  asker: PrincipalMessage,
  seesAll: boolean,
): Promise<GetUsageResponse> {
  const { days } = accounting;
  const { fromDay, toDay } = daysOf(accounting, request);
  const groupBy = request.groupBy.flatMap((name) => groups[name] ?? []);
  const rows = await accounting.usage({
    fromDay,
    toDay,
    groupBy,
    ...userOf(request.user),
    ...(seesAll ? {} : { uid: asker.uid }),
    ...(request.account === "" ? {} : { account: request.account === "-" ? "" : request.account }),
    limit: maxRows + 1,
  });
  const shown = rows.slice(0, maxRows);
  const accounts = groupBy.includes("account") ? [...new Set(shown.map(({ account }) => account))] : [];
  const quotas = accounting
    .quotas(accounts)
    .flatMap(({ account, limitCoreSeconds, usedTodayCoreSeconds }) =>
      limitCoreSeconds === undefined
        ? []
        : [{ account, limitCoreSeconds, usedCoreSeconds: usedTodayCoreSeconds }],
    );
  const now = Date.now();
  return {
    rows: shown.map((row) => ({ ...row })),
    fromDay,
    toDay,
    timeZone: days.timeZone,
    quotas,
    quotaResetsInMs: days.endOf(days.dayOf(now)) - now,
    allUsers: seesAll,
    truncated: rows.length > maxRows,
  };
}
