/**
 * Vouchers (launch/voucher.h): a lease that was granted ahead is handed out here, at the agent's public socket, when
 * its user asks for it. The agent hears of it in the user's own stream, in the place of his request.
 */
#ifndef SUBLET_DOOR_REDEEM_H
#define SUBLET_DOOR_REDEEM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "door/frames.h"

/** Bytes of a request that may be redeemed at most, and of what takes its place. */
enum { REDEEM_REQUEST_MAX = 1024, REDEEM_MARK_MAX = FRAME_HEADER + 4 + 64, REDEEM_ANSWER_MAX = 4096 };

/** What the starter said to one REDEEM. */
struct redeemed {
    uint32_t id;
    bool ok;
    char lease[64];
    unsigned char answer[REDEEM_ANSWER_MAX]; /* a LocalResponse without its id */
    size_t answer_size;
};

/** The starter's socket; none: nothing is ever redeemed. */
void redeem_at(const char *starter_path);
/** The agent says whether there are vouchers. @return a descriptor that is new and is to be watched, else -1. */
int redeem_open(bool open);
/**
 * Connects anew where the starter's connection was lost and there are vouchers, once in a second: it closes one that
 * is too slow for it, and the agent, which sees nothing of that, says no word. @return as redeem_open()
 */
int redeem_again(int64_t now_ms);
/** Asks; false: there is nobody to ask. */
bool redeem_ask(uint32_t id, uid_t uid, gid_t gid, const struct lease_ask *ask);
/**
 * Reads what has come; calls `take` for each answer. False: the starter is lost, its descriptor closed.
 */
bool redeem_read(void (*take)(const struct redeemed *said));

#endif
