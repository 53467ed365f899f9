/** A guest's end of it: what it asks and is answered, and what it was given to fill. */
#include "launch/code_channel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/code_store.h"
#include "launch/starter.h"

/** A guest may ask this often at once, and then once in this time. */
#define TOKENS_MAX UINT32_C(64)
#define TOKEN_NS   UINT64_C(50000000)

void code_channel_none(struct code_channel *channel)
{
    memset(channel, 0, sizeof(*channel));
    channel->ask_fd = channel->answer_fd = -1;
    for (size_t i = 0; i < CODE_OFFERS_MAX; i++)
        channel->offers[i].fd = -1;
}

bool code_channel_open(struct starter *starter, struct guest *guest, int *ask_out, int *answer_out)
{
    int pipes[2] = {-1, -1}, sockets[2] = {-1, -1};
    if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK) != 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0 || shutdown(sockets[0], SHUT_RD) != 0 ||
        !server_watch(starter, pipes[0], EPOLLIN, WATCH_CODE, guest->serial)) {
        const int all[] = {pipes[0], pipes[1], sockets[0], sockets[1]};
        for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
            if (all[i] >= 0)
                close(all[i]);
        return false;
    }
    guest->code.ask_fd = pipes[0];
    guest->code.answer_fd = sockets[0];
    guest->code.tokens = TOKENS_MAX;
    guest->code.filled_ns = monotonic_ns();
    *ask_out = pipes[1];
    *answer_out = sockets[1];
    return true;
}

struct code_offer *code_offer_find(struct guest *guest, uint32_t id)
{
    for (size_t i = 0; i < CODE_OFFERS_MAX; i++)
        if (guest->code.offers[i].fd >= 0 && guest->code.offers[i].id == id)
            return &guest->code.offers[i];
    return NULL;
}

/** Bytes that a memfd of ours holds. */
static uint64_t held_bytes(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 ? (uint64_t)info.st_blocks * 512 : 0;
}

void code_offer_drop(struct code_offer *offer)
{
    code_free(&offer->fd, 1, held_bytes(offer->fd));
    *offer = (struct code_offer){.fd = -1};
}

void code_offers_drop(struct code_channel *channel)
{
    for (size_t i = 0; i < CODE_OFFERS_MAX; i++)
        if (channel->offers[i].fd >= 0)
            code_offer_drop(&channel->offers[i]);
}

int code_offer_begin(struct guest *guest, const struct code_ask *ask)
{
    for (size_t i = 0; i < CODE_OFFERS_MAX; i++) {
        struct code_offer *offer = &guest->code.offers[guest->code.next_offer++ % CODE_OFFERS_MAX];
        if (offer->ready)
            continue;
        if (offer->fd >= 0)
            code_offer_drop(offer);
        offer->fd = code_memfd(ask->size);
        offer->id = ask->id;
        offer->size = ask->size;
        memcpy(offer->hash, ask->hash, sizeof(offer->hash));
        return offer->fd;
    }
    return -1;
}

void code_answer(const struct guest *guest, enum code_operation operation, uint32_t id, sublet_status status, int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct code_answer frame = {.magic = CODE_MAGIC, .operation = operation, .id = id, .status = status};
    struct iovec part = {.iov_base = &frame, .iov_len = sizeof(frame)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(int));
    }
    (void)!sendmsg(guest->code.answer_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/** Takes a token; false when there is none. */
static bool take_token(struct code_channel *channel)
{
    uint64_t now = monotonic_ns(), more = (now - channel->filled_ns) / TOKEN_NS;
    channel->filled_ns += more * TOKEN_NS;
    channel->tokens = more >= TOKENS_MAX - channel->tokens ? TOKENS_MAX : channel->tokens + (uint32_t)more;
    if (channel->tokens == 0)
        return false;
    channel->tokens--;
    return true;
}

void code_listen(struct starter *starter, struct guest *guest, bool on)
{
    guest->code.paused = !on;
    (void)server_rewatch(starter, guest->code.ask_fd, on ? EPOLLIN : 0, WATCH_CODE, guest->serial);
}

bool code_is_late(const struct code_channel *channel, uint64_t *at_out)
{
    *at_out = channel->filled_ns + TOKEN_NS;
    return channel->paused;
}

enum code_heard code_hear(struct starter *starter, struct guest *guest, struct code_ask *ask, char *path)
{
    if (guest->code.paused) /* the kernel says that its end is closed */
        return CODE_BROKEN;
    if (!take_token(&guest->code)) {
        code_listen(starter, guest, false);
        return CODE_NOTHING;
    }
    ssize_t got = read(guest->code.ask_fd, ask, sizeof(*ask));
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return CODE_NOTHING;
    if (got != (ssize_t)sizeof(*ask) || code_ask_check(ask) != SUBLET_OK)
        return CODE_BROKEN;
    if (ask->operation != CODE_PATH)
        return CODE_ASKED;
    got = read(guest->code.ask_fd, path, ask->path_bytes); /* it is there: one write of so few bytes is whole */
    if (got != (ssize_t)ask->path_bytes || !code_path_check(path, ask->path_bytes))
        return CODE_BROKEN;
    path[got] = '\0';
    return CODE_ASKED;
}
