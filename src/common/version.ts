/** The version of what runs, from the package.json that lies above the sources and is installed with them. */
import { readFileSync } from "node:fs";

const manifest: { readonly version: string } = JSON.parse(
  readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
);

export const version: string = manifest.version;
