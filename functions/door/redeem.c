#include "door/redeem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { AGAIN_MS = 1000 };

static const char *path;
static int starter = -1;
static bool is_open;
static int64_t again_ms; /* not connected anew before then */
static unsigned char in[FRAME_HEADER + FRAME_MAX];
static size_t in_size;

void redeem_at(const char *starter_path)
{
    path = starter_path;
}

static void lose(void)
{
    close(starter);
    starter = -1;
    in_size = 0;
}

static int connect_starter(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path == NULL || strlen(path) >= sizeof(address.sun_path))
        return -1;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

int redeem_open(bool open)
{
    is_open = open;
    if (!open || starter >= 0)
        return -1;
    starter = connect_starter();
    return starter;
}

int redeem_again(int64_t now_ms)
{
    if (!is_open || starter >= 0 || now_ms < again_ms)
        return -1;
    again_ms = now_ms + AGAIN_MS;
    starter = connect_starter();
    return starter;
}

bool redeem_ask(uint32_t id, uid_t uid, gid_t gid, const struct lease_ask *ask)
{
    static const char digits[] = "0123456789abcdef";
    char text[FRAME_HEADER + 128 + 2 * REDEEM_REQUEST_MAX];
    if (!is_open || starter < 0 || ask->request_size > REDEEM_REQUEST_MAX)
        return false;
    int size = FRAME_HEADER;
    size += snprintf(text + size, 128, "verb=REDEEM\nid=%u\nuid=%u\ngid=%u\njob=%u\nask=", id, (unsigned)uid,
                     (unsigned)gid, ask->job_id);
    for (size_t i = 0; i < ask->request_size; i++) {
        text[size++] = digits[ask->request[i] >> 4];
        text[size++] = digits[ask->request[i] & 15];
    }
    text[size++] = '\n';
    frame_put_length((unsigned char *)text, (uint32_t)(size - FRAME_HEADER));
    ssize_t sent = send(starter, text, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0 && sent < size) /* half a frame: no other may follow; who reads finds it closed */
        shutdown(starter, SHUT_RDWR);
    return sent == size;
}

/** The value of the line `key=` in a frame's text; NULL: none. */
static const char *value_of(const char *text, const char *end, const char *key, size_t *size)
{
    size_t key_size = strlen(key);
    for (const char *line = text; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        if (stop == NULL)
            return NULL;
        if ((size_t)(stop - line) >= key_size && memcmp(line, key, key_size) == 0) {
            *size = (size_t)(stop - line) - key_size;
            return line + key_size;
        }
        line = stop + 1;
    }
    return NULL;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool from_hex(const char *hex, size_t size, struct redeemed *said)
{
    if (size % 2 != 0 || size / 2 > sizeof(said->answer))
        return false;
    for (size_t i = 0; i < size; i += 2) {
        int high = digit(hex[i]), low = digit(hex[i + 1]);
        if (high < 0 || low < 0)
            return false;
        said->answer[i / 2] = (unsigned char)(high << 4 | low);
    }
    said->answer_size = size / 2;
    return true;
}

/** Notices, which have no id, are not for us. */
static bool read_answer(const char *text, size_t text_size, struct redeemed *said)
{
    const char *end = text + text_size;
    size_t id_size = 0, lease_size = 0, hex_size = 0;
    const char *id = value_of(text, end, "id=", &id_size);
    const char *lease = value_of(text, end, "lease=", &lease_size);
    const char *hex = value_of(text, end, "answer=", &hex_size);
    memset(said, 0, offsetof(struct redeemed, answer));
    said->answer_size = 0;
    if (id == NULL || id_size > 10)
        return false;
    said->id = (uint32_t)strtoul(id, NULL, 10); /* ends at its newline */
    said->ok = lease != NULL && hex != NULL && lease_size > 0 && lease_size < sizeof(said->lease) &&
               from_hex(hex, hex_size, said);
    if (said->ok)
        memcpy(said->lease, lease, lease_size);
    return true;
}

static bool take_frames(void (*take)(const struct redeemed *said))
{
    static struct redeemed said;
    size_t done = 0;
    while (in_size - done >= FRAME_HEADER) {
        uint32_t length = frame_length(in + done);
        if (length == 0 || length > FRAME_MAX)
            return false;
        if (in_size - done - FRAME_HEADER < length)
            break;
        if (read_answer((const char *)in + done + FRAME_HEADER, length, &said))
            take(&said);
        done += FRAME_HEADER + length;
    }
    memmove(in, in + done, in_size - done);
    in_size -= done;
    return true;
}

bool redeem_read(void (*take)(const struct redeemed *said))
{
    for (;;) {
        ssize_t got = recv(starter, in + in_size, sizeof(in) - in_size, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        if (got > 0) {
            in_size += (size_t)got;
            if (take_frames(take))
                continue;
        }
        lose();
        return false;
    }
}
