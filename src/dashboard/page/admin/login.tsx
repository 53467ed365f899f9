/** Login by a MUNGE credential, in an address or pasted: who can make one on a node of the cluster is who he says. */
import { useEffect, useState } from "preact/hooks";
import { parseRoute } from "../lib/address.ts";
import { type ApiFailure, whoami } from "../lib/api.ts";
import { sentence } from "../lib/format.ts";
import { loginCredential } from "../lib/route.ts";
import { useStore } from "../lib/store.ts";
import { Dialog, FormEnd } from "../parts/dialog.tsx";
import { logIn, logOut, session } from "./session.ts";

/** Why not, and how else. */
function NoLogin(props: { why: string; onClose: () => void }) {
  return (
    <div class="form">
      <p>
        {sentence(`Nobody logs in or changes anything ${props.why}`)} Whoever is on the line could act for
        you.
      </p>
      <p>
        Come by HTTPS, or through a tunnel: <code>ssh -L 7704:localhost:7704 HEAD</code>, then{" "}
        <code>http://localhost:7704/</code>. Reading is as it was.
      </p>
      <div class="buttons">
        <button type="button" class="button main" onClick={props.onClose}>
          Close
        </button>
      </div>
    </div>
  );
}

function LoginForm(props: { error: ApiFailure | undefined; onClose: () => void }) {
  const [credential, setCredential] = useState("");
  const [error, setError] = useState(props.error);
  const [busy, setBusy] = useState(false);
  const submit = (event: Event) => {
    event.preventDefault();
    setBusy(true);
    logIn(credentialIn(credential)).then(props.onClose, (failure: ApiFailure) => {
      setError(failure);
      setBusy(false);
    });
  };
  return (
    <form onSubmit={submit} class="form">
      <p>
        Everything can be read without. To drain, resume or reclaim, show who you are: run{" "}
        <code>sublet dashboard --login</code> as yourself on a machine of the cluster, and open the address
        that it prints, or paste it here. It is good once, for a minute.
      </p>
      <label class="field">
        <span>Address or credential</span>
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
  );
}

/** What was pasted: a credential, or the address that has one. */
function credentialIn(text: string): string {
  const hash = text.trim().match(/#\/login\/.*$/)?.[0];
  return hash === undefined ? text.trim() : (parseRoute(hash).path[1] ?? "");
}

function LoginDialog(props: { error?: ApiFailure | undefined; onClose: () => void }) {
  const { noLogin } = useStore(session);
  return (
    <Dialog title="Log in" onClose={props.onClose}>
      {noLogin === undefined ? (
        <LoginForm error={props.error} onClose={props.onClose} />
      ) : (
        <NoLogin why={noLogin} onClose={props.onClose} />
      )}
    </Dialog>
  );
}

type Link =
  | { readonly kind: "idle" }
  /** Somebody is logged in here already. */
  | { readonly kind: "asked"; readonly user: string; readonly credential: string }
  | { readonly kind: "failed"; readonly error: ApiFailure | undefined };

/** Logs in by the address that the page was opened with. Who is logged in stays, unless he says otherwise. */
export function LoginLink() {
  const given = useStore(loginCredential);
  const [link, setLink] = useState<Link>({ kind: "idle" });
  const close = () => setLink({ kind: "idle" });
  const use = (credential: string) =>
    logIn(credential).then(close, (error: ApiFailure) => setLink({ kind: "failed", error }));
  useEffect(() => {
    if (given === undefined) return;
    loginCredential.set(undefined);
    whoami().then(
      (found) => {
        // What must not go over this line does not.
        if (found.noLogin !== undefined) {
          session.set(found);
          setLink({ kind: "failed", error: undefined });
        } else if (found.user === null) void use(given);
        else setLink({ kind: "asked", user: found.user, credential: given });
      },
      (error: ApiFailure) => setLink({ kind: "failed", error }),
    );
  }, [given]);
  if (link.kind === "failed") return <LoginDialog error={link.error} onClose={close} />;
  if (link.kind === "idle") return null;
  return (
    <Dialog title="Log in anew" onClose={close}>
      <div class="form">
        <p>
          You are logged in as <strong>{link.user}</strong>. The address that you opened logs in whoever made
          it, in place of {link.user}. If it came from somebody else, stay.
        </p>
        <div class="buttons">
          <button type="button" class="button" onClick={() => void use(link.credential)}>
            Log in anew
          </button>
          <button type="button" class="button main" onClick={close}>
            Stay {link.user}
          </button>
        </div>
      </div>
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
