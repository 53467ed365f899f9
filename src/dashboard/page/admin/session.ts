/** Who looks: nobody (everything can be read all the same), or an administrator. */
import type { Session } from "../../api.ts";
import { login, logout, whoami } from "../lib/api.ts";
import { createStore } from "../lib/store.ts";

const nobody: Session = { user: null, admin: false };
export const session = createStore<Session>(nobody);

/** A controller without sessions, or none at all: nobody. The pages themselves say what is wrong. */
export function readSession(): void {
  whoami().then(
    (found) => session.set(found),
    () => session.set(nobody),
  );
}

export async function logIn(credential: string): Promise<void> {
  session.set(await login(credential));
}

export async function logOut(): Promise<void> {
  try {
    await logout();
  } finally {
    readSession();
  }
}
