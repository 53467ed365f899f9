/** What all generated pages say of a key in the same words. */
import type { KeySpec } from "../../src/config/keys.ts";
import { tomlValue } from "../../src/config/toml-value.ts";

export { typeText } from "../../src/config/type-text.ts";

export function defaultText(key: KeySpec): string {
  return key.default === undefined ? "" : tomlValue(key.default);
}

/** A sentence, from what the schema says. */
export function sentence(text: string): string {
  // A word that is a key, a value or a name stays as it is written.
  const begun = /^[a-z_]+[:=]|^[a-z][A-Z]/.test(text) ? text : text.slice(0, 1).toUpperCase() + text.slice(1);
  return /[.)]$/.test(begun) ? begun : `${begun}.`;
}
