/**
 * Answers to requests for leases on other nodes, kept to be handed out like vouchers: the agent has had the lease
 * granted ahead there (awaited.h), and whoever is let in at the door gets the answer when he makes that request.
 *
 *   KEEP    lease=ID owner=UID owner_gid=GID job=NUMBER ask=HEX answer=HEX
 *   FORGET  lease=ID; the answer has kept=1, or kept=0 where it was handed out before, or never kept
 *
 * REDEEM looks here when no voucher fits, and its answer is the same. The keeper is told nothing: it hears of it in the
 * client's stream. A kept answer goes with its keeper's connection.
 */
#ifndef SUBLET_LAUNCH_KEPT_H
#define SUBLET_LAUNCH_KEPT_H

#include <stdbool.h>
#include <stdint.h>

struct asked;
struct kept;
struct starter;
struct waiter;

void kept_take(struct starter *starter, struct waiter waiter);
void kept_forget(struct starter *starter, struct waiter waiter);
/** Answers a REDEEM. False: there is nothing for it. */
bool kept_redeem(struct starter *starter, const struct asked *asked, struct waiter waiter);
void kept_on_client_gone(struct starter *starter, uint64_t client);

#endif
