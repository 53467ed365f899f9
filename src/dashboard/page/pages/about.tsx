/** What each number means, in the words of the other pages. */
import type { ComponentChildren } from "preact";
import { parts } from "../lib/shares.ts";
import { Panel, Swatch } from "../parts/basics.tsx";

function Terms(props: { rows: readonly (readonly [ComponentChildren, ComponentChildren])[] }) {
  return (
    <dl class="terms">
      {props.rows.map(([term, meaning], index) => (
        <div key={index}>
          <dt>{term}</dt>
          <dd>{meaning}</dd>
        </div>
      ))}
    </dl>
  );
}

export function AboutPage() {
  return (
    <>
      <div class="page-head">
        <h1>About these figures</h1>
      </div>
      <Panel
        title="Where cores and memory are"
        about="The five parts of every chart; together they are the whole cluster."
      >
        <Terms
          rows={parts.map(({ key, name, about }) => [
            <>
              <Swatch part={key} />
              {name}
            </>,
            `${about[0]?.toUpperCase()}${about.slice(1)}.`,
          ])}
        />
        <p class="note">
          Blue is what Slurm gave to jobs, green is what Sublet has. Strong colours are at work, pale ones lie
          idle.
        </p>
      </Panel>
      <Panel title="Gain">
        <Terms
          rows={[
            ["Slurm alone", "Core-hours that jobs had allocated. What the cluster does without Sublet."],
            [
              "Slurm + Sublet",
              "The same, and what leases held. The far end of the bar was lent out of what jobs hold and do not use.",
            ],
            [
              "Perfect packing",
              "Slurm alone, and all that was idle or unallocated, had Slurm filled every hole at once. No scheduler can have more without sharing.",
            ],
            ["Today", "Since midnight at the site, whose clock also begins the days of accounts and quotas."],
            ["Worth", "What was lent, at the prices that the site set for a core-hour and a GiB-hour."],
            [
              "Watched",
              "The share of the span in which the controller saw the cluster. What it did not see counts as nothing.",
            ],
          ]}
        />
      </Panel>
      <Panel title="What the jobs paid">
        <Terms
          rows={[
            [
              "Waiting for a core, for memory",
              "By the receipts of jobs: the part of the time in which tasks of a job waited for a core, or for memory, beside guests, less the same without guests. Only the job's own waiting counts; guests wait as they should.",
            ],
            [
              "Hold-out difference",
              "Some nodes do not lend, drawn anew each period. Of the core-time of all jobs, how much was waited on nodes that lend, less that on these: what lending costs, whatever else differs. With 95 % confidence the true difference lies in the range beside it; one that has 0 in it means that nobody can tell. Too little data: fewer than three nodes' worth, or ten job core-hours, on one of the sides.",
            ],
            [
              "Guard actions",
              "How often the guard throttled, froze, shrank or evicted a guest because a job beside it suffered.",
            ],
            ["Receipts", "Jobs that had guests beside them: each can be read by its owner with sublet jobs."],
          ]}
        />
      </Panel>
      <Panel title="Reclaims and leases">
        <Terms
          rows={[
            [
              "Reclaim",
              "Taking capacity back for a job. Its duration runs from the word that a job wants it until the guests are verified gone; the job's first instruction comes after.",
            ],
            [
              "Lease",
              "A right to some cores, or to memory (a region), of one node until a time; it lives by renewal.",
            ],
            ["Invocation", "One call of a function on leased cores."],
            ["Horizon", "How long what a node offers is likely to last."],
            [
              "Hold-out, shadow",
              "Nodes that do not lend, to compare with; nodes that would, and only say what.",
            ],
            [
              "Times",
              `In your time zone, ${Intl.DateTimeFormat().resolvedOptions().timeZone}; point at one to see it in UTC.`,
            ],
            [
              "Since the controller began",
              "Invocations, reclaims and guard actions at the top of the overview: it keeps sums over time, not these counts.",
            ],
            ["Reserved", "Cores that the node keeps for the system; no job and no guest gets them."],
            ["Draining", "A lease whose holder was told to finish, with a time to do it."],
          ]}
        />
      </Panel>
      <Panel title="Keys">
        <Terms
          rows={[
            ["Tab, Enter", "From one thing to the next; open it."],
            ["Arrows, Home, End", "In a chart: from point to point. On the node map: from node to node."],
            ["+ and −", "On the node map: larger and smaller squares."],
          ]}
        />
      </Panel>
    </>
  );
}
