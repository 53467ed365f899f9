/** The cluster at a glance: where cores and memory are, what was won, what the jobs paid, how fast it goes back. */
import type { Gain, History, Notice, Reclaims, Summary } from "../../api.ts";
import { byteSteps, bytes, compact, number, plural, span } from "../lib/format.ts";
import { useLoad } from "../lib/load.ts";
import { useRange } from "../lib/range.ts";
import { setQuery, useRoute } from "../lib/route.ts";
import { useStore } from "../lib/store.ts";
import { summary } from "../lib/stream.ts";
import { Content, Failure, Link, Panel, Skeleton, Stat } from "../parts/basics.tsx";
import { Answer, CostPanel, GainPanel, type Span } from "../parts/gain.tsx";
import { Histogram } from "../parts/histogram.tsx";
import { Before, RangeChoice } from "../parts/range-choice.tsx";
import { SharesPanel } from "../parts/shares.tsx";

const levels: Readonly<Record<Notice["level"], string>> = { error: "Error", warn: "Warning", info: "Note" };

export function Notices(props: { notices: readonly Notice[] }) {
  if (props.notices.length === 0) return null;
  return (
    <ul class="notices" aria-label="Notices">
      {props.notices.map(({ level, text, doc }) => (
        <li key={text} class={`notice notice-${level}`}>
          <strong>{levels[level] ?? "Note"}</strong>
          <span>{text}</span>
          {doc && <code title="page of the documentation">{doc}</code>}
        </li>
      ))}
    </ul>
  );
}

function Numbers(props: { of: Summary }) {
  const { nodes, leases, invocations, reclaim, guardActions } = props.of;
  const guard = guardActions.throttle + guardActions.freeze + guardActions.shrink + guardActions.evict;
  const off = nodes.total - nodes.reporting;
  return (
    <section class="panel strip" aria-label="Numbers now">
      <dl class="stats">
        <Stat
          name="Nodes lending"
          value={<Link to={["nodes"]}>{number(nodes.lending)}</Link>}
          note={`of ${number(nodes.total)}${off > 0 ? `, ${number(off)} ${off === 1 ? "does" : "do"} not report` : ""}`}
        />
        <Stat
          name="Leases"
          value={<Link to={["leases"]}>{number(leases.functions + leases.regions)}</Link>}
          note={`${plural(leases.functions, "function")}, ${plural(leases.regions, "region")}`}
        />
        <Stat
          name="Invocations"
          value={`${number(invocations.perSecond)} /s`}
          note={`${compact(invocations.total)} since the controller began`}
        />
        <Stat
          name="Given back to a job within"
          value={<Link to={["reclaims"]}>{span(reclaim.p99Ms)}</Link>}
          note={
            reclaim.total === 0
              ? "no job has wanted anything back yet"
              : `in 99 % of ${plural(reclaim.total, "reclaim")}; in half of them within ${span(reclaim.p50Ms)}`
          }
        />
        <Stat
          name="Guard actions"
          value={number(guard)}
          note={`guests held back for a job; ${plural(guardActions.evict, "eviction")}`}
        />
      </dl>
    </section>
  );
}

export function Overview() {
  const now = useStore(summary);
  const range = useRange("24h");
  const history = useLoad<History>(`history?${range.query}&points=600`);
  const reclaims = useLoad<Reclaims>(`reclaims?${range.query}`);
  const wanted: Span = useRoute().query.get("gain") === "month" ? "month" : "today";
  const first = useLoad<Summary>("summary");
  const shown = now ?? first.data;
  const gain: Gain | undefined = shown?.gain[wanted];
  // Nothing is drawn that would move when the first figures come.
  if (shown === undefined && first.error === undefined)
    return (
      <>
        <div class="page-head">
          <h1>Overview</h1>
          <RangeChoice range={range} />
        </div>
        <Skeleton rows={6} />
      </>
    );
  return (
    <>
      <div class="page-head">
        <h1>Overview</h1>
        <RangeChoice range={range} long={shown?.longHistory} />
      </div>
      {shown ? (
        <Notices notices={shown.notices} />
      ) : (
        first.error && <Failure error={first.error} what="The cluster" retry={first.reload} />
      )}
      {gain && <Answer gain={gain} span={wanted} />}
      {shown && <Numbers of={shown} />}
      {history.error && <Failure error={history.error} what="History" retry={history.reload} />}
      <Before history={history.data} />
      <div class="pair">
        <SharesPanel
          title="Cores"
          now={shown?.cores}
          history={history.data}
          series="cores"
          text={number}
          axis={compact}
        />
        <SharesPanel
          title="Memory"
          now={shown?.memoryBytes}
          history={history.data}
          series="memoryBytes"
          text={bytes}
          axis={bytes}
          steps={byteSteps}
        />
      </div>
      {gain && (
        <div class="pair uneven">
          <GainPanel
            gain={gain}
            timeZone={shown?.timeZone ?? ""}
            span={wanted}
            onSpan={(span) => setQuery({ gain: span === "today" ? undefined : span })}
          />
          <CostPanel cost={gain.cost} span={wanted} />
        </div>
      )}
      <Panel
        title="Reclaims"
        about="From the word that a job wants its cores until guests are verified gone."
      >
        <Content of={reclaims} what="Reclaims">
          {(data) => <Histogram reclaims={data} />}
        </Content>
      </Panel>
    </>
  );
}
