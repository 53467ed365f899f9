/** How fast capacity goes back to jobs: the distribution, over time, and the latest. */
import { useMemo } from "preact/hooks";
import type { History, Reclaims } from "../../api.ts";
import { useLoad } from "../lib/load.ts";
import { useRange } from "../lib/range.ts";
import { Content, Empty, Panel, Swatch } from "../parts/basics.tsx";
import { Histogram } from "../parts/histogram.tsx";
import { LineChart } from "../parts/line-chart.tsx";
import type { PlotLine } from "../parts/plot.tsx";
import { RangeChoice } from "../parts/range-choice.tsx";
import { ReclaimTable } from "../parts/reclaim-table.tsx";

function Rates(props: { history: History }) {
  const { history } = props;
  const lines = useMemo<PlotLine[]>(
    () => [
      { name: "Reclaims per hour", color: "part-lent", values: history.reclaimsPerHour },
      { name: "Guard actions per hour", color: "warn", values: history.guardActionsPerHour },
    ],
    [history],
  );
  return (
    <>
      <p class="keys">
        <span class="key">
          <Swatch part="lent" />
          Reclaims
        </span>
        <span class="key">
          <span class="swatch swatch-warn" aria-hidden="true" />
          Guard actions
        </span>
      </p>
      <LineChart
        label="Reclaims and guard actions per hour over time"
        history={history}
        lines={lines}
        height={11}
      />
    </>
  );
}

export function ReclaimsPage() {
  const range = useRange("24h");
  const reclaims = useLoad<Reclaims>(`reclaims?${range.query}`);
  const history = useLoad<History>(`history?${range.query}&points=600`);
  // What stands below waits for what stands above, and does not move.
  const first = reclaims.data !== undefined || reclaims.error !== undefined;
  const second = first && (history.data !== undefined || history.error !== undefined);
  return (
    <>
      <div class="page-head">
        <h1>Reclaims</h1>
        <RangeChoice range={range} />
      </div>
      <Panel
        title="How long they took"
        about="From the word that a job wants its cores until guests are verified gone; the job's first instruction comes after."
      >
        <Content of={reclaims} what="Reclaims">
          {(data) => <Histogram reclaims={data} />}
        </Content>
      </Panel>
      {first && (
        <Panel title="Per hour">
          <Content of={history} what="History">
            {(data) => <Rates history={data} />}
          </Content>
        </Panel>
      )}
      {second && (
        <Panel title="Latest">
          <Content of={reclaims} what="Reclaims">
            {(data) =>
              data.latest.length === 0 ? (
                <Empty title="None in this span" />
              ) : (
                <ReclaimTable rows={data.latest} />
              )
            }
          </Content>
        </Panel>
      )}
    </>
  );
}
