/** The command as packages install it, in a folder of its own. */
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundleCommand } from "../../../deploy/package/cli.ts";

const root = join(import.meta.dirname, "../../..");

export interface Installed {
  /** What Node is to run. */
  readonly main: string;
  remove(): void;
}

export async function installCommand(): Promise<Installed> {
  const folder = mkdtempSync(join(tmpdir(), "sublet-installed-"));
  for (const part of ["package.json", "proto"])
    cpSync(join(root, part), join(folder, part), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  await bundleCommand(folder);
  return { main: join(folder, "src/cli/main.js"), remove: () => rmSync(folder, { recursive: true }) };
}
