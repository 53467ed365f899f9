/** Login by a MUNGE credential: who can make one on a node of the cluster is who he says. */
import { useState } from "preact/hooks";
import type { ApiFailure } from "../lib/api.ts";
import { useStore } from "../lib/store.ts";
import { Dialog, FormEnd } from "../parts/dialog.tsx";
import { logIn, logOut, session } from "./session.ts";

function LoginDialog(props: { onClose: () => void }) {
  const [credential, setCredential] = useState("");
  const [error, setError] = useState<ApiFailure | undefined>(undefined);
  const [busy, setBusy] = useState(false);
  const submit = (event: Event) => {
    event.preventDefault();
    setBusy(true);
    logIn(credential.trim()).then(props.onClose, (failure: ApiFailure) => {
      setError(failure);
      setBusy(false);
    });
  };
  return (
    <Dialog title="Log in" onClose={props.onClose}>
      <form onSubmit={submit} class="form">
        <p>
          Everything can be read without. To drain, resume or reclaim, show who you are: run{" "}
          <code>sublet dashboard --login</code> as yourself on a machine of the cluster, and paste the
          credential that it prints. It is good once, for a minute.
        </p>
        <label class="field">
          <span>Credential</span>
          <textarea
            rows={4}
            required
            spellcheck={false}
            autocomplete="off"
            value={credential}
            onInput={(event) => setCredential(event.currentTarget.value)}
          />
        </label>
        <FormEnd
          error={error}
          submit="Log in"
          ready={!busy && credential.trim() !== ""}
          onCancel={props.onClose}
        />
      </form>
    </Dialog>
  );
}

export function LoginButton() {
  const { user, admin } = useStore(session);
  const [open, setOpen] = useState(false);
  return (
    <div class="login">
      {user === null ? (
        <button type="button" class="button quiet" onClick={() => setOpen(true)}>
          Log in
        </button>
      ) : (
        <>
          <span>
            {user}
            {admin ? "" : " (no administrator)"}
          </span>
          <button type="button" class="button quiet" onClick={() => void logOut()}>
            Log out
          </button>
        </>
      )}
      {open && <LoginDialog onClose={() => setOpen(false)} />}
    </div>
  );
}
