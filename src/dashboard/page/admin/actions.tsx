/**
 * Drain, resume, reclaim: seen by administrators only (the controller checks all the same). Each asks first, says what will
 * happen to how many, and afterwards what came of it, node by node.
 */
import { useState } from "preact/hooks";
import type { AdminOutcome, AdminRequest, LeaseRow } from "../../api.ts";
import { type AdminVerb, type ApiFailure, admin } from "../lib/api.ts";
import { number, plural } from "../lib/format.ts";
import { useStore } from "../lib/store.ts";
import { Scroll, Segments } from "../parts/basics.tsx";
import { Dialog, FormEnd } from "../parts/dialog.tsx";
import { readSession, session } from "./session.ts";

/** Whom it is about: what is sent, and what it is called. */
export interface Target {
  readonly request: Pick<AdminRequest, "all" | "nodes" | "partitions" | "leaseIds">;
  readonly what: string;
  readonly leases: number | undefined;
}

const verbs: Readonly<Record<AdminVerb, string>> = { drain: "Drain", resume: "Resume", reclaim: "Reclaim" };
const defaultBudgetSeconds = 60;
const maxBudgetSeconds = 3600;

function consequences(verb: AdminVerb, target: Target, graceful: boolean, seconds: number): string[] {
  if (verb === "resume") return ["They lend again, as their configuration says.", "Leases may come at once."];
  const leases =
    target.leases === undefined ? "Leases on them" : `${plural(target.leases, "lease")} there now`;
  const end = graceful
    ? `${leases}: holders are told, have ${seconds} s to finish, and end then.`
    : `${leases}: ended at once. Calls that run are lost; the library runs idempotent ones again elsewhere.`;
  return verb === "drain"
    ? [
        "They lend nothing from now on, also when their agents restart, until they are resumed.",
        end,
        "Batch jobs are not touched.",
      ]
    : [end, "The nodes go on lending: new leases may come.", "Batch jobs are not touched."];
}

function Outcomes(props: { outcomes: readonly AdminOutcome[] }) {
  const failed = props.outcomes.filter(({ ok }) => !ok);
  const shown = [...failed, ...props.outcomes.filter(({ ok }) => ok)];
  return (
    <>
      <p role="status">
        {failed.length === 0
          ? `Done: ${plural(props.outcomes.length, "node")}.`
          : `${number(failed.length)} of ${plural(props.outcomes.length, "node")} did not do it.`}
      </p>
      <Scroll label="Outcome per node">
        <table>
          <thead>
            <tr>
              <th scope="col">Node</th>
              <th scope="col">Outcome</th>
              <th scope="col" class="num">
                Ended
              </th>
              <th scope="col" class="num">
                Left
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.slice(0, 500).map((row, index) => (
              <tr key={`${index} ${row.node}`}>
                <th scope="row">{row.node}</th>
                <td class={row.ok ? "wrap" : "wrap word-bad"}>
                  {row.ok ? row.message || "done" : row.message || "failed"}
                </td>
                <td class="num">{number(row.leasesEnded)}</td>
                <td class="num">{number(row.leasesLeft)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      {shown.length > 500 && (
        <p class="note">{number(shown.length - 500)} more; those that failed come first.</p>
      )}
    </>
  );
}

function Form(props: {
  verb: AdminVerb;
  target: Target;
  onClose: () => void;
  onDone: (outcomes: AdminOutcome[]) => void;
}) {
  const { verb, target } = props;
  const [graceful, setGraceful] = useState(true);
  const [seconds, setSeconds] = useState(defaultBudgetSeconds);
  const [reason, setReason] = useState("");
  const [error, setError] = useState<ApiFailure | undefined>(undefined);
  const [busy, setBusy] = useState(false);
  const submit = (event: Event) => {
    event.preventDefault();
    setBusy(true);
    const how = verb === "resume" ? {} : { graceful, ...(graceful ? { budgetMs: seconds * 1000 } : {}) };
    admin(verb, { ...target.request, ...how, reason: reason.trim() }).then(
      props.onDone,
      (failure: ApiFailure) => {
        setError(failure);
        setBusy(false);
        if (failure.status === 401 || failure.status === 403) readSession();
      },
    );
  };
  return (
    <form onSubmit={submit} class="form">
      <ul class="consequences">
        {consequences(verb, target, graceful, seconds).map((line) => (
          <li key={line}>{line}</li>
        ))}
      </ul>
      {verb !== "resume" && (
        <div class="filters">
          <Segments
            label="How leases end"
            value={graceful ? "graceful" : "now"}
            options={[
              { value: "graceful", name: "Let them finish" },
              { value: "now", name: "At once" },
            ]}
            onChange={(value) => setGraceful(value === "graceful")}
          />
          {graceful && (
            <label class="inline">
              within
              <input
                type="number"
                min={1}
                max={maxBudgetSeconds}
                required
                value={seconds}
                onInput={(event) => setSeconds(Number(event.currentTarget.value))}
              />
              s
            </label>
          )}
        </div>
      )}
      <label class="field">
        <span>Reason (in the logs, and seen by holders)</span>
        <input
          type="text"
          required
          maxLength={200}
          value={reason}
          onInput={(event) => setReason(event.currentTarget.value)}
        />
      </label>
      <FormEnd
        error={error}
        submit={busy ? "Asking the nodes…" : `${verbs[verb]} ${target.what}`}
        ready={!busy && reason.trim() !== ""}
        onCancel={props.onClose}
      />
    </form>
  );
}

function ActionDialog(props: {
  verb: AdminVerb;
  target: Target;
  onClose: () => void;
  onDone?: (() => void) | undefined;
}) {
  const [outcomes, setOutcomes] = useState<AdminOutcome[] | undefined>(undefined);
  return (
    <Dialog title={`${verbs[props.verb]} ${props.target.what}`} onClose={props.onClose}>
      {outcomes === undefined ? (
        <Form
          {...props}
          onDone={(done) => {
            setOutcomes(done);
            props.onDone?.();
          }}
        />
      ) : (
        <>
          <Outcomes outcomes={outcomes} />
          <div class="buttons">
            <button type="button" class="button main" onClick={props.onClose}>
              Close
            </button>
          </div>
        </>
      )}
    </Dialog>
  );
}

export function Actions(props: { target: Target; verbs: readonly AdminVerb[]; onDone?: () => void }) {
  const { admin: allowed } = useStore(session);
  const [asked, setAsked] = useState<{ verb: AdminVerb; target: Target } | undefined>(undefined);
  if (!allowed && asked === undefined) return null;
  return (
    <div class="actions">
      {props.verbs.map((verb) => (
        <button
          key={verb}
          type="button"
          class="button"
          // What is asked about stays what it was when it was asked, whatever the stream brings meanwhile.
          onClick={() => setAsked({ verb, target: props.target })}
        >
          {verbs[verb]}
          <span class="hidden"> {props.target.what}</span>…
        </button>
      ))}
      {asked && <ActionDialog {...asked} onClose={() => setAsked(undefined)} onDone={props.onDone} />}
    </div>
  );
}

export function LeaseActions(props: { leases: readonly LeaseRow[] }) {
  const { leases } = props;
  if (leases.length === 0) return null;
  const what = plural(leases.length, "lease");
  return (
    <Actions
      target={{ request: { leaseIds: leases.map(({ id }) => id) }, what, leases: leases.length }}
      verbs={["reclaim"]}
    />
  );
}
