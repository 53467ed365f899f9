/**
 * The loop: clients of the starter's socket, SIGCHLD, the ready pipes. It takes one event at a time, so that no event
 * of a batch can be about something that an earlier one of it closed.
 *
 * Clients are root (socket mode and peer credentials), and yet bounded: 16 of them, 64 KiB of input each. A frame that
 * breaks the rules, one that stays unfinished, or answers not taken in time close the connection; guests run on.
 */
#include "launch/starter.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "launch/log.h"

#define LATER_NS UINT64_C(10000000)

enum { OUT_MAX = 4 << 20, SERIAL_BITS = 56 };

uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

bool server_watch(struct starter *starter, int fd, uint32_t events, enum watch_kind kind, uint64_t serial)
{
    struct epoll_event event = {.events = events, .data.u64 = ((uint64_t)kind << SERIAL_BITS) | serial};
    return epoll_ctl(starter->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool server_rewatch(struct starter *starter, int fd, uint32_t events, enum watch_kind kind, uint64_t serial)
{
    struct epoll_event event = {.events = events, .data.u64 = ((uint64_t)kind << SERIAL_BITS) | serial};
    return epoll_ctl(starter->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0;
}

static struct client *find_client(struct starter *starter, uint64_t serial)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (starter->clients[i].fd >= 0 && starter->clients[i].serial == serial)
            return &starter->clients[i];
    return NULL;
}

static void drop_client(struct starter *starter, struct client *client, const char *why)
{
    uint64_t serial = client->serial;
    if (why != NULL)
        log_event(LOG_LEVEL_WARN, "connection closed: %s", why);
    epoll_ctl(starter->epoll_fd, EPOLL_CTL_DEL, client->fd, NULL); /* a child before its exec may hold a copy */
    close(client->fd);
    free(client->out);
    explicit_bzero(client->in, client->in_size);
    client->fd = -1;
    client->out = NULL;
    client->in_size = client->out_size = client->out_sent = 0;
    client->in_end_ns = client->out_end_ns = client->later_ns = 0;
    guests_on_client_gone(starter, serial);
    voucher_on_client_gone(starter, serial);
    code_on_client_gone(starter, serial);
}

/** Writes what the socket takes. False when the client is lost. */
static bool flush_client(struct starter *starter, struct client *client)
{
    client->later_ns = 0;
    while (client->out_sent < client->out_size) {
        ssize_t sent = send(client->fd, client->out + client->out_sent, client->out_size - client->out_sent,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN)
            return false;
        if (sent < 0)
            break;
        client->out_sent += (size_t)sent;
    }
    bool waits = client->out_sent < client->out_size;
    if (waits != (client->out_end_ns != 0)) {
        if (!server_rewatch(starter, client->fd, waits ? EPOLLIN | EPOLLOUT : EPOLLIN, WATCH_CLIENT, client->serial))
            return false;
        client->out_end_ns = waits ? monotonic_ns() + starter->client_timeout_ns : 0;
    }
    if (!waits) {
        free(client->out);
        client->out = NULL;
        client->out_size = client->out_sent = 0;
    }
    return true;
}

static bool append_text(struct starter *starter, struct client *client)
{
    const struct text *text = &starter->text;
    size_t size = client->out_size + text->size;
    char *out = size > OUT_MAX ? NULL : realloc(client->out, size);
    if (out == NULL)
        return false;
    memcpy(out + client->out_size, text->bytes, text->size);
    client->out = out;
    client->out_size = size;
    return true;
}

void server_send(struct starter *starter, uint64_t serial)
{
    struct client *client = find_client(starter, serial);
    text_end(&starter->text);
    if (client != NULL && !(append_text(starter, client) && flush_client(starter, client)))
        drop_client(starter, client, "it takes no answers");
}

void server_send_later(struct starter *starter, uint64_t serial)
{
    struct client *client = find_client(starter, serial);
    text_end(&starter->text);
    if (client == NULL)
        return;
    if (!append_text(starter, client))
        drop_client(starter, client, "it takes no answers");
    else if (client->later_ns == 0)
        client->later_ns = monotonic_ns() + LATER_NS;
}

void server_send_all(struct starter *starter)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (starter->clients[i].fd >= 0)
            server_send(starter, starter->clients[i].serial);
}

void server_answer_error(struct starter *starter, struct waiter waiter, const char *error)
{
    text_begin(&starter->text);
    text_add(&starter->text, "id=%llu\nerror=%s\n", (unsigned long long)waiter.id, error);
    server_send(starter, waiter.client);
}

void server_answer_ok(struct starter *starter, struct waiter waiter)
{
    text_begin(&starter->text);
    text_add(&starter->text, "id=%llu\nok=1\n", (unsigned long long)waiter.id);
    server_send(starter, waiter.client);
}

static void answer_stop(struct starter *starter, struct waiter waiter)
{
    const char *lease = message_get(&starter->message, "lease");
    if (starter->message.count != 3 || !lease_is_valid(lease))
        server_answer_error(starter, waiter, "STOP takes lease=");
    else
        guests_stop(starter, lease, waiter);
}

static void answer_list(struct starter *starter, struct waiter waiter)
{
    if (starter->message.count != 2)
        server_answer_error(starter, waiter, "LIST takes nothing");
    else
        guests_list(starter, waiter);
}

static void answer_start(struct starter *starter, bool prepare, struct waiter waiter)
{
    struct start_request request;
    char why[ERROR_BYTES];
    if (!request_start(&starter->message, &request, starter->pilot, why))
        server_answer_error(starter, waiter, why);
    else if (request.pool == NULL)
        guests_start(starter, &request, prepare, waiter);
    else if (prepare)
        server_answer_error(starter, waiter, "PREPARE takes no pool=");
    else
        guests_hand_out(starter, &request, waiter);
}

/** False when the frame is none, which ends the connection. */
static bool handle_frame(struct starter *starter, struct client *client, char *text, size_t size)
{
    struct message *message = &starter->message;
    struct waiter waiter = {.client = client->serial};
    if (!message_parse(text, size, message) || strcmp(message->lines[0].key, "verb") != 0 ||
        !parse_number(message_get(message, "id"), UINT32_MAX, &waiter.id))
        return false;
    const char *verb = message->lines[0].value;
    if (strcmp(verb, "START") == 0 || strcmp(verb, "PREPARE") == 0)
        answer_start(starter, verb[0] == 'P', waiter);
    else if (strcmp(verb, "STOP") == 0)
        answer_stop(starter, waiter);
    else if (strcmp(verb, "LIST") == 0)
        answer_list(starter, waiter);
    else if (strcmp(verb, "VOUCH") == 0)
        voucher_take(starter, waiter);
    else if (strcmp(verb, "UNVOUCH") == 0)
        voucher_drop(starter, waiter);
    else if (strcmp(verb, "REDEEM") == 0)
        voucher_redeem(starter, waiter);
    else if (strcmp(verb, "AWAIT") == 0)
        awaited_take(starter, waiter);
    else if (strcmp(verb, "KEEP") == 0)
        kept_take(starter, waiter);
    else if (strcmp(verb, "FORGET") == 0)
        kept_forget(starter, waiter);
    else if (strcmp(verb, "CODE") == 0)
        code_set(starter, waiter);
    else if (strcmp(verb, "PATHS") == 0)
        code_paths_set(starter, waiter);
    else
        server_answer_error(starter, waiter,
                            "unknown verb; there are START, PREPARE, STOP, LIST, CODE, PATHS, VOUCH, UNVOUCH, REDEEM, "
                            "AWAIT, KEEP and FORGET");
    return true;
}

/** Handles the whole frames in the input. */
static void handle_input(struct starter *starter, struct client *client)
{
    uint64_t serial = client->serial;
    size_t done = 0;
    while (client->in_size - done >= FRAME_HEADER) {
        unsigned char *at = client->in + done;
        uint32_t size = at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        if (size < 1 || size > FRAME_MAX) {
            drop_client(starter, client, "frame of a forbidden length");
            return;
        }
        if (client->in_size - done - FRAME_HEADER < size)
            break;
        unsigned char *next = at + FRAME_HEADER + size, kept = *next;
        bool ok = handle_frame(starter, client, (char *)at + FRAME_HEADER, size);
        if (find_client(starter, serial) != client)
            return; /* it was closed meanwhile */
        if (!ok) {
            drop_client(starter, client, "frame without verb, id or sense");
            return;
        }
        *next = kept; /* parsing ended the text there */
        done += FRAME_HEADER + size;
    }
    size_t left = client->in_size - done;
    if (done > 0) {
        memmove(client->in, client->in + done, left);
        explicit_bzero(client->in + left, done); /* tokens */
        client->in_end_ns = 0;
    }
    client->in_size = left;
    if (left > 0 && client->in_end_ns == 0)
        client->in_end_ns = monotonic_ns() + starter->client_timeout_ns;
}

static void on_client(struct starter *starter, uint64_t serial, uint32_t events)
{
    struct client *client = find_client(starter, serial);
    if (client == NULL)
        return;
    if ((events & EPOLLOUT) != 0 && !flush_client(starter, client)) {
        drop_client(starter, client, "lost");
        return;
    }
    ssize_t got =
        recv(client->fd, client->in + client->in_size, FRAME_HEADER + FRAME_MAX - client->in_size, MSG_DONTWAIT);
    if (got > 0) {
        client->in_size += (size_t)got;
        handle_input(starter, client);
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        drop_client(starter, client, NULL);
}

static void on_connection(struct starter *starter)
{
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t size = sizeof(peer);
    int fd = accept4(starter->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct client *client = NULL;
    for (size_t i = 0; client == NULL && i < CLIENTS_MAX; i++)
        if (starter->clients[i].fd < 0)
            client = &starter->clients[i];
    uint64_t serial = ++starter->next_serial;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != (starter->pilot ? geteuid() : 0) ||
        client == NULL || !server_watch(starter, fd, EPOLLIN, WATCH_CLIENT, serial)) {
        log_event(LOG_LEVEL_WARN, "connection of uid %d refused", (int)peer.uid);
        close(fd);
        return;
    }
    client->fd = fd;
    client->serial = serial;
}

static void on_signal(struct starter *starter)
{
    struct signalfd_siginfo info;
    if (read(starter->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (info.ssi_signo == SIGCHLD) {
        guests_reap(starter);
        return;
    }
    log_event(LOG_LEVEL_INFO, "signal %u: ending all guests", info.ssi_signo);
    starter->ending = true;
    guests_kill_all(starter);
}

static void on_time(struct starter *starter)
{
    uint64_t now = monotonic_ns();
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &starter->clients[i];
        if (client->fd >= 0 && ((client->in_end_ns != 0 && client->in_end_ns <= now) ||
                                (client->out_end_ns != 0 && client->out_end_ns <= now)))
            drop_client(starter, client, "too slow");
        else if (client->fd >= 0 && client->later_ns != 0 && client->later_ns <= now && !flush_client(starter, client))
            drop_client(starter, client, "it takes no answers");
    }
    guests_on_time(starter, now);
    code_on_time(starter, now);
}

static int wait_ms(const struct starter *starter)
{
    uint64_t next = guests_next_ns(starter), code = code_next_ns(starter), now = monotonic_ns();
    if (code < next)
        next = code;
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        const struct client *client = &starter->clients[i];
        if (client->fd >= 0 && client->in_end_ns != 0 && client->in_end_ns < next)
            next = client->in_end_ns;
        if (client->fd >= 0 && client->out_end_ns != 0 && client->out_end_ns < next)
            next = client->out_end_ns;
        if (client->fd >= 0 && client->later_ns != 0 && client->later_ns < next)
            next = client->later_ns;
    }
    if (next == UINT64_MAX)
        return -1;
    return next <= now ? 0 : (int)((next - now) / 1000000) + 1;
}

int server_run(struct starter *starter)
{
    uint64_t end_ns = UINT64_MAX;
    for (;;) {
        if (starter->ending && end_ns == UINT64_MAX)
            end_ns = monotonic_ns() + starter->stop_timeout_ns;
        if (starter->ending && (guests_live(starter) == 0 || monotonic_ns() >= end_ns))
            return guests_live(starter) == 0 ? 0 : 1;
        struct epoll_event event;
        int ready = epoll_wait(starter->epoll_fd, &event, 1, wait_ms(starter));
        if (ready < 0 && errno != EINTR) {
            log_event(LOG_LEVEL_ERROR, "epoll: %s", strerror(errno));
            return 1;
        }
        if (ready == 1) {
            uint64_t serial = event.data.u64 & (((uint64_t)1 << SERIAL_BITS) - 1);
            switch ((enum watch_kind)(event.data.u64 >> SERIAL_BITS)) {
            case WATCH_LISTEN:
                on_connection(starter);
                break;
            case WATCH_SIGNAL:
                on_signal(starter);
                break;
            case WATCH_CLIENT:
                on_client(starter, serial, event.events);
                break;
            case WATCH_READY:
                guests_on_ready(starter, serial);
                break;
            case WATCH_CODE:
                code_on_ask(starter, serial);
                break;
            case WATCH_AWAITED:
                awaited_on_call(starter, serial);
                break;
            }
        }
        on_time(starter);
    }
}
