/** The loop: visitors come, bytes go both ways, visitors go. What is said to the agent goes to standard output. */
#include "door/door.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { PLACES = VISITORS_MAX + ROOT_VISITORS, BACKLOG = 512, EVENTS = 64, RETRY_MS = 5, SPARE_FDS = 96 };
enum { OF_LISTENER = PLACES, OF_STDIN, OF_STARTER };
/** The starter answers at once; one that is busy is not waited for. */
enum { ASKED_MS = 50 };
/** The agent, whose work would take the core on which the executor is to answer, hears of the lease so much later. */
enum { HOLD_MS = 10 };

/** What an event is about: the place, its generation (places are used again), and which end. */
#define TAG(place, generation, agent) ((uint64_t)(generation) << 32 | (uint64_t)(place) << 1 | ((agent) ? 1u : 0u))

static struct visitor *visitors[PLACES];
static uint32_t generations[PLACES];
static uint32_t unmet;   /* visitors that the agent has not taken yet */
static uint32_t asking;  /* visitors with a question to the starter */
static uint32_t holding; /* visitors whose lease the agent has still to hear of */
static uint32_t last_asked;
static uint32_t places = PLACES;
static int epoll_fd;
static const char *inner_path;

static bool address_of(const char *path, struct sockaddr_un *address)
{
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof(address->sun_path))
        return false;
    memcpy(address->sun_path, path, strlen(path));
    return true;
}

/** An end is watched only while something is wanted of it: one that has hung up would be told of without end. */
static void watch(uint32_t place, bool agent, uint32_t *watched, uint32_t wanted)
{
    const struct visitor *visitor = visitors[place];
    struct epoll_event event = {.events = wanted, .data.u64 = TAG(place, generations[place], agent)};
    int change = wanted == 0 ? EPOLL_CTL_DEL : *watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (wanted != *watched && epoll_ctl(epoll_fd, change, agent ? visitor->agent_fd : visitor->fd, &event) == 0)
        *watched = wanted;
}

/** To the agent, if it listens: the door waits for nobody. */
static void say(const char *word, uid_t uid)
{
    char line[64];
    int size = snprintf(line, sizeof(line), "%s %u\n", word, (unsigned)uid);
    if (write(STDOUT_FILENO, line, (size_t)size) < 0)
        return;
}

static void leave(uint32_t place)
{
    struct visitor *visitor = visitors[place];
    /* A process that closes another visitor's may hold these a little longer: they are not to be told of meanwhile. */
    watch(place, false, &visitor->events, 0);
    if (visitor->agent_fd >= 0) {
        watch(place, true, &visitor->agent_events, 0);
        close(visitor->agent_fd);
    } else
        unmet--;
    asking -= visitor->asked != 0;
    holding -= visitor->hold_end_ms != 0;
    visitors[place] = NULL;
    generations[place]++;
    close_user(visitor->fd);
    free(visitor->up.bytes);
    free(visitor->down.bytes);
    free(visitor);
}

/** What the agent is to hear of him waits no more. */
static void let_go(struct visitor *visitor)
{
    holding -= visitor->hold_end_ms != 0;
    visitor->hold_end_ms = 0;
}

/** Bytes wait in a direction: its end is watched for room, its source is left alone. */
static void serve(uint32_t place)
{
    struct visitor *visitor = visitors[place];
    let_go(visitor);
    enum relay_result result = relay(visitor);
    if (result == RELAY_PASSED)
        say("passed", visitor->uid);
    if (result != RELAY_ON) {
        leave(place);
        return;
    }
    uint32_t from_user = visitor->said_all || visitor->up.bytes != NULL ? 0 : EPOLLIN;
    uint32_t from_agent = visitor->heard_all || visitor->asked != 0 || visitor->down.bytes != NULL ? 0 : EPOLLIN;
    bool to_agent = visitor->up.sent < visitor->up.seen;
    watch(place, false, &visitor->events, from_user | (visitor->down.bytes != NULL ? EPOLLOUT : 0));
    watch(place, true, &visitor->agent_events, from_agent | (to_agent ? EPOLLOUT : 0));
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool watch_plain(int fd, uint64_t what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = TAG(what, 0, false)};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void watch_starter(int fd)
{
    if (fd >= 0 && !watch_plain(fd, OF_STARTER))
        fprintf(stderr, "sublet-door: the starter cannot be watched: %s\n", strerror(errno));
}

bool ask_for(struct visitor *visitor, const struct lease_ask *ask)
{
    watch_starter(redeem_again(now_ms()));
    last_asked = last_asked == UINT32_MAX ? 1 : last_asked + 1;
    if (!redeem_ask(last_asked, visitor->uid, visitor->gid, ask))
        return false;
    visitor->asked = last_asked;
    visitor->asked_end_ms = now_ms() + ASKED_MS;
    asking++;
    return true;
}

static void answered(uint32_t place, const struct redeemed *said)
{
    struct visitor *visitor = visitors[place];
    asking--;
    relay_answered(visitor, said);
    if (said == NULL || !said->ok || visitor->up.seen < visitor->up.have) {
        serve(place);
        return;
    }
    relay_down(visitor);
    visitor->hold_end_ms = now_ms() + HOLD_MS;
    holding++;
    watch(place, false, &visitor->events, EPOLLIN);
}

static void take_redeemed(const struct redeemed *said)
{
    for (uint32_t i = 0; asking > 0 && i < places; i++)
        if (visitors[i] != NULL && visitors[i]->asked != 0 && visitors[i]->asked == said->id) {
            answered(i, said);
            return;
        }
}

static void end_waits(void)
{
    int64_t now = now_ms();
    for (uint32_t i = 0; asking + holding > 0 && i < places; i++) {
        struct visitor *visitor = visitors[i];
        if (visitor == NULL)
            continue;
        if (visitor->asked != 0 && visitor->asked_end_ms <= now)
            answered(i, NULL);
        else if (visitor->hold_end_ms != 0 && visitor->hold_end_ms <= now)
            serve(i);
    }
}

/** Lets the agent know of a visitor. He waits while the agent's queue is full. */
static void meet(uint32_t place)
{
    struct visitor *visitor = visitors[place];
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (!address_of(inner_path, &address) || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        bool later = errno == EAGAIN;
        close(fd);
        if (!later)
            leave(place);
        return;
    }
    visitor->agent_fd = fd;
    unmet--;
    serve(place);
}

/** PLACES: there is none for him. Nobody can keep Slurm's hooks, or everybody else, from being heard. */
static uint32_t place_for(uid_t uid)
{
    uint32_t all = 0, own = 0, free_place = PLACES;
    for (uint32_t i = 0; i < places; i++) {
        if (visitors[i] == NULL) {
            free_place = free_place == PLACES ? i : free_place;
            continue;
        }
        all += visitors[i]->uid != 0;
        own += visitors[i]->uid == uid;
    }
    uint32_t most = places - (places < PLACES ? places / 4 : ROOT_VISITORS);
    bool room = uid == 0 || (all < most && own < VISITORS_PER_USER);
    return room ? free_place : PLACES;
}

static struct visitor *visitor_of(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    int on = 1;
    struct visitor *visitor = calloc(1, sizeof(*visitor));
    if (visitor == NULL)
        return NULL;
    visitor->up.bytes = malloc(HALF_BYTES);
    visitor->fd = fd;
    visitor->agent_fd = -1;
    /* What is sent out of band is in line like the rest: nothing is dropped unlooked at. Old kernels know no such. */
    (void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
    if (visitor->up.bytes == NULL || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        free(visitor->up.bytes);
        free(visitor);
        return NULL;
    }
    uint32_t who[] = {(uint32_t)peer.pid, peer.uid, peer.gid};
    memcpy(visitor->up.bytes, who, sizeof(who));
    visitor->up.have = visitor->up.seen = sizeof(who);
    visitor->uid = peer.uid;
    visitor->gid = peer.gid;
    return visitor;
}

static void let_in(int listener)
{
    for (int i = 0; i < BACKLOG; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        struct visitor *visitor = visitor_of(fd);
        uint32_t place = visitor == NULL ? PLACES : place_for(visitor->uid);
        if (place < PLACES) {
            visitors[place] = visitor;
            unmet++;
            meet(place);
            continue;
        }
        if (visitor != NULL)
            free(visitor->up.bytes);
        free(visitor);
        close_user(fd);
    }
}

/** Each visitor takes two descriptors. */
static void make_descriptors(void)
{
    struct rlimit limit;
    rlim_t wanted = 2 * PLACES + SPARE_FDS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    if (limit.rlim_max < wanted)
        (void)setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = wanted, .rlim_max = wanted});
    else
        (void)setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = wanted, .rlim_max = limit.rlim_max});
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted)
        places = limit.rlim_cur <= SPARE_FDS ? 0 : (uint32_t)(limit.rlim_cur - SPARE_FDS) / 2;
}

static int bind_at(const char *path)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)unlink(path);
    if (fd >= 0 && address_of(path, &address) && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        chmod(path, 0666) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/** Takes the path's place at once; on a full disk, where only its own place is left, after it. */
static int listen_at(const char *path)
{
    char beside[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    int size = snprintf(beside, sizeof(beside), "%s.new", path);
    int fd = size < (int)sizeof(beside) ? bind_at(beside) : -1;
    if (fd < 0)
        return bind_at(path);
    if (rename(beside, path) == 0)
        return fd;
    close(fd);
    return -1;
}

/** The agent's word: whether there are vouchers. False: it has ended. */
static bool heed_agent(void)
{
    char words[64];
    ssize_t got = read(STDIN_FILENO, words, sizeof(words));
    if (got <= 0)
        return got < 0 && errno == EINTR;
    watch_starter(redeem_open(words[got - 1] == '+'));
    return true;
}

static void run(int listener)
{
    struct epoll_event events[EVENTS];
    for (bool late = false;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS, late || unmet > 0 || asking + holding > 0 ? RETRY_MS : -1);
        for (int i = 0; i < count; i++) {
            uint32_t place = (uint32_t)events[i].data.u64 >> 1;
            if (place == OF_STDIN && !heed_agent())
                return;
            if (place == OF_LISTENER)
                let_in(listener);
            else if (place == OF_STARTER)
                redeem_read(take_redeemed);
            else if (place >= PLACES)
                continue;
            else if (visitors[place] != NULL && generations[place] == (uint32_t)(events[i].data.u64 >> 32) &&
                     visitors[place]->agent_fd >= 0)
                serve(place);
        }
        for (uint32_t i = 0; unmet > 0 && i < places; i++)
            if (visitors[i] != NULL && visitors[i]->agent_fd < 0)
                meet(i);
        end_waits();
        late = close_late();
    }
}

int main(int count, char **arguments)
{
    if (count != 3 && count != 4) {
        fprintf(
            stderr,
            "usage: %s PUBLIC-SOCKET AGENT-SOCKET [STARTER-SOCKET], by sublet-agent; ends when standard input does\n",
            arguments[0]);
        return 2;
    }
    inner_path = arguments[2];
    redeem_at(count == 4 ? arguments[3] : NULL);
    fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    make_descriptors();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_at(arguments[1]);
    if (epoll_fd < 0 || listener < 0 || !watch_plain(listener, OF_LISTENER) || !watch_plain(STDIN_FILENO, OF_STDIN)) {
        fprintf(stderr, "%s: %s: %s\n", arguments[0], arguments[1], strerror(errno));
        return 1;
    }
    say("ready", getuid());
    run(listener);
    return 0;
}
