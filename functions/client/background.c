#include "client/background.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fds.h"
#include "client/calls.h"
#include "client/error.h"
#include "client/lease.h"
#include "client/link.h"
#include "client/region.h"
#include "client/session.h"

#define LOOK_NS UINT64_C(10000000000) /* it looks around this often even when nothing is due */

struct watch {
    struct pollfd *polls;
    struct link **links; /* of the same entry; the first two entries have none */
    size_t count;
    size_t capacity;
};

static bool watch_add(struct watch *watch, int fd, short events, struct link *link)
{
    if (watch->count == watch->capacity) {
        size_t capacity = watch->capacity == 0 ? 16 : watch->capacity * 2;
        struct pollfd *polls = realloc(watch->polls, capacity * sizeof(*polls));
        if (polls != NULL)
            watch->polls = polls;
        struct link **links = realloc(watch->links, capacity * sizeof(struct link *));
        if (links != NULL)
            watch->links = links;
        if (polls == NULL || links == NULL)
            return false;
        watch->capacity = capacity;
    }
    watch->polls[watch->count] = (struct pollfd){.fd = fd, .events = events};
    watch->links[watch->count++] = link;
    return true;
}

/** What to poll; a link stays referenced while the lock is not held. Without memory it polls less, and looks again. */
static void watch_fill(struct watch *watch, struct sublet_session *session)
{
    watch->count = 0;
    if (!watch_add(watch, session->background.wake_fd, POLLIN, NULL))
        return;
    short events = (short)(POLLIN | (session->agent.output_bytes > 0 ? POLLOUT : 0));
    if (!watch_add(watch, session->agent.fd, events, NULL))
        return;
    session->agent.watched = session->agent.fd >= 0;
    for (struct sublet_lease *lease = session->leases; lease != NULL; lease = lease->next) {
        struct link *link = lease->link;
        if (link == NULL || atomic_load(&link->lost) != 0)
            continue;
        if (!watch_add(watch, link->control, POLLRDHUP, link)) /* answers are read by those who asked */
            return;
        link->refs++;
        int fd = -1;
        short moves = link->region != NULL ? region_jobs_events(link->region, &fd) : 0;
        if (moves != 0) {
            if (!watch_add(watch, fd, moves, link))
                return;
            link->refs++;
        }
    }
}

/** Accesses to a region that nobody waits for. Without the lock: it copies. */
static void move_region(struct sublet_session *session, struct link *link)
{
    pthread_mutex_unlock(&session->lock);
    sublet_status status = region_jobs_turn(link);
    pthread_mutex_lock(&session->lock);
    if (status != SUBLET_OK)
        link_lost(link, SUBLET_ERR_LOST);
}

static void watch_take(struct watch *watch, struct sublet_session *session, int agent_fd)
{
    for (size_t i = 0; i < watch->count; i++) {
        struct link *link = watch->links[i];
        if (link == NULL)
            continue;
        if (watch->polls[i].fd != link->control) {
            if (watch->polls[i].revents != 0)
                move_region(session, link);
        } else if ((watch->polls[i].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0)
            link_lost(link, SUBLET_ERR_LOST);
        link_unref(link);
    }
    if (watch->count > 1 && agent_fd >= 0 && session->agent.fd == agent_fd && watch->polls[1].revents != 0)
        agent_ready(session, watch->polls[1].revents);
}

/** Does what is due; returns when the next thing will be. */
static uint64_t do_due(struct sublet_session *session)
{
    uint64_t now = now_ns();
    uint64_t next = now + LOOK_NS;
    if (session->agent.fd < 0 && session->leases != NULL) {
        if (now >= session->agent.retry_ns)
            (void)agent_connect(session); /* a failure sets the time of the next attempt */
        if (session->agent.fd < 0 && session->agent.retry_ns < next)
            next = session->agent.retry_ns;
    }
    uint64_t due = leases_tick(session, now);
    if (due < next)
        next = due;
    due = calls_tick(session);
    return due < next ? due : next;
}

static void *run(void *argument)
{
    struct sublet_session *session = argument;
    struct background *background = &session->background;
    struct watch watch = {0};
    pthread_mutex_lock(&session->lock);
    while (!background->stop) {
        uint64_t next = do_due(session);
        watch_fill(&watch, session);
        int agent_fd = session->agent.fd;
        atomic_store(&background->wakes_ns, next);
        pthread_mutex_unlock(&session->lock);
        int ready = poll(watch.polls, watch.count, left_ms(next));
        uint64_t count;
        (void)!read(background->wake_fd, &count, sizeof(count));
        pthread_mutex_lock(&session->lock);
        atomic_store(&background->wakes_ns, 0);
        for (size_t i = 0; ready <= 0 && i < watch.count; i++)
            watch.polls[i].revents = 0;
        watch_take(&watch, session, agent_fd);
    }
    pthread_mutex_unlock(&session->lock);
    free(watch.polls);
    free(watch.links);
    return NULL;
}

sublet_status background_start(struct sublet_session *session)
{
    struct background *background = &session->background;
    if (background->running)
        return SUBLET_OK;
    background->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (background->wake_fd < 0)
        return error_set(SUBLET_ERR_SYSTEM, "cannot make an eventfd: %m");
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the new thread inherits it: no handler of the program runs there */
    int failed = pthread_create(&background->thread, NULL, run, session);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        close(background->wake_fd);
        errno = failed;
        return error_set(SUBLET_ERR_SYSTEM, "cannot start a thread: %m");
    }
    background->running = true;
    return SUBLET_OK;
}

void background_wake(struct sublet_session *session)
{
    uint64_t one = 1;
    if (session->background.running)
        (void)!write(session->background.wake_fd, &one, sizeof(one)); /* full: it is about to wake anyway */
}

void background_wake_by(struct sublet_session *session, uint64_t when_ns)
{
    uint64_t wakes_ns = atomic_load(&session->background.wakes_ns);
    if (wakes_ns != 0 && when_ns < wakes_ns)
        background_wake(session);
}

void background_stop(struct sublet_session *session)
{
    struct background *background = &session->background;
    pthread_mutex_lock(&session->lock);
    bool running = background->running;
    background->stop = true;
    background_wake(session);
    pthread_mutex_unlock(&session->lock);
    if (!running)
        return;
    pthread_join(background->thread, NULL);
    close(background->wake_fd);
    background->running = false;
}
