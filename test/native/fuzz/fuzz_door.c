/**
 * The door, between a user who says anything in any pieces and an agent: whatever comes, the agent finds a marked
 * length only where the door has put one, as often as the starter has handed a lease out.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "door/door.h"

enum { HEARD_MAX = 1 << 20 };

static unsigned char heard[HEARD_MAX];
static size_t heard_size;
static uint32_t questions, redeemed_count;

static void must(bool holds)
{
    if (!holds)
        __builtin_trap();
}

bool ask_for(struct visitor *visitor, const struct lease_ask *ask)
{
    volatile unsigned char sum = 0; /* reads all that it is shown */
    for (size_t i = 0; i < ask->request_size; i++)
        sum = (unsigned char)(sum + ask->request[i]);
    for (size_t i = 0; i < ask->id_size; i++)
        sum = (unsigned char)(sum + ask->id[i]);
    must(ask->id_size >= 2 && ask->request_size > 0);
    visitor->asked = ++questions;
    return true;
}

static void drain(int fd, unsigned char *into, size_t *size)
{
    unsigned char bytes[4096];
    ssize_t got;
    while ((got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
        if (into != NULL && *size + (size_t)got <= HEARD_MAX) {
            memcpy(into + *size, bytes, (size_t)got);
            *size += (size_t)got;
        }
}

/** Marks in what the agent heard, up to where no frame can be told any more, as its own reader does it. */
static uint32_t marks_heard(void)
{
    uint32_t marks = 0;
    for (size_t at = 0; heard_size - at >= FRAME_HEADER;) {
        uint32_t length = frame_length(heard + at);
        bool marked = (length & FRAME_MARK) != 0;
        length &= ~FRAME_MARK;
        marks += marked;
        if (length == 0 || length > FRAME_MAX || heard_size - at - FRAME_HEADER < length)
            break;
        if (marked)
            must(length == 8 && memcmp(heard + at + FRAME_HEADER + 4, "n-1a", 4) == 0);
        at += FRAME_HEADER + length;
    }
    return marks;
}

static void answer(struct visitor *visitor, bool ok)
{
    static struct redeemed said;
    memset(&said, 0, sizeof(said));
    said.ok = ok;
    memcpy(said.lease, "n-1a", 5);
    said.answer[0] = 0x22;
    said.answer_size = 2;
    redeemed_count += ok;
    relay_answered(visitor, &said);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int user[2], agent[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, user) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, agent) == 0);
    struct visitor visitor = {.fd = user[1], .agent_fd = agent[1]};
    enum relay_result result = RELAY_ON;
    heard_size = questions = redeemed_count = 0;
    for (size_t at = 0; at < size && result == RELAY_ON;) {
        size_t part = 1 + data[at] % 64;
        bool ok = (data[at] & 0x40) != 0, agent_talks = (data[at] & 0x80) != 0;
        at++;
        if (part > size - at)
            part = size - at;
        if (agent_talks)
            must(send(agent[0], data + at, part, MSG_DONTWAIT) == (ssize_t)part);
        else
            must(send(user[0], data + at, part, MSG_DONTWAIT) == (ssize_t)part);
        at += part;
        result = relay(&visitor);
        while (result == RELAY_ON && visitor.asked != 0) {
            answer(&visitor, ok);
            result = relay(&visitor);
        }
        drain(agent[0], heard, &heard_size);
        drain(user[0], NULL, NULL);
    }
    drain(agent[0], heard, &heard_size);
    must(marks_heard() == redeemed_count || result != RELAY_ON);
    must(marks_heard() <= redeemed_count);
    free(visitor.up.bytes);
    free(visitor.down.bytes);
    for (int i = 0; i < 2; i++) {
        close(user[i]);
        close(agent[i]);
    }
    return 0;
}
