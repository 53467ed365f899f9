/*
 * Reading side of a connection. What is wanted next is always known: 64 bytes of greeting, 16 of a header, the body
 * that the header names. A byte beyond that is never read, since a connection of calls is passed on whole.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fds.h"
#include "executor/library.h"
#include "executor/supervisor.h"
#include "wire/version.h"

#define READ_MOST (1u << 20) /* of one connection before the others have their turn */

static uint64_t event_of(const struct supervisor *supervisor, const struct connection *connection)
{
    return (uint64_t)connection->generation << 32 | (uint64_t)(connection - supervisor->connections);
}

static bool watch(struct supervisor *supervisor, struct connection *connection, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = event_of(supervisor, connection)};
    return epoll_ctl(supervisor->epoll_fd, operation, connection->fd, &event) == 0;
}

/** The one that has been here longest without showing the token. */
static struct connection *oldest_stranger(struct supervisor *supervisor)
{
    struct connection *oldest = NULL;
    for (uint32_t i = 0; i < supervisor->connection_end; i++) {
        struct connection *connection = &supervisor->connections[i];
        if (connection->state != CONNECTION_FREE && !connection->trusted &&
            (oldest == NULL || connection->accepted_ns < oldest->accepted_ns))
            oldest = connection;
    }
    return oldest;
}

/** A free entry; the oldest that has not authenticated makes room when too many have not. */
static struct connection *free_entry(struct supervisor *supervisor)
{
    bool full = supervisor->connection_end == CONNECTIONS_MAX && supervisor->strangers > 0;
    if (full || supervisor->strangers >= UNAUTHENTICATED_MAX)
        connection_close(supervisor, oldest_stranger(supervisor));
    uint32_t at = supervisor->connection_free;
    while (at < supervisor->connection_end && supervisor->connections[at].state != CONNECTION_FREE)
        at++;
    supervisor->connection_free = at;
    if (at == CONNECTIONS_MAX)
        return NULL;
    if (at == supervisor->connection_end)
        supervisor->connection_end++;
    return &supervisor->connections[at];
}

void connection_forget(struct supervisor *supervisor, struct connection *connection)
{
    uint32_t at = (uint32_t)(connection - supervisor->connections);
    connection_trust(supervisor, connection);
    connection->state = CONNECTION_FREE;
    if (at < supervisor->connection_free)
        supervisor->connection_free = at;
    while (supervisor->connection_end > 0 &&
           supervisor->connections[supervisor->connection_end - 1].state == CONNECTION_FREE)
        supervisor->connection_end--;
}

void connection_trust(struct supervisor *supervisor, struct connection *connection)
{
    supervisor->strangers -= !connection->trusted;
    connection->trusted = true;
}

void connection_set_deadline(struct supervisor *supervisor, struct connection *connection, uint64_t deadline_ns)
{
    connection->deadline_ns = deadline_ns;
    if (deadline_ns != 0 && (supervisor->timer_ns == 0 || deadline_ns < supervisor->timer_ns))
        supervisor->timer_ns = deadline_ns;
}

void connection_accept(struct supervisor *supervisor, int fd, bool tcp)
{
    struct connection *connection = free_entry(supervisor);
    if (connection == NULL) {
        close(fd);
        return;
    }
    uint32_t generation = connection->generation + 1;
    memset(connection, 0, sizeof(*connection));
    connection->state = CONNECTION_GREETING;
    connection->fd = fd;
    connection->tcp = tcp;
    connection->generation = generation & 0x7fffffff;
    connection->accepted_ns = now_ns();
    supervisor->strangers++;
    connection_set_deadline(supervisor, connection, connection->accepted_ns + AUTH_NS);
    connection->client = connection->worker = connection->wait_for = WORKERS_NOBODY;
    connection->library_fd = connection->room_fd = -1;
    if (tcp) {
        static const struct {
            int level, name, value;
        } settings[] = {{IPPROTO_TCP, TCP_NODELAY, 1},   {SOL_SOCKET, SO_KEEPALIVE, 1},
                        {IPPROTO_TCP, TCP_KEEPIDLE, 10}, {IPPROTO_TCP, TCP_KEEPINTVL, 5},
                        {IPPROTO_TCP, TCP_KEEPCNT, 3},   {IPPROTO_TCP, TCP_USER_TIMEOUT, 30000}};
        for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
            setsockopt(fd, settings[i].level, settings[i].name, &settings[i].value, sizeof(int));
    }
    if (!watch(supervisor, connection, EPOLL_CTL_ADD, EPOLLIN)) {
        close(fd);
        connection_forget(supervisor, connection);
    }
}

static void drop_library(struct connection *connection)
{
    if (connection->library != NULL)
        munmap(connection->library, connection->header.size);
    if (connection->library_fd >= 0)
        close(connection->library_fd);
    connection->library = NULL;
    connection->library_fd = -1;
}

void connection_drop_room(struct supervisor *supervisor, struct connection *connection)
{
    if (connection->room_fd >= 0)
        close(connection->room_fd);
    if (connection->room_id != 0)
        code_drop(&supervisor->code, connection->room_id, connection->wanted.hash, connection->wanted.size);
    connection->room_fd = -1;
    connection->room_id = 0;
}

void connection_close(struct supervisor *supervisor, struct connection *connection)
{
    if (connection->state == CONNECTION_CALLS)
        workers_remove_stream(&supervisor->workers, connection->worker, connection->stream);
    if (connection->client != WORKERS_NOBODY) {
        if (!connection->tcp && !supervisor->options->region)
            workers_remove_client(&supervisor->workers, connection->client);
        supervisor->client_taken[connection->client] = false;
    }
    if (connection->probe > 0)
        kill(connection->probe, SIGKILL);
    drop_library(connection);
    connection_drop_room(supervisor, connection);
    epoll_ctl(supervisor->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL); /* a worker may hold the same socket */
    close(connection->fd);
    connection_forget(supervisor, connection);
    supervisor->retry = true;
}

void connection_resume(struct supervisor *supervisor, struct connection *connection)
{
    drop_library(connection);
    if (connection->room_fd < 0)
        connection_drop_room(supervisor, connection); /* filled, and not offered */
    connection->state = CONNECTION_HEADER;
    connection->deadline_ns = 0;
    connection->have = 0;
    connection->probe = 0;
    connection->wait_for = WORKERS_NOBODY;
    connection->wait_region = false;
    if (!watch(supervisor, connection, EPOLL_CTL_MOD, EPOLLIN))
        connection_close(supervisor, connection);
}

void connection_wait(struct supervisor *supervisor, struct connection *connection, enum connection_state state,
                     uint64_t deadline_ns)
{
    connection->state = state;
    connection_set_deadline(supervisor, connection, deadline_ns);
    if (!watch(supervisor, connection, EPOLL_CTL_MOD, EPOLLRDHUP))
        connection_close(supervisor, connection);
}

void connection_linger(struct supervisor *supervisor, struct connection *connection)
{
    shutdown(connection->fd, SHUT_WR);
    connection->state = CONNECTION_LINGER;
    connection_set_deadline(supervisor, connection, now_ns() + LINGER_NS);
    if (!watch(supervisor, connection, EPOLL_CTL_MOD, EPOLLIN))
        connection_close(supervisor, connection);
}

bool connection_answer(struct supervisor *supervisor, struct connection *connection, sublet_status status,
                       const void *body, uint32_t size, const int *fds, size_t count)
{
    unsigned char frame[sizeof(struct control_header) + 64];
    struct control_header header = {.magic = CONTROL_MAGIC,
                                    .version = connection->version,
                                    .type = connection->header.type,
                                    .size = size,
                                    .status = status};
    memcpy(frame, &header, sizeof(header));
    if (size > 0)
        memcpy(frame + sizeof(header), body, size);
    /* One answer outstanding: it fits the socket's buffer, or the peer does not keep to the protocol. */
    if (fds_send(connection->fd, frame, sizeof(header) + size, fds, count, now_ns()) == SUBLET_OK)
        return true;
    connection_close(supervisor, connection);
    return false;
}

/** Room for a library: what the starter gave for it, if this is the one. */
static bool begin_library(struct supervisor *supervisor, struct connection *connection)
{
    void *bytes = NULL;
    size_t size = connection->header.size;
    if (connection->room_fd >= 0 && connection->wanted.size == size &&
        library_reuse(connection->room_fd, size, &bytes) == SUBLET_OK) {
        connection->library_fd = connection->room_fd;
        connection->room_fd = -1;
    } else {
        connection_drop_room(supervisor, connection);
        if (library_begin(size, &connection->library_fd, &bytes) != SUBLET_OK)
            return false;
    }
    connection->library = bytes;
    return true;
}

/** A header is there: checks it and makes room for the body. */
static bool begin_body(struct supervisor *supervisor, struct connection *connection)
{
    memcpy(&connection->header, connection->small, sizeof(connection->header));
    if (control_header_check(&connection->header) != SUBLET_OK)
        return false;
    if (connection->version == 0)
        connection->version = version_agree(connection->header.version, CONTROL_VERSION_LEAST, CONTROL_VERSION);
    else if (connection->header.version != connection->version)
        return false;
    if ((connection->header.type == CONTROL_HELLO) == connection->trusted)
        return false; /* HELLO comes first, and once */
    connection->state = CONNECTION_BODY;
    connection->have = 0;
    if (connection->header.type != CONTROL_LOAD)
        return connection->header.size <= SMALL_BODY_MAX;
    return begin_library(supervisor, connection);
}

/** A client of the same node greets with a control frame, or as one over TCP does, for calls that no ring can hold. */
static bool greets_as_stream(const struct connection *connection)
{
    uint32_t magic;
    memcpy(&magic, connection->small, sizeof(magic));
    return connection->state == CONNECTION_GREETING &&
           (connection->tcp || (connection->have >= sizeof(struct control_header) && magic == STREAM_MAGIC));
}

/** All of what was wanted is there. */
static void step(struct supervisor *supervisor, struct connection *connection)
{
    if (connection->state == CONNECTION_BODY)
        request_serve(supervisor, connection);
    else if (greets_as_stream(connection))
        request_stream_hello(supervisor, connection);
    else if (!begin_body(supervisor, connection))
        connection_close(supervisor, connection);
}

static bool reading(const struct connection *connection)
{
    return connection->state == CONNECTION_GREETING || connection->state == CONNECTION_HEADER ||
           connection->state == CONNECTION_BODY;
}

static void read_some(struct supervisor *supervisor, struct connection *connection)
{
    uint32_t generation = connection->generation;
    for (uint32_t taken = 0; taken < READ_MOST && connection->generation == generation && reading(connection);) {
        uint32_t want = sizeof(struct control_header);
        if (connection->state == CONNECTION_BODY)
            want = connection->header.size;
        else if (greets_as_stream(connection))
            want = sizeof(struct stream_hello);
        bool load = connection->state == CONNECTION_BODY && connection->library != NULL;
        unsigned char *to = (load ? connection->library : connection->small) + connection->have;
        uint32_t most = want - connection->have;
        ssize_t got = recv(connection->fd, to, most < READ_MOST ? most : READ_MOST, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            return;
        if (got <= 0) {
            connection_close(supervisor, connection);
            return;
        }
        taken += (uint32_t)got;
        connection->have += (uint32_t)got;
        if (connection->trusted)
            connection_set_deadline(supervisor, connection, now_ns() + STALL_NS);
        if (connection->have == want && (want == sizeof(struct stream_hello) || !greets_as_stream(connection)))
            step(supervisor, connection);
    }
}

void connection_event(struct supervisor *supervisor, struct connection *connection, uint32_t events)
{
    unsigned char nothing[4096];
    switch (connection->state) {
    case CONNECTION_FREE:
        return;
    case CONNECTION_GREETING:
    case CONNECTION_HEADER:
    case CONNECTION_BODY:
        read_some(supervisor, connection);
        return;
    case CONNECTION_WAITING:
    case CONNECTION_CALLS:
        if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
            connection_close(supervisor, connection);
        return;
    case CONNECTION_LINGER:
        for (int rounds = 0; rounds < 256; rounds++) {
            ssize_t got = recv(connection->fd, nothing, sizeof(nothing), MSG_DONTWAIT);
            if (got > 0 || (got < 0 && errno == EINTR))
                continue;
            if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
                connection_close(supervisor, connection);
            return;
        }
        return;
    }
}
