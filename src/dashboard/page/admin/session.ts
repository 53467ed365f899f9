/** Who looks: nobody (everything can be read all the same), or an administrator. */
import type { Session } from "../../api.ts";
import { login, logout, whoami } from "../lib/api.ts";
import { createStore } from "../lib/store.ts";

const nobody: Session = { user: null, admin: false };
export const session = createStore<Session>(nobody);

/** An answer that was asked for before a login says nothing any more. */
let turn = 0;

/** A controller without sessions, or none at all: nobody. The pages themselves say what is wrong. */
export function readSession(): void {
  const asked = ++turn;
  const take = (found: Session) => {
    if (asked === turn) session.set(found);
  };
  whoami().then(take, () => take(nobody));
}

export async function logIn(credential: string): Promise<void> {
  const found = await login(credential);
  turn++;
  session.set(found);
}

export async function logOut(): Promise<void> {
  try {
    await logout();
  } finally {
    readSession();
  }
}
