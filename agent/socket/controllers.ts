/**
 * The controllers as an agent uses them for its clients: the first that answers. Losing all of them is a normal state,
 * in which a node lends to its own clients by itself.
 */
import { type ErrorCode, SubletError } from "../../src/common/errors.ts";
import type { Principal } from "../../src/common/nouns.ts";
import type { ControllerClient } from "../../src/rpc/client.ts";
import type {
  LeaseMessage,
  LeaseRequestMessage,
  ReceiptMessage,
  RequestLeaseResponse,
} from "../../src/rpc/messages.ts";

export type Controllers = readonly Pick<
  ControllerClient,
  "address" | "requestLease" | "renewLease" | "releaseLease" | "listLeases" | "listReceipts"
>[];

/** No controller could be asked at all; what it would have said is unknown and nothing has happened. */
const unreachable: readonly ErrorCode[] = ["UNAVAILABLE", "UNAUTHENTICATED"];

/** Asks one controller after the other until one can be reached. @throws what it says; UNAVAILABLE when none can be. */
async function firstOf<T>(
  controllers: Controllers,
  ask: (controller: Controllers[number]) => Promise<T>,
): Promise<T> {
  let last = new SubletError("UNAVAILABLE", "no controller is configured");
  for (const controller of controllers)
    try {
      return await ask(controller);
    } catch (thrown) {
      if (!(thrown instanceof SubletError) || !unreachable.includes(thrown.code)) throw thrown;
      last = new SubletError("UNAVAILABLE", thrown.message, { cause: thrown });
    }
  throw last;
}

const shortTimeoutMs = 5_000;
const releaseTries = 3;

export function requestLease(
  controllers: Controllers,
  request: LeaseRequestMessage,
  owner: Principal,
  timeoutMs: number,
  ahead = false,
): Promise<RequestLeaseResponse> {
  return firstOf(controllers, (each) => each.requestLease({ request, owner, ahead }, { timeoutMs }));
}

const withLease =
  (method: "renewLease" | "releaseLease") =>
  async (
    controllers: Controllers,
    leaseId: string,
    node: string,
    caller: Principal,
  ): Promise<LeaseMessage | null> => {
    const call = { leaseId, node, caller };
    return (await firstOf(controllers, (each) => each[method](call, { timeoutMs: shortTimeoutMs }))).lease;
  };

export const renewRemote = withLease("renewLease");
export const releaseRemote = withLease("releaseLease");

/** Releases for a client that is gone. A lease that cannot be reached ends with its term. */
export async function releaseAbandoned(
  controllers: Controllers,
  leaseId: string,
  node: string,
  caller: Principal,
): Promise<void> {
  for (let attempt = 1; ; attempt++)
    try {
      await releaseRemote(controllers, leaseId, node, caller);
      return;
    } catch (thrown) {
      if (thrown instanceof SubletError && thrown.code === "NOT_FOUND") return;
      if (attempt === releaseTries) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 250 * 4 ** attempt).unref());
    }
}

export async function receiptsRemote(
  controllers: Controllers,
  jobId: number,
  caller: Principal,
): Promise<ReceiptMessage[]> {
  const call = { jobId, caller };
  return (await firstOf(controllers, (each) => each.listReceipts(call, { timeoutMs: shortTimeoutMs })))
    .receipts;
}

export async function listRemote(
  controllers: Controllers,
  caller: Principal | null,
): Promise<LeaseMessage[]> {
  return (await firstOf(controllers, (each) => each.listLeases({ caller }, { timeoutMs: shortTimeoutMs })))
    .leases;
}
