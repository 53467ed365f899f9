/**
 * Leases that were granted ahead to clients on other nodes: their agents keep the answer (kept.h), and the client comes
 * without a word to anybody here. Whoever shows the lease's token first makes it a lease.
 *
 *   AWAIT     what START says, and job=NUMBER; the answer has port=PORT
 *   REDEEMED  as of a voucher (voucher.h), when the executor has seen the token
 *
 * With pool= the prepared guest is bound to the lease at once. Without, only a socket listens, and the guest is started
 * when somebody connects; one that nobody shows the token within some seconds ends again (EXITED), as does one that
 * cannot be started. Until REDEEMED it is nobody's lease: it ends with UNVOUCH, which is answered behind every
 * REDEEMED, and with the connection that asked for it, and LIST does not name it.
 */
#ifndef SUBLET_LAUNCH_AWAITED_H
#define SUBLET_LAUNCH_AWAITED_H

#include <stdint.h>

struct awaited;
struct starter;
struct waiter;

void awaited_take(struct starter *starter, struct waiter waiter);
/** Somebody connects to one that has no guest yet. */
void awaited_on_call(struct starter *starter, uint64_t serial);
/** Ends the keeper's: the one of this lease, or all (NULL). */
void awaited_drop(struct starter *starter, uint64_t keeper, const char *lease);

#endif
