/**
 * Does this node lend? Pure, and the same on every node without anybody asking anybody: a node draws its lot from its name and
 * the period, so that every node knows its own, a restart changes nothing, and over the periods every node takes its turn.
 */
import { createHash } from "node:crypto";
import type { LendingConfig } from "../../src/config/lending.ts";

/** on: lends. shadow: imagines leases. hold_out: does so for as long as its lot says. */
export type LendingMode = "on" | "shadow" | "hold_out";

const dayMs = 86_400_000;

/** A node's lot in [0, 1) of a period. */
export function lotOf(node: string, period: number): number {
  return createHash("sha256").update(`${node} ${period}`).digest().readUInt32BE(0) / 2 ** 32;
}

export function lendingMode(config: LendingConfig, node: string, unixMs: number): LendingMode {
  if (config.mode === "shadow") return "shadow";
  const period = Math.floor(unixMs / (config.holdOutDays * dayMs));
  return lotOf(node, period) < config.holdOut ? "hold_out" : "on";
}
