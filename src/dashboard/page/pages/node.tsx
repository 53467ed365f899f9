/** One node: what each core does, where its memory is, who leases it, how it was taken back. */
import { useEffect, useState } from "preact/hooks";
import type { CoreUse, NodeDetail } from "../../api.ts";
import { Actions } from "../admin/actions.tsx";
import { bytes, coreList, number, percent, span } from "../lib/format.ts";
import { useLoad } from "../lib/load.ts";
import { parts } from "../lib/shares.ts";
import { onLeases } from "../lib/stream.ts";
import { Content, Empty, Link, Panel, Scroll, Stat, Swatch, Time } from "../parts/basics.tsx";
import type { Sort } from "../parts/data-table.tsx";
import { LeaseTable } from "../parts/lease-table.tsx";
import { ReclaimTable } from "../parts/reclaim-table.tsx";
import { ShareBar } from "../parts/shares.tsx";
import { State } from "./nodes.tsx";

const uses: readonly { readonly use: CoreUse; readonly name: string; readonly about: string }[] = [
  { use: "job", name: "Job", about: "a batch job has it" },
  { use: "guest", name: "Guest", about: "a lease has it" },
  { use: "spare", name: "Spare", about: "offered" },
  { use: "reserved", name: "Reserved", about: "kept for the system" },
  { use: "unknown", name: "Closed", about: "not offered, or not reported" },
];

function Cores(props: { cores: NodeDetail["cores"]; lease: string | undefined }) {
  const { cores, lease } = props;
  return (
    <>
      <div class="cores" aria-hidden="true">
        {cores.map(({ id, use, leaseId }) => (
          <span
            key={id}
            class={`core core-${use} ${lease !== undefined && leaseId === lease ? "core-marked" : ""}`}
            title={`core ${id}: ${use}${leaseId ? `, lease ${leaseId}` : ""}`}
          >
            {id}
          </span>
        ))}
      </div>
      <table class="legend core-legend">
        <caption class="hidden">What each core does</caption>
        <thead class="hidden">
          <tr>
            <th scope="col">Use</th>
            <th scope="col">Cores</th>
            <th scope="col">Which</th>
          </tr>
        </thead>
        <tbody>
          {uses.map(({ use, name, about }) => {
            const ids = cores.filter((core) => core.use === use).map(({ id }) => id);
            return (
              <tr key={use}>
                <th scope="row" title={about}>
                  <span class={`swatch core-${use}`} aria-hidden="true" />
                  {name}
                </th>
                <td class="num">{number(ids.length)}</td>
                <td class="mono muted">{coreList(ids)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </>
  );
}

function Memory(props: { memory: NodeDetail["memoryBytes"] }) {
  const { total, allocated, usedByJobs, lent, spare } = props.memory;
  // Slurm and the agent look at different moments, and what is lent may be out of what jobs hold: the parts are the whole.
  const used = Math.min(usedByJobs, allocated || usedByJobs, Math.max(0, total - lent));
  const held = Math.max(0, Math.min(allocated - used, total - used - lent - spare));
  const closed = Math.max(0, total - used - held - lent - spare);
  const shares = { used, heldUnused: held, lent, spare, closed };
  return (
    <>
      <p class="headline">
        <strong>{bytes(lent)}</strong> lent of {bytes(total)}
      </p>
      <ShareBar shares={shares} tall />
      <table class="legend">
        <caption class="hidden">Memory</caption>
        <tbody>
          {parts.map(({ key, name, about }) => (
            <tr key={key}>
              <th scope="row" title={about}>
                <Swatch part={key} />
                {name}
              </th>
              <td class="num">{bytes(shares[key])}</td>
              <td class="num muted">{percent(shares[key] / Math.max(1, total))}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

function Receipts(props: { receipts: NodeDetail["receipts"] }) {
  if (props.receipts.length === 0)
    return <Empty title="No receipts yet">A job that had guests beside it gets one when it ends.</Empty>;
  return (
    <Scroll label="Receipts, table">
      <table>
        <thead>
          <tr>
            <th scope="col">Job</th>
            <th scope="col">From</th>
            <th scope="col">To</th>
            <th scope="col" class="num">
              Guests
            </th>
            <th scope="col" class="num">
              Core-hours
            </th>
            <th scope="col" class="num">
              Guard actions
            </th>
          </tr>
        </thead>
        <tbody>
          {props.receipts.map((receipt) => (
            <tr key={`${receipt.jobId} ${receipt.fromMs}`}>
              <th scope="row">{receipt.jobId}</th>
              <td>
                <Time ms={receipt.fromMs} />
              </td>
              <td>
                <Time ms={receipt.toMs} />
              </td>
              <td class="num">{number(receipt.guests)}</td>
              <td class="num">{number(receipt.coreSeconds / 3600)}</td>
              <td class="num">{number(receipt.actions)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

function agentNote({ lending, offerAgeMs }: NodeDetail): string {
  if (offerAgeMs === null) return "never heard of";
  return lending === "none" ? `silent for ${span(offerAgeMs)}` : `its agent spoke ${span(offerAgeMs)} ago`;
}

function Detail(props: { node: NodeDetail }) {
  const { node } = props;
  const [marked, setMarked] = useState<string | undefined>(undefined);
  const [sort, setSort] = useState<Sort>({ by: "granted", down: true });
  const count = (use: CoreUse) => node.cores.filter((core) => core.use === use).length;
  return (
    <>
      <section class="panel strip" aria-label="Numbers now">
        <dl class="stats">
          <Stat
            name="Slurm's state"
            value={<State word={node.slurmState || "unknown"} />}
            note={node.partitions.length > 0 ? node.partitions.join(", ") : "in no partition"}
          />
          <Stat
            name="Lending"
            value={node.lending === "none" ? <span class="word-warn">no agent</span> : node.lending}
            note={agentNote(node)}
          />
          <Stat name="Cores lent" value={number(count("guest"))} note={`of ${number(node.cores.length)}`} />
          <Stat
            name="Cores spare"
            value={number(count("spare"))}
            note={node.horizonMs === null ? "no forecast" : `likely for ${span(node.horizonMs)}`}
          />
          <Stat name="Leases" value={number(node.leases.length)} />
        </dl>
      </section>
      <div class="pair uneven">
        <Panel title="Cores">
          {node.cores.length === 0 ? (
            <Empty title="Its agent does not report">Nothing is known of its cores.</Empty>
          ) : (
            <Cores cores={node.cores} lease={marked} />
          )}
        </Panel>
        <Panel title="Memory">
          <Memory memory={node.memoryBytes} />
        </Panel>
      </div>
      <Panel title="Leases">
        {node.leases.length === 0 ? (
          <Empty title="No lease on this node" />
        ) : (
          <LeaseTable
            label={`Leases on ${node.node}`}
            leases={node.leases}
            sort={sort}
            onSort={setSort}
            onRow={(lease) => setMarked(lease?.id)}
            without={["node"]}
            short
          />
        )}
      </Panel>
      <div class="pair">
        <Panel title="Reclaims">
          {node.reclaims.length === 0 ? (
            <Empty title="Nothing was taken back yet" />
          ) : (
            <ReclaimTable rows={node.reclaims} without="node" />
          )}
        </Panel>
        <Panel title="Receipts" about="What jobs here had beside them.">
          <Receipts receipts={node.receipts} />
        </Panel>
      </div>
    </>
  );
}

/** Reads the node again when leases on it come or go, once a second at most. */
function useNodeLeases(name: string, reload: () => void): void {
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = onLeases(({ live, ended }) => {
      if (timer !== undefined || ![...live, ...ended].some(({ node }) => node === name)) return;
      timer = setTimeout(() => {
        timer = undefined;
        reload();
      }, 1000);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [name, reload]);
}

export function NodePage(props: { name: string }) {
  const load = useLoad<NodeDetail>(`nodes/${encodeURIComponent(props.name)}`, 10_000);
  useNodeLeases(props.name, load.reload);
  return (
    <>
      <div class="page-head">
        <div>
          <p class="crumb">
            <Link to={["nodes"]}>Nodes</Link>
          </p>
          <h1>{props.name}</h1>
        </div>
        {load.data && (
          <Actions
            target={{ request: { nodes: [props.name] }, what: props.name, leases: load.data.leases.length }}
            verbs={["drain", "resume", "reclaim"]}
            onDone={load.reload}
          />
        )}
      </div>
      {load.data === undefined && load.error?.status === 404 ? (
        <Empty title={`No node is called ${props.name}`}>
          It may have another name, or have left the cluster. <Link to={["nodes"]}>All nodes</Link>
        </Empty>
      ) : (
        <Content of={load} what="The node" rows={8}>
          {(node) => <Detail node={node} />}
        </Content>
      )}
    </>
  );
}
