import { stringify } from "smol-toml";

/** A value as TOML writes it. */
export function tomlValue(value: unknown): string {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    const entries = Object.entries(value).map(([name, each]) => stringify({ [name]: each }).trim());
    return entries.length === 0 ? "{}" : `{ ${entries.join(", ")} }`;
  }
  return stringify({ value })
    .trim()
    .replace(/^value = /, "");
}
