/**
 * The table of guests: START, STOP, LIST, and what becomes of each. See guest_state in starter.h for the life-cycle.
 *
 * A START of a prepared guest is answered when its order is written: its sockets listen already, so what a client says
 * waits there until the executor has read its order, and client and executor begin at once. One that does not become
 * ready all the same is ended at its deadline, and its end is told as that of any lease. That deadline is longer than
 * before a lease is answered: its client waits for as long as it likes to, and slow (a job took the cores) is not dead.
 *
 * Races. A child that fails may be reaped before its error text was read: reaping reads the pipe first. Pids are sent
 * signals only before they are reaped, so that they cannot be somebody else's. A guest that does not die (frozen, or
 * stuck in the kernel) keeps its lease id; who waits for it is told after a while, and EXITED follows.
 */
#include "launch/starter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "launch/log.h"
#include "launch/pilot.h"

/** A guest that was handed out may take this many times longer to be ready than one that is started. */
enum { HANDED_OUT_TIMES = 4 };
/** Whoever made it start has shown the token by then; the executor gives each connection as long. */
#define CALLED_NS UINT64_C(5000000000)

static struct guest *find_lease(struct starter *starter, const char *lease)
{
    for (size_t i = 0; i < GUESTS_MAX; i++)
        if (starter->guests[i].state != GUEST_FREE && strcmp(starter->guests[i].lease, lease) == 0)
            return &starter->guests[i];
    return NULL;
}

static struct guest *find_free(struct starter *starter)
{
    for (size_t i = 0; i < GUESTS_MAX; i++)
        if (starter->guests[i].state == GUEST_FREE)
            return &starter->guests[i];
    return NULL;
}

/** Field 22 of /proc/PID/stat; the name in field 2 may hold anything, so count from its last parenthesis. */
static bool read_start_ticks(pid_t pid, uint64_t *ticks_out)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (size <= 0)
        return false;
    text[size] = '\0';
    char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return false;
    *ticks_out = strtoull(at + 1, NULL, 10);
    return true;
}

struct guest *guests_begin(struct starter *starter, const struct start_request *request, bool prepare,
                           char why[ERROR_BYTES])
{
    struct guest *guest = find_free(starter);
    why[0] = '\0';
    if (find_lease(starter, request->lease) != NULL)
        snprintf(why, ERROR_BYTES, "lease %s is live", request->lease);
    else if (guest == NULL)
        snprintf(why, ERROR_BYTES, "%d guests run already", GUESTS_MAX);
    else if (starter->ending)
        snprintf(why, ERROR_BYTES, "the starter is ending");
    if (why[0] != '\0')
        return NULL;
    memset(guest, 0, sizeof(*guest));
    guest->serial = ++starter->next_serial;
    guest->ready_fd = guest->config_fd = guest->stats_fd = -1;
    code_channel_none(&guest->code);
    guest->meta = strdup(request->meta);
    if (guest->meta == NULL || !launch_guest(starter, request, guest, prepare, why)) {
        if (why[0] == '\0')
            snprintf(why, ERROR_BYTES, "out of memory");
        free(guest->meta);
        memset(guest, 0, sizeof(*guest));
        return NULL;
    }
    memcpy(guest->lease, request->lease, sizeof(guest->lease));
    memcpy(guest->unix_path, request->unix_path, sizeof(guest->unix_path));
    guest->uid = request->uid;
    guest->gid = request->gid;
    guest->owner = request->owner_uid;
    guest->state = prepare ? GUEST_PREPARING : GUEST_STARTING;
    guest->end_ns = monotonic_ns() + starter->ready_timeout_ns;
    if (!read_start_ticks(guest->pid, &guest->start_ticks))
        log_event(LOG_LEVEL_WARN, "lease %s: no start time of process %d", guest->lease, (int)guest->pid);
    return guest;
}

void guests_start(struct starter *starter, const struct start_request *request, bool prepare, struct waiter asker)
{
    char why[ERROR_BYTES];
    struct guest *guest = guests_begin(starter, request, prepare, why);
    if (guest == NULL) {
        server_answer_error(starter, asker, why);
        return;
    }
    guest->asker = asker;
    guest->keeper = prepare ? asker.client : 0;
}

static void tell_started(struct starter *starter, struct guest *guest)
{
    guest->was_ready = guest->state != GUEST_PREPARED;
    guest->tell_end = true;
    text_begin(&starter->text);
    text_add(&starter->text, "id=%llu\nok=1\npid=%d\nport=%u\nstart=%llu\nstats=/proc/%d/fd/%d\n",
             (unsigned long long)guest->asker.id, (int)guest->pid, guest->port, (unsigned long long)guest->start_ticks,
             (int)getpid(), guest->stats_fd);
    server_send(starter, guest->asker.client); /* if it is lost by that, the guest ends: nobody would know of it */
    guest->asker.client = 0;
}

static void close_ready(struct starter *starter, struct guest *guest)
{
    if (guest->ready_fd < 0)
        return;
    /* Said aloud, since a child before its exec may still hold a copy, which would keep it in the set. */
    epoll_ctl(starter->epoll_fd, EPOLL_CTL_DEL, guest->ready_fd, NULL);
    close(guest->ready_fd);
    guest->ready_fd = -1;
}

static void end_guest(struct starter *starter, struct guest *guest, const char *error)
{
    if (guest->state == GUEST_ENDING)
        return;
    if (error != NULL)
        snprintf(guest->error, sizeof(guest->error), "%s", error);
    guest->state = GUEST_ENDING;
    guest->end_ns = monotonic_ns() + starter->stop_timeout_ns;
    if (!guest->reaped) /* else its number may be another's by now */
        kill(guest->pid, SIGKILL);
}

struct guest *guests_prepared(struct starter *starter, const char *name, uid_t uid)
{
    struct guest *guest = find_lease(starter, name);
    return guest != NULL && guest->state == GUEST_PREPARED && guest->uid == uid ? guest : NULL;
}

bool guests_bind(struct starter *starter, const struct start_request *request, struct guest *guest,
                 char why[ERROR_BYTES])
{
    char *meta = strdup(request->meta);
    if (find_lease(starter, request->lease) != NULL)
        snprintf(why, ERROR_BYTES, "lease %s is live", request->lease);
    else if (starter->ending || meta == NULL)
        snprintf(why, ERROR_BYTES, starter->ending ? "the starter is ending" : "out of memory");
    else if (!launch_bind(request, guest, why))
        end_guest(starter, guest, why);
    if (why[0] != '\0') {
        free(meta);
        return false;
    }
    free(guest->meta);
    guest->meta = meta;
    memcpy(guest->lease, request->lease, sizeof(guest->lease));
    guest->owner = request->owner_uid;
    guest->keeper = 0;
    guest->state = GUEST_STARTING;
    guest->end_ns = monotonic_ns() + HANDED_OUT_TIMES * starter->ready_timeout_ns;
    return true;
}

void guests_hand_out(struct starter *starter, const struct start_request *request, struct waiter asker)
{
    char why[ERROR_BYTES] = "";
    struct guest *guest = guests_prepared(starter, request->pool, request->uid);
    if (guest == NULL)
        snprintf(why, sizeof(why), "no guest %s is prepared for uid %u", request->pool, (unsigned)request->uid);
    else if (guest->voucher != NULL)
        snprintf(why, sizeof(why), "guest %s is vouched for", request->pool);
    if (why[0] != '\0' || !guests_bind(starter, request, guest, why)) {
        server_answer_error(starter, asker, why);
        return;
    }
    guest->asker = asker;
    tell_started(starter, guest);
}

void guests_tell_redeemed(struct starter *starter, struct guest *guest, uint64_t keeper, uint64_t job)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    guest->redeemed_unix_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    guest->was_ready = guest->tell_end = true;
    guest->end_ns = monotonic_ns() + HANDED_OUT_TIMES * starter->ready_timeout_ns;
    guest->asker = (struct waiter){.client = keeper};
    text_begin(&starter->text);
    text_add(&starter->text, "verb=REDEEMED\nlease=%s\njob=%llu\nport=%u\nstats=/proc/%d/fd/%d\n", guest->lease,
             (unsigned long long)job, guest->port, (int)getpid(), guest->stats_fd);
    server_send_later(starter, keeper); /* its work would take the core on which the guest is to answer its client */
    guest->asker.client = 0;
}

/** It has come up; who asked for it hears so, unless that was told already. */
static void came_up(struct starter *starter, struct guest *guest, enum guest_state state)
{
    guest->state = state;
    guest->end_ns = 0;
    if (guest->asker.client != 0)
        tell_started(starter, guest);
}

void guests_expect(struct guest *guest, uint64_t keeper, uint64_t job, bool called)
{
    guest->awaited = guest->tell_end = true;
    guest->called = called;
    guest->keeper = keeper;
    guest->job = job;
}

void guests_unexpect(struct starter *starter, uint64_t keeper, const char *lease)
{
    for (size_t i = 0; i < GUESTS_MAX; i++) {
        struct guest *guest = &starter->guests[i];
        if (guest->state != GUEST_FREE && guest->awaited && guest->keeper == keeper &&
            (lease == NULL || strcmp(guest->lease, lease) == 0))
            end_guest(starter, guest, "it was not redeemed");
    }
}

/** What one that is awaited says, byte by byte: R, and C when a client has shown the token. False: it is something
 * else. */
static bool take_word(struct starter *starter, struct guest *guest, char word)
{
    if (word == 'R' && guest->state == GUEST_STARTING) {
        came_up(starter, guest, GUEST_READY);
        guest->end_ns = guest->called ? monotonic_ns() + CALLED_NS : 0;
        return true;
    }
    if (word != 'C' || guest->state != GUEST_READY)
        return false;
    uint64_t keeper = guest->keeper;
    close_ready(starter, guest);
    guest->awaited = false;
    guest->keeper = 0;
    guests_tell_redeemed(starter, guest, keeper, guest->job);
    if (guest->state == GUEST_READY) /* else its keeper was lost by that */
        guest->end_ns = 0;
    return true;
}

static void take_ready(struct starter *starter, struct guest *guest)
{
    char text[ERROR_BYTES];
    ssize_t size = read(guest->ready_fd, text, guest->awaited ? 1 : sizeof(text) - 1);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size == 1 && guest->awaited && take_word(starter, guest, text[0]))
        return;
    if (size == 1 && guest->awaited) {
        ssize_t more = read(guest->ready_fd, text + 1, sizeof(text) - 2);
        size += more > 0 ? more : 0;
    }
    if (size == 1 && text[0] == 'W' && guest->state == GUEST_PREPARING) {
        came_up(starter, guest, GUEST_PREPARED);
        return;
    }
    close_ready(starter, guest);
    if (guest->state == GUEST_READY || guest->state == GUEST_ENDING)
        return;
    if (size == 1 && text[0] == 'R' && guest->state == GUEST_STARTING) {
        came_up(starter, guest, GUEST_READY);
        return;
    }
    text[size > 0 ? size : 0] = '\0';
    for (ssize_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] > 0x7e)
            text[i] = '?';
    end_guest(starter, guest, size > 1 && text[0] == 'E' ? text + 1 : "executor ended before it was ready");
}

void guests_on_ready(struct starter *starter, uint64_t serial)
{
    for (size_t i = 0; i < GUESTS_MAX; i++)
        if (starter->guests[i].state != GUEST_FREE && starter->guests[i].serial == serial)
            take_ready(starter, &starter->guests[i]);
}

/** Answers those who wait for the end of a guest: ok, or why it has not ended yet. */
static void answer_waiters(struct starter *starter, struct guest *guest, const char *error)
{
    for (size_t i = 0; i < WAITERS_MAX; i++) {
        struct waiter waiter = guest->waiters[i];
        guest->waiters[i].client = 0;
        if (waiter.client == 0)
            continue;
        if (error != NULL) {
            server_answer_error(starter, waiter, error);
            continue;
        }
        server_answer_ok(starter, waiter);
    }
}

static void answer_not_started(struct starter *starter, struct guest *guest)
{
    if (guest->asker.client != 0)
        server_answer_error(starter, guest->asker, guest->error[0] != '\0' ? guest->error : "executor ended");
    guest->asker.client = 0;
}

static void on_exit_of(struct starter *starter, struct guest *guest, int status)
{
    guest->reaped = true;
    if (guest->state != GUEST_ENDING && guest->ready_fd >= 0)
        take_ready(starter, guest);
    if (guest->state != GUEST_READY)
        end_guest(starter, guest, "executor ended before it was ready");
    close_ready(starter, guest);
    code_channel_close(starter, guest);
    close(guest->stats_fd); /* an agent that has it open reads the end of the story */
    if (guest->config_fd >= 0)
        close(guest->config_fd);
    launch_remove_socket(guest->unix_path);
    log_event(LOG_LEVEL_INFO, "lease %s: executor %d ended, wait status %d%s%s", guest->lease, (int)guest->pid, status,
              guest->error[0] != '\0' ? ": " : "", guest->error);
    struct guest ended = *guest;
    memset(guest, 0, sizeof(*guest)); /* first, so that who is told can start the lease again */
    answer_not_started(starter, &ended);
    answer_waiters(starter, &ended, NULL);
    if (ended.tell_end) {
        text_begin(&starter->text);
        text_add(&starter->text, "verb=EXITED\nlease=%s\nstatus=%d\n", ended.lease, status);
        server_send_all(starter);
    }
    free(ended.meta);
    voucher_free(ended.voucher);
}

void guests_reap(struct starter *starter)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        code_on_exit(starter, pid, status);
        for (size_t i = 0; i < GUESTS_MAX; i++)
            if (starter->guests[i].state != GUEST_FREE && starter->guests[i].pid == pid) {
                starter->guests[i].reaped = true;
                if (starter->pilot)
                    pilot_end_strays(starter);
                on_exit_of(starter, &starter->guests[i], status);
                break;
            }
    }
}

void guests_stop(struct starter *starter, const char *lease, struct waiter waiter)
{
    struct guest *guest = find_lease(starter, lease);
    if (guest == NULL) { /* what was asked for holds */
        server_answer_ok(starter, waiter);
        return;
    }
    for (size_t i = 0; i < WAITERS_MAX; i++) {
        if (guest->waiters[i].client != 0)
            continue;
        guest->waiters[i] = waiter;
        end_guest(starter, guest, guest->was_ready ? NULL : "stopped");
        if (guest->end_ns == 0)
            guest->end_ns = monotonic_ns() + starter->stop_timeout_ns;
        return;
    }
    server_answer_error(starter, waiter, "others wait for its end already");
}

/**
 * As many frames as it takes; all but the last carry more=1. Behind its port, of a lease that was granted ahead, when
 * it became one.
 */
void guests_list(struct starter *starter, struct waiter waiter)
{
    enum { ENTRY_MAX = LEASE_MAX + META_MAX + 192 };
    struct text *text = &starter->text;
    text_begin(text);
    text_add(text, "id=%llu\nok=1\n%s", (unsigned long long)waiter.id, starter->pilot ? "sandbox=pilot\n" : "");
    for (size_t i = 0; i < GUESTS_MAX; i++) {
        const struct guest *guest = &starter->guests[i];
        if (guest->state == GUEST_FREE || !guest->was_ready)
            continue;
        if (text->size + ENTRY_MAX > FRAME_MAX) {
            text_add(text, "more=1\n");
            server_send(starter, waiter.client);
            text_begin(text);
            text_add(text, "id=%llu\nok=1\n", (unsigned long long)waiter.id);
        }
        text_add(text, "executor=%s %d %llu %u", guest->lease, (int)guest->pid, (unsigned long long)guest->start_ticks,
                 guest->port);
        if (guest->redeemed_unix_ms != 0)
            text_add(text, " %llu", (unsigned long long)guest->redeemed_unix_ms);
        text_add(text, "\nmeta=%s\nstats=/proc/%d/fd/%d\n", guest->meta, (int)getpid(), guest->stats_fd);
    }
    server_send(starter, waiter.client);
}

static bool has_clients(const struct starter *starter)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (starter->clients[i].fd >= 0)
            return true;
    return false;
}

void guests_on_client_gone(struct starter *starter, uint64_t client)
{
    if (starter->pilot && !has_clients(starter)) { /* its agent is gone, and nobody comes after it */
        starter->ending = true;
        guests_kill_all(starter);
    }
    for (size_t i = 0; i < GUESTS_MAX; i++) {
        struct guest *guest = &starter->guests[i];
        if (guest->state == GUEST_FREE)
            continue;
        for (size_t w = 0; w < WAITERS_MAX; w++)
            if (guest->waiters[w].client == client)
                guest->waiters[w].client = 0;
        if (guest->keeper == client)
            end_guest(starter, guest, "who had it prepared is gone");
        if (guest->asker.client == client) {
            guest->asker.client = 0;
            end_guest(starter, guest, "who asked for it is gone");
        }
    }
}

void guests_on_time(struct starter *starter, uint64_t now)
{
    for (size_t i = 0; i < GUESTS_MAX; i++) {
        struct guest *guest = &starter->guests[i];
        if (guest->state == GUEST_FREE || guest->end_ns == 0 || guest->end_ns > now)
            continue;
        if (guest->state != GUEST_ENDING) {
            end_guest(starter, guest,
                      guest->state == GUEST_READY ? "who called it showed no token" : "executor was not ready in time");
            continue;
        }
        guest->end_ns = 0;
        guest->tell_end = true;
        log_event(LOG_LEVEL_WARN, "lease %s: process %d does not die", guest->lease, (int)guest->pid);
        answer_not_started(starter, guest);
        answer_waiters(starter, guest, "killed, but not gone yet (frozen, or busy in the kernel); EXITED follows");
    }
}

uint64_t guests_next_ns(const struct starter *starter)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < GUESTS_MAX; i++)
        if (starter->guests[i].state != GUEST_FREE && starter->guests[i].end_ns != 0 &&
            starter->guests[i].end_ns < next)
            next = starter->guests[i].end_ns;
    return next;
}

void guests_kill_all(struct starter *starter)
{
    for (size_t i = 0; i < GUESTS_MAX; i++)
        if (starter->guests[i].state != GUEST_FREE)
            end_guest(starter, &starter->guests[i], "the starter is ending");
}

size_t guests_live(const struct starter *starter)
{
    size_t live = 0;
    for (size_t i = 0; i < GUESTS_MAX; i++)
        live += starter->guests[i].state != GUEST_FREE;
    return live;
}
