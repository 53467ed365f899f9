/** `sublet dashboard`: where the dashboard is, and an address that logs in there, once, whoever ran the command. */
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

/** What a browser has to do first, and where it goes then. @throws SubletError INVALID_ARGUMENT. */
function placeOf({ config }: Session, given: string | undefined): { url: string; first: string } {
  const url = given ?? config.dashboardUrl;
  if (url !== undefined) {
    const parsed = URL.parse(url);
    if (parsed === null || !/^https?:$/.test(parsed.protocol) || parsed.hash !== "")
      throw new SubletError("INVALID_ARGUMENT", `--url ${url}: expected "https://HOST:PORT/"`);
    // The page finds its parts beside itself.
    if (!parsed.pathname.endsWith("/")) parsed.pathname += "/";
    return { url: parsed.href, first: "" };
  }
  const { controller } = config;
  if (controller === undefined)
    throw new SubletError(
      "UNAVAILABLE",
      "no controller is named; use --controller HOST:PORT or --url, or set `controller` or `dashboard_url` in the settings",
    );
  const host = controller.replace(/:\d+$/, "");
  const tunnel = `ssh -L ${defaultPort}:localhost:${defaultPort} ${host}`;
  return { url: `http://localhost:${defaultPort}/`, first: `On the machine of your browser: ${tunnel}\n` };
}

/** What follows # stays in the browser: no server, proxy or log on the way sees the credential, nor the next page as a referrer. */
function loginUrl(url: string, credential: string): string {
  return `${url}#/login/${encodeURIComponent(credential)}`;
}

export async function dashboard(session: Session, options: DashboardOptions): Promise<void> {
  const { config, output, json } = session;
  const { url, first } = placeOf(session, options.url);
  const credential =
    options.login === true
      ? await mungeIdentity({ socket: config.mungeSocket }).credential(loginAudience, loginMethod)
      : undefined;
  const login = credential === undefined ? undefined : loginUrl(url, credential);
  if (json) writeJson(output, { url, ...(login === undefined ? {} : { credential, loginUrl: login }) });
  else if (login === undefined) output.write(`${url}\n${first}Reading needs no login.\n`);
  else
    output.write(
      `${login}\n\n${first}This address logs you in, once, within a minute. Nobody else should see it before you have used it.\n`,
    );
}
