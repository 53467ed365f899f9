/** Keeps the book of receipts beside a shell: follows its jobs and guests, and gives receipts to those who may see them. */

import { maxFrameBytes } from "../../src/rpc/local.ts";
import type { LocalReceipts, ReceiptMessage } from "../../src/rpc/messages.ts";
import { encodeMessage } from "../../src/rpc/schema.ts";
import { consentOf } from "../consent/sharing.ts";
import type { Asker } from "../reactor/events.ts";
import type { AgentState } from "../reactor/state.ts";
import type { Shell } from "../shell.ts";
import { type PressureTotals, ReceiptBook, type SeenNeighbours } from "./book.ts";

export interface Receipts {
  /** Of jobs that ended, oldest first. */
  readonly kept: readonly ReceiptMessage[];
  /** @returns those that the asker may see: his own jobs', root and admins all. */
  of(jobId: number, asker: Asker): ReceiptMessage[];
  guardActed(action: string, leaseId: string): void;
  /** For the agent's slow tick. */
  tick(): void;
}

function neighbours(state: AgentState): SeenNeighbours {
  return {
    jobs: [...state.jobs.keys()].map((jobId) => ({
      jobId,
      uid: state.said.get(jobId)?.uid || state.facts.get(jobId)?.uid || 0,
      consent: consentOf(state, jobId),
    })),
    guests: [...state.guests.values()].map((guest) => guest.lease),
  };
}

export function mayRead(receipt: ReceiptMessage, asker: Asker): boolean {
  return asker.all || (receipt.uid !== 0 && receipt.uid === asker.uid);
}

/** For the rest of the frame, and the length before each receipt. */
const frameMarginBytes = 64;
const receiptMarginBytes = 8;

/** As many as fit into a frame of the local socket, and how many did not. */
export function fitReceipts(receipts: readonly ReceiptMessage[]): LocalReceipts {
  let leftBytes = maxFrameBytes - frameMarginBytes;
  const fit: ReceiptMessage[] = [];
  for (const receipt of receipts) {
    leftBytes -= encodeMessage("Receipt", receipt).length + receiptMarginBytes;
    if (leftBytes < 0) break;
    fit.push(receipt);
  }
  return { receipts: fit, leftOut: receipts.length - fit.length };
}

export function keepReceipts(
  shell: Shell,
  pressure: (jobId: number) => PressureTotals | undefined,
  onEnded: (receipts: readonly ReceiptMessage[]) => void,
): Receipts {
  const book = new ReceiptBook(shell.state.setup.node, pressure);
  const observe = (): void => {
    const ended = book.observe(neighbours(shell.state), shell.nowMs(), Date.now());
    if (ended.length > 0) onEnded(ended);
  };
  shell.listen({ onChanged: observe });
  observe();
  return {
    get kept() {
      return book.kept;
    },
    of: (jobId, asker) =>
      book.of(jobId, shell.nowMs(), Date.now()).filter((receipt) => mayRead(receipt, asker)),
    guardActed: (action, leaseId) => book.guardActed(action, leaseId),
    tick: () => book.measure(shell.nowMs()),
  };
}
