/** `sublet dashboard`: where the dashboard is, and a credential to log in there as whoever runs the command. */
import { SubletError } from "../common/errors.ts";
import { mungeIdentity } from "../rpc/munge.ts";
import { writeJson } from "./output.ts";
import type { Session } from "./session.ts";

export interface DashboardOptions {
  readonly login?: boolean;
  readonly url?: string;
}

const defaultPort = 7704;
/** As src/controller/dashboard.ts wants it. */
const loginAudience = "dashboard";
const loginMethod = "login";

export async function dashboard({ config, output, json }: Session, options: DashboardOptions): Promise<void> {
  const { controller } = config;
  if (options.url === undefined && controller === undefined)
    throw new SubletError(
      "INVALID_ARGUMENT",
      "no controller is named; use --controller HOST:PORT or --url, or set `controller` in the settings",
    );
  const host = controller?.replace(/:\d+$/, "") ?? "";
  const url = options.url ?? `http://${host}:${defaultPort}/`;
  const credential =
    options.login === true
      ? await mungeIdentity({ socket: config.mungeSocket }).credential(loginAudience, loginMethod)
      : undefined;
  if (json) writeJson(output, { url, ...(credential === undefined ? {} : { credential }) });
  else if (credential === undefined)
    output.write(
      `${url}\nReading needs no login. If the page cannot be reached from your machine: ssh -L ${defaultPort}:localhost:${defaultPort} ${host}\n`,
    );
  else
    output.write(
      `Open ${url}, choose "Log in", and give this credential within a minute:\n\n${credential}\n`,
    );
}
