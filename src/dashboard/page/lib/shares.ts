/** The five parts of every resource, in the order in which they are stacked, with the words that all pages use. */
import type { Shares } from "../../api.ts";

export type Part = Exclude<keyof Shares, "total">;

export const parts: readonly { readonly key: Part; readonly name: string; readonly about: string }[] = [
  { key: "used", name: "Used by jobs", about: "allocated by Slurm, and the jobs use it" },
  { key: "heldUnused", name: "Held, unused", about: "allocated by Slurm to jobs that do not use it" },
  { key: "lent", name: "Lent", about: "held by leases of Sublet" },
  { key: "spare", name: "Spare", about: "offered, and nobody wants it" },
  {
    key: "closed",
    name: "Closed",
    about: "neither allocated nor offered: reserved, drained, down, held out, no agent",
  },
];
