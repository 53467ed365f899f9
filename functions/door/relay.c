/** Bytes between a user and the agent, as they are. */
#include "door/door.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { ROUNDS = 4 };

static bool is_empty(const struct half *half)
{
    return half->have == half->sent;
}

static bool make_room(struct half *half)
{
    half->have = half->sent = 0;
    if (half->bytes == NULL)
        half->bytes = malloc(HALF_BYTES);
    return half->bytes != NULL;
}

static bool would_wait(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/** False: the other end is gone. */
static bool pass_on(int fd, struct half *half)
{
    while (!is_empty(half)) {
        ssize_t sent = send(fd, half->bytes + half->sent, half->have - half->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent <= 0)
            return sent < 0 && would_wait();
        half->sent += (size_t)sent;
    }
    return true;
}

/** Most connections are idle most of the time. */
static void give_back(struct half *half)
{
    if (!is_empty(half))
        return;
    free(half->bytes);
    *half = (struct half){0};
}

static enum relay_result from_user(struct visitor *visitor)
{
    if (visitor->said_all || !is_empty(&visitor->up))
        return RELAY_ON;
    if (!make_room(&visitor->up))
        return RELAY_OVER;
    ssize_t got = look_and_take(visitor->fd, visitor->up.bytes, HALF_BYTES);
    if (got == -2)
        return RELAY_PASSED;
    if (got > 0)
        visitor->up.have = (size_t)got;
    else if (got == 0)
        visitor->said_all = true;
    else if (!would_wait())
        return RELAY_OVER;
    return RELAY_ON;
}

static enum relay_result from_agent(struct visitor *visitor)
{
    if (visitor->heard_all || !is_empty(&visitor->down))
        return RELAY_ON;
    if (!make_room(&visitor->down))
        return RELAY_OVER;
    ssize_t got = recv(visitor->agent_fd, visitor->down.bytes, HALF_BYTES, MSG_DONTWAIT);
    if (got > 0)
        visitor->down.have = (size_t)got;
    else if (got == 0)
        visitor->heard_all = true;
    else if (!would_wait())
        return RELAY_OVER;
    return RELAY_ON;
}

enum relay_result relay(struct visitor *visitor)
{
    for (int round = 0; round < ROUNDS; round++) {
        enum relay_result result = from_user(visitor);
        if (result == RELAY_ON)
            result = from_agent(visitor);
        if (result != RELAY_ON)
            return result;
        bool idle = is_empty(&visitor->up) && is_empty(&visitor->down);
        if (!pass_on(visitor->agent_fd, &visitor->up))
            return RELAY_OVER;
        visitor->deaf = visitor->deaf || !pass_on(visitor->fd, &visitor->down);
        if (visitor->deaf)
            visitor->down.sent = visitor->down.have;
        if (visitor->said_all && !visitor->told && is_empty(&visitor->up)) {
            shutdown(visitor->agent_fd, SHUT_WR);
            visitor->told = true;
        }
        if (visitor->heard_all && is_empty(&visitor->down))
            return RELAY_OVER;
        if (idle)
            break;
    }
    give_back(&visitor->up);
    give_back(&visitor->down);
    return RELAY_ON;
}
