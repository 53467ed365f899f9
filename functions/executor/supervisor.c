#include "executor/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fds.h"
#include "executor/region_fabric.h"

#define EVENTS_MOST      64
#define ACCEPT_MOST      16
#define RETRY_NS         UINT64_C(20000000)
#define OUT_OF_FDS_NS    UINT64_C(100000000)
#define NOT_A_CONNECTION (UINT64_C(1) << 63)

enum source { SOURCE_UNIX, SOURCE_TCP, SOURCE_SIGNAL, SOURCE_REGION, SOURCE_CODE };

static bool watch(int epoll_fd, int operation, int fd, enum source source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = NOT_A_CONNECTION | source};
    return epoll_ctl(epoll_fd, operation, fd, &event) == 0;
}

/** Its service over a fabric is forked before there are threads. */
static sublet_status start_region(struct supervisor *supervisor, const struct executor_options *options)
{
    sublet_status status = region_start(&supervisor->region, options->memory_bytes);
    if (status == SUBLET_OK)
        status = region_fabric_start(&supervisor->region, options->fabric);
    return status == SUBLET_OK ? region_touch(&supervisor->region) : status;
}

sublet_status supervisor_start(struct supervisor *supervisor, const struct executor_options *options)
{
    supervisor->options = options;
    supervisor->says_client = options->says_client;
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &child, NULL) != 0)
        return SUBLET_ERR_SYSTEM;
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* what functions fork comes to us when its worker is gone */
    supervisor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    supervisor->signal_fd = signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
    if (supervisor->epoll_fd < 0 || supervisor->signal_fd < 0 ||
        !watch(supervisor->epoll_fd, EPOLL_CTL_ADD, supervisor->signal_fd, SOURCE_SIGNAL, EPOLLIN))
        return SUBLET_ERR_SYSTEM;
    if (!options->region)
        code_open(&supervisor->code); /* before there are workers: it is none of theirs */
    sublet_status status =
        options->region ? start_region(supervisor, options) : workers_start(&supervisor->workers, options);
    if (status != SUBLET_OK)
        return status;
    supervisor->workers.options = options;
    if (supervisor->code.open && !watch(supervisor->epoll_fd, EPOLL_CTL_ADD, CODE_ANSWER_FD, SOURCE_CODE, EPOLLIN))
        return SUBLET_ERR_SYSTEM;
    if (options->region &&
        !watch(supervisor->epoll_fd, EPOLL_CTL_ADD, supervisor->region.ready_fd, SOURCE_REGION, EPOLLIN))
        return SUBLET_ERR_SYSTEM;
    if (!watch(supervisor->epoll_fd, EPOLL_CTL_ADD, options->unix_fd, SOURCE_UNIX, EPOLLIN) ||
        (options->tcp_fd >= 0 && !watch(supervisor->epoll_fd, EPOLL_CTL_ADD, options->tcp_fd, SOURCE_TCP, EPOLLIN)))
        return SUBLET_ERR_SYSTEM;
    return SUBLET_OK;
}

static void listen_again(struct supervisor *supervisor, bool on)
{
    const struct executor_options *options = supervisor->options;
    watch(supervisor->epoll_fd, EPOLL_CTL_MOD, options->unix_fd, SOURCE_UNIX, on ? EPOLLIN : 0);
    if (options->tcp_fd >= 0)
        watch(supervisor->epoll_fd, EPOLL_CTL_MOD, options->tcp_fd, SOURCE_TCP, on ? EPOLLIN : 0);
    supervisor->accept_again_ns = on ? 0 : now_ns() + OUT_OF_FDS_NS;
}

static void accept_some(struct supervisor *supervisor, int listener, bool tcp)
{
    for (int i = 0; i < ACCEPT_MOST; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            connection_accept(supervisor, fd, tcp);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            listen_again(supervisor, false);
        return;
    }
}

static struct connection *by_probe(struct supervisor *supervisor, pid_t pid)
{
    for (uint32_t i = 0; i < supervisor->connection_end; i++)
        if (supervisor->connections[i].state == CONNECTION_WAITING && supervisor->connections[i].probe == pid)
            return &supervisor->connections[i];
    return NULL;
}

static sublet_status probe_status(const siginfo_t *info)
{
    if (info->si_code != CLD_EXITED)
        return SUBLET_ERR_CRASHED;
    return info->si_status >= 0 && info->si_status < SUBLET_STATUS_COUNT ? (sublet_status)info->si_status
                                                                         : SUBLET_ERR_INVALID;
}

static void worker_ended(struct supervisor *supervisor, const struct worker_end *end)
{
    if (end->owner != WORKERS_NOBODY)
        connection_linger(supervisor, &supervisor->connections[end->owner]);
    for (uint32_t i = 0; i < supervisor->connection_end; i++) {
        struct connection *connection = &supervisor->connections[i];
        if (connection->state == CONNECTION_WAITING && connection->wait_for == end->worker &&
            connection_answer(supervisor, connection, SUBLET_OK, NULL, 0, NULL, 0))
            connection_resume(supervisor, connection);
    }
    supervisor->retry = true;
}

/** All children: workers, probes, and what functions have left behind. */
static void reap(struct supervisor *supervisor)
{
    struct signalfd_siginfo ignored;
    while (read(supervisor->signal_fd, &ignored, sizeof(ignored)) > 0) {
    }
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
            return;
        kill(-info.si_pid, SIGKILL); /* what a worker forked; its number cannot be another's before it is reaped */
        while (waitpid(info.si_pid, NULL, 0) < 0 && errno == EINTR) {
        }
        struct connection *connection = by_probe(supervisor, info.si_pid);
        if (connection != NULL) {
            request_probed(supervisor, connection, probe_status(&info));
            continue;
        }
        if (supervisor->options->region)
            continue;
        struct worker_end end = workers_reap(&supervisor->workers, info.si_pid, info.si_code == CLD_EXITED);
        if (end.worker != WORKERS_NOBODY)
            worker_ended(supervisor, &end);
    }
}

static void region_touched(struct supervisor *supervisor)
{
    uint64_t count;
    if (read(supervisor->region.ready_fd, &count, sizeof(count)) < 0)
        return;
    for (uint32_t i = 0; i < supervisor->connection_end; i++)
        if (supervisor->connections[i].state == CONNECTION_WAITING && supervisor->connections[i].wait_region)
            request_region_ready(supervisor, &supervisor->connections[i]);
}

static void handle(struct supervisor *supervisor, const struct epoll_event *event)
{
    if ((event->data.u64 & NOT_A_CONNECTION) == 0) {
        uint32_t index = (uint32_t)event->data.u64;
        struct connection *connection = &supervisor->connections[index];
        if (connection->generation == event->data.u64 >> 32) /* else it was closed by an event before this one */
            connection_event(supervisor, connection, event->events);
        return;
    }
    switch ((enum source)(event->data.u64 & ~NOT_A_CONNECTION)) {
    case SOURCE_UNIX:
        accept_some(supervisor, supervisor->options->unix_fd, false);
        return;
    case SOURCE_TCP:
        accept_some(supervisor, supervisor->options->tcp_fd, true);
        return;
    case SOURCE_SIGNAL:
        reap(supervisor);
        return;
    case SOURCE_REGION:
        region_touched(supervisor);
        return;
    case SOURCE_CODE:
        request_code_news(supervisor);
        return;
    }
}

/** Ends what is beyond its deadline, and finds the next one. */
static void end_late(struct supervisor *supervisor, uint64_t now)
{
    supervisor->timer_ns = 0;
    for (uint32_t i = 0; i < supervisor->connection_end; i++) {
        struct connection *connection = &supervisor->connections[i];
        if (connection->state == CONNECTION_FREE || connection->deadline_ns == 0)
            continue;
        if (connection->deadline_ns > now)
            connection_set_deadline(supervisor, connection, connection->deadline_ns);
        else if (connection->probe > 0) {
            kill(connection->probe, SIGKILL);
            request_probed(supervisor, connection, SUBLET_ERR_TIMEOUT);
        } else if (connection->code_id != 0)
            request_code_late(supervisor, connection);
        else
            connection_close(supervisor, connection);
    }
}

/** Does what is due, returns when to look again; 0 = no need to. */
static uint64_t run_timers(struct supervisor *supervisor)
{
    uint64_t now = now_ns(), next = 0;
    if (supervisor->retry && !supervisor->options->region)
        supervisor->retry = workers_tick(&supervisor->workers);
    if (supervisor->retry && !supervisor->options->region)
        next = now + RETRY_NS;
    if (supervisor->accept_again_ns != 0 && supervisor->accept_again_ns <= now)
        listen_again(supervisor, true);
    else if (supervisor->accept_again_ns != 0 && (next == 0 || supervisor->accept_again_ns < next))
        next = supervisor->accept_again_ns;
    if (supervisor->timer_ns != 0 && supervisor->timer_ns <= now)
        end_late(supervisor, now);
    if (supervisor->timer_ns != 0 && (next == 0 || supervisor->timer_ns < next))
        next = supervisor->timer_ns;
    return next;
}

sublet_status supervisor_run(struct supervisor *supervisor)
{
    struct epoll_event events[EVENTS_MOST];
    for (;;) {
        uint64_t next = run_timers(supervisor);
        int count = epoll_wait(supervisor->epoll_fd, events, EVENTS_MOST, next == 0 ? -1 : left_ms(next));
        if (count < 0 && errno != EINTR)
            return SUBLET_ERR_SYSTEM;
        for (int i = 0; i < count; i++)
            handle(supervisor, &events[i]);
    }
}
