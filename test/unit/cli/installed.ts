/** The command as packages install it, in a folder of its own. */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundleCommand } from "../../../deploy/package/cli.ts";

const root = join(import.meta.dirname, "../../..");

export interface Installed {
  /** What Node is to run, */
  readonly main: string;
  /** and with which options packages run it. */
  readonly nodeOptions: readonly string[];
  remove(): void;
}

export async function installCommand(): Promise<Installed> {
  const folder = mkdtempSync(join(tmpdir(), "sublet-installed-"));
  cpSync(join(root, "package.json"), join(folder, "package.json"));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  await bundleCommand(folder);
  const install = readFileSync(join(root, "deploy/package/install.sh"), "utf8");
  const [, main = "", options = ""] = /^command usr\/bin\/sublet (\S+) '?(--[^'\n]+)'?$/m.exec(install) ?? [];
  if (main === "") throw new Error("install.sh does not say how Node runs the command");
  return {
    main: join(folder, main),
    nodeOptions: options.split(" "),
    remove: () => rmSync(folder, { recursive: true }),
  };
}
