/** Bytes between a user and the agent, as they are. */
#include "door/door.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { ROUNDS = 4 };

static bool is_empty(const struct half *half)
{
    return half->have == half->sent;
}

static bool make_room(struct half *half)
{
    half->have = half->seen = half->sent = 0;
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
    while (half->sent < half->seen) {
        ssize_t sent = send(fd, half->bytes + half->sent, half->seen - half->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
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

/** Bytes of a frame that begins here, header and all; 0: it is not all there, or none. */
static size_t whole_frame(const unsigned char *bytes, size_t size)
{
    uint32_t length = size < FRAME_HEADER ? 0 : frame_length(bytes);
    return length == 0 || length > FRAME_MAX || size - FRAME_HEADER < length ? 0 : FRAME_HEADER + length;
}

/** Nothing is on its way to him, so that an answer from here comes between two frames. */
static bool may_redeem(const struct visitor *visitor)
{
    return is_empty(&visitor->down) && framing_between(&visitor->down_frames) && !visitor->heard_all &&
           visitor->up.have + REDEEM_MARK_MAX <= HALF_BYTES;
}

/** How many of these bytes go together: the rest of a frame that has begun, or a whole one, or all that is there. */
static size_t next_part(const struct framing *framing, const unsigned char *bytes, size_t size)
{
    if (framing->have > 0)
        return 1;
    if (framing->left > 0)
        return size < framing->left ? size : framing->left;
    size_t whole = framing->astray ? 0 : whole_frame(bytes, size);
    return whole > 0 ? whole : size;
}

/** Looks at what he has sent, up to a request that may be redeemed. False: he says what only the door may say. */
static bool look(struct visitor *visitor)
{
    struct half *up = &visitor->up;
    while (up->seen < up->have && visitor->asked == 0) {
        const unsigned char *at = up->bytes + up->seen;
        size_t part = next_part(&visitor->up_frames, at, up->have - up->seen);
        struct lease_ask ask;
        if (framing_between(&visitor->up_frames) && part == whole_frame(at, part) && may_redeem(visitor) &&
            lease_ask_read(at + FRAME_HEADER, part - FRAME_HEADER, &ask) && ask_for(visitor, &ask))
            return true;
        if (!framing_pass(&visitor->up_frames, at, part))
            return false;
        up->seen += part;
    }
    return true;
}

/** The lease's id, and for which of his jobs he asked, in place of his request. */
static void put_mark(struct half *up, size_t frame_size, uint32_t job_id, const char *lease)
{
    unsigned char *at = up->bytes + up->seen;
    size_t lease_size = strlen(lease), mark_size = FRAME_HEADER + 4 + lease_size;
    memmove(at + mark_size, at + frame_size, up->have - up->seen - frame_size);
    frame_put_length(at, FRAME_MARK | (uint32_t)(4 + lease_size));
    frame_put_length(at + FRAME_HEADER, job_id);
    memcpy(at + FRAME_HEADER + 4, lease, lease_size);
    up->have = up->have - frame_size + mark_size;
    up->seen += mark_size;
}

void relay_answered(struct visitor *visitor, const struct redeemed *said)
{
    struct half *up = &visitor->up, *down = &visitor->down;
    const unsigned char *frame = up->bytes + up->seen;
    size_t frame_size = whole_frame(frame, up->have - up->seen);
    struct lease_ask ask;
    visitor->asked = 0;
    if (!lease_ask_read(frame + FRAME_HEADER, frame_size - FRAME_HEADER, &ask)) /* as it was when it was asked */
        abort();
    if (said == NULL || !said->ok || !make_room(down)) {
        (void)framing_pass(&visitor->up_frames, frame, frame_size);
        up->seen += frame_size;
        return;
    }
    frame_put_length(down->bytes, (uint32_t)(ask.id_size + said->answer_size));
    memcpy(down->bytes + FRAME_HEADER, ask.id, ask.id_size);
    memcpy(down->bytes + FRAME_HEADER + ask.id_size, said->answer, said->answer_size);
    down->have = down->seen = FRAME_HEADER + ask.id_size + said->answer_size;
    put_mark(up, frame_size, ask.job_id, said->lease);
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
    if (visitor->heard_all || visitor->asked != 0 || !is_empty(&visitor->down))
        return RELAY_ON;
    if (!make_room(&visitor->down))
        return RELAY_OVER;
    ssize_t got = recv(visitor->agent_fd, visitor->down.bytes, HALF_BYTES, MSG_DONTWAIT);
    if (got > 0) {
        visitor->down.have = visitor->down.seen = (size_t)got;
        (void)framing_pass(&visitor->down_frames, visitor->down.bytes, (size_t)got);
    } else if (got == 0)
        visitor->heard_all = true;
    else if (!would_wait())
        return RELAY_OVER;
    return RELAY_ON;
}

void relay_down(struct visitor *visitor)
{
    visitor->deaf = visitor->deaf || !pass_on(visitor->fd, &visitor->down);
    if (visitor->deaf)
        visitor->down.sent = visitor->down.have;
    give_back(&visitor->down);
}

enum relay_result relay(struct visitor *visitor)
{
    for (int round = 0; round < ROUNDS; round++) {
        enum relay_result result = from_user(visitor);
        if (result == RELAY_ON)
            result = from_agent(visitor);
        if (result != RELAY_ON)
            return result;
        if (!look(visitor))
            return RELAY_OVER;
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
        if (idle || visitor->asked != 0)
            break;
    }
    give_back(&visitor->up);
    give_back(&visitor->down);
    return RELAY_ON;
}
