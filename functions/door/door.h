/**
 * sublet-door: the agent's public socket, so that no user can make the agent wait.
 *
 * Any user may connect to agent.sock, and may pass descriptors along with his bytes (SCM_RIGHTS). Who reads such bytes
 * and does not want the descriptors closes them, and a close may take long: that of a TCP socket with SO_LINGER waits
 * for its peer for as long as the sender chose. The agent has one thread, and Slurm's hooks wait for it. So the door
 * stands between: it looks before it reads, and has whoever passes descriptors closed by a process that ends, where
 * the kernel waits for nobody.
 *
 *   user ──agent.sock──► door ──door.sock──► agent       first the user's pid, uid, gid (3 x u32), then his bytes
 *                          └──starter.sock──► starter    what may be redeemed
 *
 * While the agent has granted leases ahead (it says + on standard input, and - when there are none any more), a request
 * for a lease is shown to the starter first. Where that has a voucher for it, the user has his answer from here, and in
 * the place of his request the agent gets a frame whose length has its highest bit set (frames.h): the number of the
 * job (u32), and the lease's id. Anything else passes as it is. It ends with the agent: when its standard input closes.
 */
#ifndef SUBLET_DOOR_DOOR_H
#define SUBLET_DOOR_DOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "door/frames.h"
#include "door/redeem.h"

enum { HALF_BYTES = 16384, VISITORS_MAX = 2048, VISITORS_PER_USER = 1024, ROOT_VISITORS = 512 };

/** Bytes on their way in one direction. */
struct half {
    unsigned char *bytes; /* HALF_BYTES; NULL: none */
    size_t have;
    size_t seen; /* of them, what may be sent */
    size_t sent;
};

struct visitor {
    int fd;
    int agent_fd; /* -1: the agent has not taken the connection yet */
    uid_t uid;
    gid_t gid;
    uint32_t asked;       /* the number of the question whether his request can be redeemed; 0: none is open */
    int64_t asked_end_ms; /* when it is passed on all the same */
    int64_t hold_end_ms;  /* until then what the agent is to hear may wait, unless he says more; 0: it may not */
    struct framing up_frames;
    struct framing down_frames;
    bool said_all;   /* nothing more comes from him */
    bool told;       /* and the agent knows */
    bool heard_all;  /* nothing more comes from the agent */
    bool deaf;       /* he takes no bytes any more; what he sent before counts all the same */
    uint32_t events; /* that are watched, of fd; 0: not at all */
    uint32_t agent_events;
    struct half up;
    struct half down;
};

/** PASSED: descriptors came along. */
enum relay_result { RELAY_ON, RELAY_OVER, RELAY_PASSED };

/** Moves what can be moved now, a few buffers at most. */
enum relay_result relay(struct visitor *visitor);

/** Asks whether a visitor's request can be redeemed; true: `visitor->asked` is set, and relay_answered() follows. */
bool ask_for(struct visitor *visitor, const struct lease_ask *ask);
/** What the starter said to it; NULL: nothing. His stream goes on with relay(). */
void relay_answered(struct visitor *visitor, const struct redeemed *said);
/** Sends him what waits for him, and nothing to the agent. */
void relay_down(struct visitor *visitor);

/**
 * Bytes of a user's socket, like recv with MSG_DONTWAIT; -2: descriptors come with the next one, and nothing was taken.
 */
ssize_t look_and_take(int fd, void *bytes, size_t size);

/** Closes a user's socket, and what he may have sent into it, without ever waiting. */
void close_user(int fd);
/** Tries again to close what could not be closed when it was asked for. True: some is left. */
bool close_late(void);

#endif
