/**
 * One request to the agent: u32 little-endian length, then a LocalRequest of proto/sublet/v1/local.proto, written and
 * read by hand (the format is protobuf's; ten fields do not justify a library in a prolog). One at a time: the buffers
 * are static, since neither a prolog nor slurmstepd has a stack to spare for them.
 */
#include "hook.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FRAME_MAX 65536u

static size_t put_varint(unsigned char *to, uint64_t value)
{
    size_t size = 0;
    for (; value >= 0x80; value >>= 7)
        to[size++] = (unsigned char)(value | 0x80);
    to[size++] = (unsigned char)value;
    return size;
}

/** A number of field `field`; 0 is not sent, as protobuf has it. */
static size_t put_number(unsigned char *to, unsigned field, uint64_t value)
{
    if (value == 0)
        return 0;
    size_t size = put_varint(to, field << 3);
    return size + put_varint(to + size, value);
}

static size_t put_bytes(unsigned char *to, unsigned field, const void *bytes, size_t length)
{
    if (length == 0)
        return 0;
    size_t size = put_varint(to, field << 3 | 2);
    size += put_varint(to + size, length);
    memcpy(to + size, bytes, length);
    return size + length;
}

static size_t put_name(unsigned char *to, unsigned field, const char *name)
{
    return name == NULL ? 0 : put_bytes(to, field, name, strnlen(name, HOOK_NAME_MAX));
}

static size_t put_cores(unsigned char *to, unsigned field, const struct hook_notice *notice)
{
    static unsigned char packed[HOOK_CORES_MAX * 5];
    size_t size = 0;
    for (size_t i = 0; i < notice->core_count && i < HOOK_CORES_MAX; i++)
        size += put_varint(packed + size, notice->cores[i]);
    return put_bytes(to, field, packed, size);
}

/** LocalHook; its size. At most HOOK_CORES_MAX * 5 + 3 * HOOK_NAME_MAX + 100 bytes: it fits into a frame. */
static size_t make_hook(unsigned char *to, const struct hook_notice *notice)
{
    size_t size = put_number(to, 1, notice->event);
    size += put_number(to + size, 2, notice->job_id);
    size += put_number(to + size, 3, notice->uid);
    size += put_number(to + size, 4, notice->consent);
    size += put_cores(to + size, 5, notice);
    size += put_number(to + size, 6, notice->memory_bytes);
    size += put_name(to + size, 7, notice->partition);
    size += put_name(to + size, 8, notice->account);
    size += put_name(to + size, 9, notice->qos);
    return size + put_number(to + size, 10, notice->step_id);
}

/** The whole frame: LocalRequest{id = 1, hook}. */
static size_t make_frame(unsigned char *frame, const struct hook_notice *notice)
{
    static unsigned char hook[FRAME_MAX - 16];
    size_t inner = make_hook(hook, notice), size = 4;
    size += put_number(frame + size, 1, 1);
    size += put_bytes(frame + size, 6, hook, inner);
    uint32_t length = (uint32_t)(size - 4);
    for (int i = 0; i < 4; i++)
        frame[i] = (unsigned char)(length >> (8 * i));
    return size;
}

/** Bytes moved, 0 when the peer closed, -1 on error or when the time is over. */
static ssize_t move(int fd, unsigned char *bytes, size_t size, int out, int64_t end_ms)
{
    for (;;) {
        ssize_t moved = out ? send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT) : recv(fd, bytes, size, MSG_DONTWAIT);
        if (moved >= 0)
            return moved;
        if (errno != EAGAIN && errno != EINTR)
            return -1;
        int64_t left = end_ms - now_ms();
        if (left <= 0)
            return -1;
        struct pollfd entry = {.fd = fd, .events = out ? POLLOUT : POLLIN};
        (void)poll(&entry, 1, (int)left);
    }
}

static bool move_all(int fd, unsigned char *bytes, size_t size, int out, int64_t end_ms)
{
    for (size_t done = 0; done < size;) {
        ssize_t moved = move(fd, bytes + done, size - done, out, end_ms);
        if (moved <= 0)
            return false;
        done += (size_t)moved;
    }
    return true;
}

static bool get_varint(const unsigned char **at, const unsigned char *end, uint64_t *out)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && *at < end; shift += 7) {
        unsigned char byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *out = value;
            return true;
        }
    }
    return false;
}

/** Reads id (field 1) and code (field 2) of a LocalResponse; skips the rest. */
static bool read_response(const unsigned char *at, size_t size, uint64_t *id, uint64_t *code)
{
    const unsigned char *end = at + size;
    uint64_t key, value;
    *id = *code = 0;
    while (at < end) {
        if (!get_varint(&at, end, &key))
            return false;
        if ((key & 7) == 0) {
            if (!get_varint(&at, end, &value))
                return false;
            if (key >> 3 == 1)
                *id = value;
            if (key >> 3 == 2)
                *code = value;
        } else if ((key & 7) == 2) {
            if (!get_varint(&at, end, &value) || value > (uint64_t)(end - at))
                return false;
            at += value;
        } else if ((key & 7) == 1 || (key & 7) == 5) { /* fixed numbers, of a newer agent */
            size_t width = (key & 7) == 1 ? 8 : 4;
            if (width > (size_t)(end - at))
                return false;
            at += width;
        } else
            return false;
    }
    return true;
}

static const char *converse(int fd, const struct hook_notice *notice, int64_t end_ms)
{
    static unsigned char frame[FRAME_MAX];
    size_t size = make_frame(frame, notice);
    if (!move_all(fd, frame, size, 1, end_ms))
        return "the agent did not take the request";
    for (;;) {
        uint64_t id, code;
        /* Notices may come without end, so look at the clock here too. */
        if (now_ms() >= end_ms || !move_all(fd, frame, 4, 0, end_ms))
            return "the agent did not answer";
        uint32_t length = frame[0] | (uint32_t)frame[1] << 8 | (uint32_t)frame[2] << 16 | (uint32_t)frame[3] << 24;
        if (length == 0 || length > FRAME_MAX)
            return "the agent's answer makes no sense";
        if (!move_all(fd, frame, length, 0, end_ms))
            return "the agent did not answer";
        if (!read_response(frame, length, &id, &code))
            return "the agent's answer makes no sense";
        if (id == 1)
            return code == 0 ? NULL : "the agent could not end the guests";
    }
}

const char *ask_agent(const char *socket_path, const struct hook_notice *notice, int64_t end_ms, bool *there)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(socket_path) >= sizeof(address.sun_path))
        return "the path of the agent's socket is too long";
    strcpy(address.sun_path, socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return "no socket";
    const char *why = "no agent";
    /* EAGAIN: its queue of connections is full; others of this node are asking, so it is there. */
    while (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        if ((errno != EAGAIN && errno != EINTR) || now_ms() >= end_ms)
            goto done;
        (void)poll(NULL, 0, 5);
    }
    *there = true;
    why = converse(fd, notice, end_ms);
done:
    close(fd);
    return why;
}
