/**
 * Leases that the agent has granted ahead, each to one user for one request that he is likely to make again, and bound
 * to a prepared guest. Whoever stands at the agent's public socket (sublet-door) redeems one when that very request
 * comes: the lease is handed out without the agent, which has decided all of it before and hears of it first.
 *
 *   VOUCH     what START with pool= says, and  ask=HEX owner_gid=GID job=NUMBER|any answer=HEX     the keeper of the
 * guest UNVOUCH   none of the keeper's can be redeemed any more when this is answered                  the keeper
 *   REDEEM    uid=UID gid=GID job=NUMBER ask=HEX                           lease=ID answer=HEX     the door
 *   REDEEMED  a notice to the keeper, before the redeemer has his answer   lease= pool= job= port= stats=
 *
 * A voucher is for the request whose bytes it holds, asked by this uid and gid, and by any of his jobs or by one. It
 * goes with its guest. What the starter does here is to compare bytes; what they mean is not its business.
 */
#ifndef SUBLET_LAUNCH_VOUCHER_H
#define SUBLET_LAUNCH_VOUCHER_H

#include <stdint.h>

struct starter;
struct voucher;
struct waiter;

/** Answers a VOUCH, UNVOUCH or REDEEM in starter->message. */
void voucher_take(struct starter *starter, struct waiter waiter);
void voucher_drop_all(struct starter *starter, struct waiter waiter);
void voucher_redeem(struct starter *starter, struct waiter waiter);

/** NULL is none. */
void voucher_free(struct voucher *voucher);

#endif
