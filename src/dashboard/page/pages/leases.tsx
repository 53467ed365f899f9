/** Leases as they come and go, and how many invocations they serve. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { History, LeaseChanges, LeaseRow } from "../../api.ts";
import { LeaseActions } from "../admin/actions.tsx";
import { bytes, compact, cores, number, plural, word } from "../lib/format.ts";
import { type LeaseView, leaseView, withChanges } from "../lib/leases.ts";
import { useLoad } from "../lib/load.ts";
import { useRange } from "../lib/range.ts";
import { setQuery, useRoute } from "../lib/route.ts";
import { useStore } from "../lib/store.ts";
import { onLeases, openTopics, streamState, summary } from "../lib/stream.ts";
import { Content, Empty, Link, Panel, Segments, Stat, Time } from "../parts/basics.tsx";
import { parseSort, sortText } from "../parts/data-table.tsx";
import { LeaseTable } from "../parts/lease-table.tsx";
import { LineChart } from "../parts/line-chart.tsx";
import type { PlotLine } from "../parts/plot.tsx";
import { Before, RangeChoice } from "../parts/range-choice.tsx";

const limit = 5000;
/** Messages of the stream that are kept for an answer that is on its way. */
const maxRecent = 100;

/** What is live, from one reading and the stream; a burst of events is one change of the page. */
function useLeases(): { view: LeaseView | undefined; load: ReturnType<typeof useLoad<LeaseRow[]>> } {
  // Read once the stream tells of leases, so that nothing happens unseen between the two; without a stream, all the same.
  const told = useStore(openTopics).includes("leases");
  const { kind } = useStore(streamState);
  const load = useLoad<LeaseRow[]>(told || kind === "stale" ? `leases?limit=${limit}` : undefined);
  const [view, setView] = useState<LeaseView | undefined>(undefined);
  // The answer and the stream come by different ways: what the stream said meanwhile is put on top of the answer.
  const recent = useRef<LeaseChanges[]>([]);
  useEffect(() => {
    const rows = load.data;
    if (rows === undefined) return;
    const after = recent.current.splice(0);
    setView((was) =>
      after.reduce((view, changes) => withChanges(view, changes), leaseView(rows, was?.ended)),
    );
  }, [load.data]);
  useEffect(
    () =>
      onLeases((changes) => {
        // What was said before a gap may be of leases whose end fell into it.
        if (changes.missed) {
          recent.current = [];
          load.reload();
          return;
        }
        recent.current = [...recent.current.slice(1 - maxRecent), changes];
        setView((was) => was && withChanges(was, changes));
      }),
    [load.reload],
  );
  return { view, load };
}

function RatePanel(props: { history: History | undefined }) {
  const [point, setPoint] = useState<number | null>(null);
  const now = useStore(summary);
  const { history } = props;
  const lines = useMemo<PlotLine[]>(
    () =>
      history === undefined
        ? []
        : [{ name: "Invocations per second", color: "part-lent", values: history.invocationsPerSecond }],
    [history],
  );
  const at = point === null ? undefined : history?.invocationsPerSecond[point];
  return (
    <Panel title="Invocations">
      <p class="headline">
        <strong>{number(at === undefined ? now?.invocations.perSecond : at)}</strong> per second
        <span class="muted">
          {point !== null && history ? (
            <>
              {" "}
              · <Time ms={history.atMs[point]} />
            </>
          ) : (
            now && ` · ${compact(now.invocations.total)} since the controller began`
          )}
        </span>
      </p>
      {history === undefined ? (
        <div class="plot plot-wait low" aria-hidden="true" />
      ) : (
        <LineChart
          label="Invocations per second over time"
          history={history}
          lines={lines}
          height={9}
          onPoint={setPoint}
        />
      )}
    </Panel>
  );
}

function Live(props: { view: LeaseView }) {
  const { query } = useRoute();
  const kind = query.get("kind");
  const word = (query.get("find") ?? "").toLowerCase();
  const sort = parseSort(query.get("sort"), { by: "granted", down: true });
  const leases = useMemo(
    () =>
      [...props.view.live.values()].filter(
        (lease) =>
          (!kind || lease.kind === kind) &&
          (word === "" ||
            [lease.node, lease.user, lease.account, lease.id, String(lease.jobId)].some((text) =>
              text.toLowerCase().includes(word),
            )),
      ),
    [props.view, kind, word],
  );
  const held = leases.reduce((sum, lease) => sum + lease.cores, 0);
  const memory = leases.reduce((sum, lease) => sum + lease.memoryBytes, 0);
  return (
    <Panel
      title="Live leases"
      tools={
        <div class="filters">
          <input
            class="find"
            type="search"
            aria-label="Find by node, user, account, job or lease"
            placeholder="Node, user, account, job"
            spellcheck={false}
            value={query.get("find") ?? ""}
            onInput={(event) => setQuery({ find: event.currentTarget.value || undefined })}
          />
          <Segments
            label="Kind"
            value={kind === "function" || kind === "region" ? kind : "all"}
            options={[
              { value: "all", name: "All" },
              { value: "function", name: "Functions" },
              { value: "region", name: "Regions" },
            ]}
            onChange={(value) => setQuery({ kind: value === "all" ? undefined : value })}
          />
        </div>
      }
    >
      <p class="summed">
        <strong>{plural(leases.length, "lease")}</strong> <span>{cores(held)}</span>{" "}
        <span>{bytes(memory)}</span>
        {props.view.live.size >= limit && <span>the newest {number(limit)} are shown</span>}
      </p>
      {leases.length === 0 ? (
        <Empty title={props.view.live.size === 0 ? "Nobody holds a lease" : "No lease matches"} />
      ) : (
        <LeaseTable
          label="Live leases"
          leases={leases}
          sort={sort}
          onSort={(next) => setQuery({ sort: sortText(next) })}
        />
      )}
      <LeaseActions leases={leases} />
    </Panel>
  );
}

export function LeasesPage() {
  const range = useRange("6h");
  const history = useLoad<History>(`history?${range.query}&points=600`);
  const { view, load } = useLeases();
  const now = useStore(summary);
  return (
    <>
      <div class="page-head">
        <h1>Leases and invocations</h1>
        <RangeChoice range={range} long={now?.longHistory} />
      </div>
      <section class="panel strip" aria-label="Numbers now">
        <dl class="stats">
          <Stat name="Function leases" value={number(now?.leases.functions)} />
          <Stat name="Regions" value={number(now?.leases.regions)} />
          <Stat name="Draining" value={number(now?.leases.draining)} />
          <Stat name="Cores lent" value={number(now?.cores.lent)} />
          <Stat name="Memory lent" value={bytes(now?.memoryBytes.lent)} />
        </dl>
      </section>
      <Before history={history.data} />
      <RatePanel history={history.data} />
      <Content of={{ ...load, data: view }} what="Leases">
        {(data) => <Live view={data} />}
      </Content>
      {view !== undefined && view.ended.length > 0 && (
        <Panel title="Ended while you looked">
          <ul class="feed">
            {view.ended.slice(0, 20).map((lease) => (
              <li key={lease.id}>
                <Time ms={lease.endedAtMs} /> <code>{lease.id.slice(0, 12)}</code>
                <span>
                  on <Link to={["nodes", lease.node]}>{lease.node}</Link> of {lease.user || lease.uid}
                </span>
                <span class="muted">{lease.reason ? word(lease.reason) : ""}</span>
              </li>
            ))}
          </ul>
        </Panel>
      )}
    </>
  );
}
