/**
 * The shell blocks of the pages, and where each is executed: on the testbed by test/cluster/docs.test.ts, with the packages
 * in a machine by test/packages/documented.sh, here by blocks.test.ts. One that is not executed has a reason.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { anchorOf, type Page } from "../../../deploy/site/markdown.ts";
import { isShell } from "./mentions.ts";

export interface ShellBlock {
  /** "docs/install.md:head-node", the anchor it stands below; ":2" for the second there. */
  readonly id: string;
  readonly where: string;
  readonly text: string;
}

/** Anchor of the heading that each line stands below. */
function anchors(text: string): string[] {
  const taken = new Map<string, number>();
  let fenced = false;
  let now = "";
  return text.split("\n").map((line) => {
    if (/^\s*```/.test(line)) fenced = !fenced;
    const [, heading] = fenced ? [] : (/^#{1,6} (.*)$/.exec(line) ?? []);
    if (heading !== undefined) now = anchorOf(heading, taken);
    return now;
  });
}

/** In the order of the page. Drawings are none. */
export function shellBlocks(root: string, page: Page): ShellBlock[] {
  const below = anchors(readFileSync(join(root, page.source), "utf8"));
  const counts = new Map<string, number>();
  return page.blocks
    .filter((block) => isShell(block) && !block.text.includes("──"))
    .map(({ text, line }) => {
      const place = `${page.source}:${below[line - 1]}`;
      const count = (counts.get(place) ?? 0) + 1;
      counts.set(place, count);
      return { id: count === 1 ? place : `${place}:${count}`, where: `${page.source}:${line}`, text };
    });
}

/** What stands for a site's own: a host's name, a user's. */
export type Edits = readonly (readonly [from: string | RegExp, to: string])[];

export type Executed =
  | { readonly in: "unit" | "testbed" | "machine"; readonly edits?: Edits }
  /** A test does the same in its own words. */
  | { readonly like: string }
  /** What is written into a file, or printed. */
  | { readonly text: string }
  | { readonly not: string };

const machine: Executed = { in: "machine" };
/** An end of its own, and no second agent: the machine has no jq either. */
const journal: Edits = [
  [" -f ", " "],
  [/^sublet-agent 2>&1 \| jq.*$/m, ""],
];
const pilots: Executed = { like: "test/cluster/pilot.test.ts" };
const cards: Executed = { not: "wants two nodes with RDMA; test/vm/rdma.sh runs the same on soft-RoCE" };

export const executed: Readonly<Record<string, Executed>> = {
  "README.md:two-commands": { like: "test/cluster/main-job.test.ts" },
  "README.md:two-commands:2": { not: "is the gate that this is a part of" },
  "docs/accounting.md:accounting-and-quotas": { in: "testbed", edits: [["alice", "subletuser"]] },
  "docs/accounting.md:where": { text: "SQL; test/unit/accounting has a MariaDB" },
  "docs/accounting.md:where:2": { text: "printed" },
  "docs/accounting.md:quotas": { text: "printed" },
  "docs/cli.md:completion-1": machine,
  "docs/cli.md:help": { text: "a synopsis" },
  "docs/configuration.md:where-a-setting-comes-from": { in: "unit" },
  "docs/configuration.md:what-is-in-effect": machine,
  "docs/dashboard.md:for-scripts": { in: "testbed", edits: [["127.0.0.1", "10.77.0.1"]] },
  "docs/estimate.md:what-would-this-site-gain": { like: "test/cluster/estimate.test.ts" },
  "docs/estimate.md:what-would-this-site-gain:2": { like: "test/unit/docs/commands.test.ts" },
  "docs/estimate.md:what-would-this-site-gain:3": { like: "test/unit/docs/commands.test.ts" },
  "docs/fabric.md:the-same-bench-on-two-nodes": cards,
  "docs/fabric.md:the-same-bench-on-two-nodes:2": cards,
  "docs/fabric.md:the-same-bench-on-two-nodes:3": cards,
  "docs/faq.md:how-do-i-switch-it-off": { in: "machine", edits: [["n17", "vm"]] },
  "docs/guard.md:the-policy-file": { text: "printed" },
  "docs/install.md:build-the-packages": { like: "test/packages/build.sh" },
  "docs/install.md:head-node": machine,
  "docs/install.md:one-compute-node": machine,
  "docs/install.md:slurm": machine,
  "docs/install.md:slurm:2": machine,
  "docs/install.md:slurm:3": machine,
  "docs/install.md:slurm:4": machine,
  "docs/install.md:images-and-diskless-nodes": machine,
  "docs/install.md:upgrade": machine,
  "docs/install.md:upgrade:2": machine,
  "docs/install.md:off-and-away": machine,
  "docs/logs.md:where-they-go": { in: "machine", edits: journal },
  "docs/logs.md:support-bundle": machine,
  "docs/metrics.md:prometheus": machine,
  "docs/metrics.md:grafana": machine,
  "docs/neighbours.md:the-spank-plugin": { like: "test/cluster/spank.test.ts" },
  "docs/neighbours.md:the-spank-plugin:2": { text: "plugstack.conf" },
  "docs/neighbours.md:the-receipt-of-a-job": { text: "printed" },
  "docs/pilot.md:sublet-without-root-pilots": pilots,
  "docs/pilot.md:sublet-without-root-pilots:2": pilots,
  "docs/pilot.md:sublet-without-root-pilots:3": { like: "test/packages/root.sh" },
  "docs/programmer.md:from-nothing-to-an-answer": { like: "test/native/client/first.sh" },
  "docs/rollout.md:roll-out": { like: "test/packages/ansible.sh" },
  "docs/rollout.md:roll-out:2": { like: "test/packages/ansible.sh" },
  "docs/sysadmin.md:install-by-hand": { like: "deploy/testbed/sublet-conf.ts" },
  "docs/upgrade.md:do-it": machine,
  "docs/upgrade.md:do-it:2": machine,
  "docs/upgrade.md:do-it:3": machine,
  "docs/upgrade.md:back": machine,
  "docs/upgrade.md:shown-by": { not: "is a test itself, of the same part of the gate" },
  "docs/upgrade.md:shown-by:2": { not: "is a test itself, outside the gate: it builds an earlier version" },
};

/** The pages of the command have its synopses, which are no commands. */
export const isSynopsis = ({ text }: ShellBlock): boolean => /^sublet .*(<|\[options\])/.test(text);

export function edited(block: ShellBlock, edits: Edits = []): string {
  return edits.reduce(
    (text, [from, to]) => text.replaceAll(typeof from === "string" ? from : new RegExp(from, "gm"), to),
    block.text,
  );
}
