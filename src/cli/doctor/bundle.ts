/**
 * `sublet doctor --bundle FILE`: what somebody else needs to help, in one archive, without secrets (see secrets.ts). The names
 * in it are always the same, and so are the bytes for the same content. Readable by its owner only: it names users and hosts.
 */
import { createHash, randomBytes } from "node:crypto";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { SubletError, toSubletError } from "../../common/errors.ts";
import { formatBytes } from "../../common/units.ts";
import { version } from "../../common/version.ts";
import { writeJson } from "../output.ts";
import { showProgress } from "../progress.ts";
import type { Session } from "../session.ts";
import { allSources, type Gathered, gatherAll, items, thisHost } from "./collect.ts";
import { secretsOf, withoutSecrets } from "./secrets.ts";
import { type TarFile, tarGz } from "./tar.ts";

export interface BundleOptions {
  readonly bundle: string;
  readonly logLines: number;
  readonly agentFile?: string;
  readonly controllerFile?: string;
}

export interface Manifest {
  readonly format: 1;
  readonly host: string;
  readonly made: string;
  readonly version: string;
  readonly files: readonly {
    readonly name: string;
    readonly what: string;
    readonly bytes: number;
    readonly sha256: string;
    /** Why it is not there; null: it is. */
    readonly missing: string | null;
  }[];
}

/** Archive and manifest. Pure but for the compression. */
export function packed(
  gathered: readonly Gathered[],
  secrets: readonly string[],
  host: string,
  unixMs: number,
): { archive: Buffer; manifest: Manifest } {
  const folder = `sublet-bundle-${host}`;
  const files = gathered.map(({ item, text, why }) => {
    const clean = withoutSecrets(text, secrets);
    return {
      name: item.name,
      what: item.what,
      bytes: Buffer.byteLength(clean),
      sha256: createHash("sha256").update(clean).digest("hex"),
      missing: why === undefined ? null : withoutSecrets(why, secrets),
      clean,
    };
  });
  const manifest: Manifest = {
    format: 1,
    host,
    made: new Date(unixMs).toISOString(),
    version,
    files: files.map(({ clean: _, ...rest }) => rest),
  };
  const entries: TarFile[] = [
    { name: `${folder}/manifest.json`, text: `${JSON.stringify(manifest, undefined, 2)}\n` },
    ...files
      .filter(({ missing }) => missing === null)
      .map(({ name, clean }) => ({ name: `${folder}/${name}`, text: clean })),
  ];
  return { archive: tarGz(entries, Math.floor(unixMs / 1000)), manifest };
}

function write(path: string, archive: Buffer): void {
  // A name that nobody can have laid a link under.
  const fresh = `${path}.${randomBytes(8).toString("hex")}.new`;
  try {
    writeFileSync(fresh, archive, { mode: 0o600, flag: "wx" });
    renameSync(fresh, path);
  } catch (thrown) {
    rmSync(fresh, { force: true });
    throw new SubletError("FAILED_PRECONDITION", `${path}: ${toSubletError(thrown).message}`, {
      cause: thrown,
    });
  }
}

/** @throws SubletError FAILED_PRECONDITION when the file cannot be written. */
export async function bundle(
  session: Session,
  options: BundleOptions,
  environment: NodeJS.ProcessEnv,
): Promise<void> {
  const collect = {
    session,
    environment,
    logLines: options.logLines,
    agentFile: options.agentFile,
    controllerFile: options.controllerFile,
  };
  const { output, json } = session;
  const all = items(collect);
  let done = 0;
  const progress = showProgress(
    { output, quiet: json },
    () => `gathered ${done} of ${all.length} files`,
    () => `gathered ${all.length} files`,
  );
  const gathered = await gatherAll(all, () => done++).finally(() => progress.end());
  const secrets = secretsOf(allSources(collect), environment);
  const { archive, manifest } = packed(gathered, secrets, thisHost(), Date.now());
  write(options.bundle, archive);
  if (json) {
    writeJson(output, { file: options.bundle, bytes: archive.length, manifest });
    return;
  }
  for (const { name, bytes, missing } of manifest.files)
    output.write(
      `${missing === null ? formatBytes(bytes).padStart(9) : "  missing"}  ${name}${missing === null ? "" : `: ${missing.split("\n")[0]}`}\n`,
    );
  output.write(
    `${options.bundle}: ${formatBytes(archive.length)}. Secrets were left out; it names users, hosts and jobs: look at it before you pass it on.\n`,
  );
}
