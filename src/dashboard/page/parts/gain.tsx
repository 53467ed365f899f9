/** What was won against both baselines, and what the jobs paid for it. */
import type { Gain, WaitingComparison, WaitingSide } from "../../api.ts";
import { compact, money, none, number, percent, place, plural, points } from "../lib/format.ts";
import { gained, paid } from "../lib/verdict.ts";
import { Link, Panel, Segments, Stat } from "./basics.tsx";

type Hours = Gain["coreHours"];

function Bars(props: { title: string; unit: string; hours: Hours }) {
  const { slurmAlone, lent, beyondPacking, perfectPacking, total } = props.hours;
  const inHoles = Math.max(0, lent - beyondPacking);
  const scale = Math.max(total, slurmAlone + perfectPacking, slurmAlone + lent) || 1;
  const rows: readonly { name: string; sum: number; more: number; bars: readonly [string, number][] }[] = [
    { name: "Slurm alone", sum: slurmAlone, more: 0, bars: [["used", slurmAlone]] },
    {
      name: "Slurm + Sublet",
      sum: slurmAlone + lent,
      more: lent,
      bars: [
        ["used", slurmAlone],
        ["lent", inHoles],
        ["beyond", beyondPacking],
      ],
    },
    {
      name: "Perfect packing",
      sum: slurmAlone + perfectPacking,
      more: perfectPacking,
      bars: [
        ["used", slurmAlone],
        ["packing", perfectPacking],
      ],
    },
  ];
  return (
    <table class="gain-bars">
      <caption>
        {props.title} <span class="muted">({props.unit})</span>
      </caption>
      <thead class="hidden">
        <tr>
          <th scope="col">Case</th>
          <th scope="col">Chart</th>
          <th scope="col">Sum</th>
          <th scope="col">More than Slurm alone</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.name}>
            <th scope="row">{row.name}</th>
            <td class="gain-bar" aria-hidden="true">
              {row.bars.map(([part, value]) => (
                <span key={part} class={`part-${part}`} style={{ width: `${(value / scale) * 100}%` }} />
              ))}
            </td>
            <td class="num" title={number(row.sum)}>
              {compact(row.sum)}
            </td>
            <td class="num gain-more">{row.more > 0 ? `+${compact(row.more)}` : ""}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export type Span = "today" | "month";

/** What one comes to see, before all else. */
export function Answer(props: { gain: Gain; span: Span }) {
  const won = gained(props.gain);
  const cost = paid(props.gain.cost);
  const when = props.span === "today" ? "today" : "in 30 days";
  return (
    <section class="panel answer" aria-label="What was gained, and who paid">
      <dl class="stats">
        <Stat name={`Gained ${when}`} value={won.value} note={won.note} />
        <Stat name={`What the jobs paid ${when}`} value={cost.value} note={cost.note} />
      </dl>
    </section>
  );
}

/** What the bars do not say by themselves. */
function Remark(props: { gain: Gain }) {
  const { coreHours, covered } = props.gain;
  const inHoles = Math.max(0, coreHours.lent - coreHours.beyondPacking);
  const shared =
    coreHours.beyondPacking > 0
      ? `lent ${number(coreHours.beyondPacking)} core-hours that jobs held and did not use: no scheduler has these without sharing.`
      : "lent nothing that jobs held.";
  return (
    <p class="note">
      {covered === 0
        ? "Nothing of this span was watched yet."
        : coreHours.lent === 0
          ? "Sublet lent no core."
          : coreHours.perfectPacking > 0
            ? `Sublet filled ${percent(inHoles / coreHours.perfectPacking)} of the holes that Slurm left, and ${shared}`
            : `Slurm left no hole; Sublet ${shared}`}
      {covered > 0 && covered < 0.995 && ` ${percent(covered)} of the span was watched.`}{" "}
      <Link to={["about"]}>How it is counted</Link>
    </p>
  );
}

export function GainPanel(props: { gain: Gain; span: Span; timeZone: string; onSpan: (span: Span) => void }) {
  const { gain } = props;
  const { coreHours, gibHours } = gain;
  return (
    <Panel
      title="Gain"
      about={props.span === "today" ? `Since midnight, ${place(props.timeZone)}` : "The last 30 days"}
      class="gain"
      tools={
        <Segments
          label="Span of the gain"
          value={props.span}
          onChange={props.onSpan}
          options={[
            { value: "today", name: "Today" },
            { value: "month", name: "30 days" },
          ]}
        />
      }
    >
      <dl class="stats">
        <Stat
          name="Core-hours lent"
          value={number(coreHours.lent)}
          note={share(coreHours.lent, coreHours.slurmAlone)}
        />
        <Stat
          name="GiB-hours lent"
          value={number(gibHours.lent)}
          note={share(gibHours.lent, gibHours.slurmAlone)}
        />
        <Stat
          name="Worth"
          value={gain.money === null ? none : money(gain.money.value, gain.money.currency)}
          note={gain.money === null ? "no prices are set" : "at the site's prices"}
        />
      </dl>
      <Bars title="Cores" unit="core-hours" hours={coreHours} />
      <Bars title="Memory" unit="GiB-hours" hours={gibHours} />
      <Remark gain={gain} />
    </Panel>
  );
}

function share(lent: number, alone: number): string {
  return alone > 0 ? `${percent(lent / alone, 1)} on top of Slurm's` : "";
}

function sideText(name: string, { waitedPercent, nodes, jobCoreHours }: WaitingSide): string {
  return waitedPercent === null
    ? `${name}: no job was watched`
    : `${name}: ${points(waitedPercent)} of ${number(jobCoreHours)} job core-hours on ${plural(nodes, "node")}`;
}

/** A row: what it is of, the difference with its interval, and from what. */
function comparisonRow(what: string, found: WaitingComparison): [string, string, string] {
  const { lending, heldOut, differencePercent, lowPercent, highPercent } = found;
  const sides = [lending, heldOut].filter(({ waitedPercent }) => waitedPercent !== null).length;
  const waited = `Waiting of jobs: ${sideText("nodes that lend", lending)}; ${sideText("held out", heldOut)}`;
  const about =
    differencePercent !== null
      ? `95 %: ${points(lowPercent, true)} to ${points(highPercent, true)}. ${waited}`
      : sides > 0
        ? waited
        : "waiting of jobs on nodes that lend, less that on held-out nodes";
  const value = differencePercent !== null ? points(differencePercent, true) : sides === 2 ? tooLittle : none;
  return [`Hold-out difference, ${what}`, value, about];
}

const tooLittle = "too little data";

export function CostPanel(props: { cost: Gain["cost"]; span: Span }) {
  const { cost } = props;
  const rows: readonly [string, string, string][] = [
    [
      "Waiting for a core",
      points(cost.cpuPressurePercent, true),
      "of the time of jobs beside guests, less that of jobs without, by their receipts",
    ],
    ["Waiting for memory", points(cost.memoryPressurePercent, true), "the same for memory"],
    comparisonRow("cores", cost.holdOut.cpu),
    comparisonRow("memory", cost.holdOut.memory),
    ["Guard actions", number(cost.guardActions), "guests throttled, frozen, shrunk or evicted for a job"],
    [
      "Leases taken back",
      number(cost.leasesReclaimed),
      "because a job or an administrator wanted the capacity",
    ],
    ["Receipts", number(cost.receipts), "jobs that can read what ran beside them"],
  ];
  return (
    <Panel
      title="What the jobs paid"
      class="cost"
      about={props.span === "today" ? "Today" : "The last 30 days"}
    >
      <table class="facts">
        <tbody>
          {rows.map(([name, value, about]) => (
            <tr key={name}>
              <th scope="row">
                {name}
                <span class="row-about">{about}</span>
              </th>
              <td class="num">
                {value === none || value === tooLittle ? (
                  <span class="muted">{value === none ? "not measured" : value}</span>
                ) : (
                  value
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}
