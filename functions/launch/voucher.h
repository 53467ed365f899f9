/**
 * Leases that the agent has granted ahead, each to one user for one request that he is likely to make again. Whoever
 * stands at the agent's public socket (sublet-door) redeems one when that very request comes: the lease is handed out
 * without the agent, which has decided all of it before and hears of it first.
 *
 *   VOUCH     what START says, and ask=HEX owner_gid=GID job=NUMBER|any answer=HEX [port_at=BYTE]
 *   UNVOUCH   when it is answered none of this connection's can be redeemed any more, awaited.h's included; or
 * lease=ID: that one REDEEM    uid=UID gid=GID job=NUMBER ask=HEX; the answer has lease=ID answer=HEX REDEEMED  to the
 * connection of VOUCH, within 10 ms and before it hears anything else: lease=ID job=NUMBER port=PORT stats=PATH
 *
 * With pool= the guest is a prepared one of the same connection's. Without, there is none yet: it is started when it is
 * redeemed, and its port goes into the answer, as five digits at port_at. Either way its sockets listen when the answer
 * is there. One that cannot be started is told of as one that has ended (EXITED).
 *
 * What is in the lease's meta was true when it was granted ahead; LIST says when it was handed out.
 *
 * A voucher is for the request whose bytes it holds, asked by this uid and gid, and by any of his jobs or by one. It
 * goes with its guest, and with its connection. What the starter does here is to compare bytes; what they mean is not
 * its business.
 */
#ifndef SUBLET_LAUNCH_VOUCHER_H
#define SUBLET_LAUNCH_VOUCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Characters of hex at most. */
enum { VOUCHER_ASK_MAX = 2048, VOUCHER_ANSWER_MAX = 8192 };

struct starter;
struct voucher;
struct waiter;

/** What a REDEEM shows. */
struct asked {
    uint64_t uid, gid, job;
    const char *ask;
};

/** Bytes in hex, one at least. */
bool voucher_hex(const char *text, size_t most);

/** Answers a VOUCH, UNVOUCH or REDEEM in starter->message. */
void voucher_take(struct starter *starter, struct waiter waiter);
void voucher_drop(struct starter *starter, struct waiter waiter);
void voucher_redeem(struct starter *starter, struct waiter waiter);

/** Who had vouchers is gone, and they with it. */
void voucher_on_client_gone(struct starter *starter, uint64_t client);
/** NULL is none. */
void voucher_free(struct voucher *voucher);

#endif
