#include "client/link.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fds.h"
#include "client/calls.h"
#include "client/error.h"
#include "client/lease.h"
#include "client/region.h"

/** Waits for a connect that was begun. */
static sublet_status finish_connect(int fd, uint64_t end_ns)
{
    struct pollfd entry = {.fd = fd, .events = POLLOUT};
    int error = 0, ready;
    socklen_t size = sizeof(error);
    do
        ready = poll(&entry, 1, left_ms(end_ns));
    while (ready < 0 && errno == EINTR);
    if (ready == 0)
        return SUBLET_ERR_TIMEOUT;
    if (ready < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return SUBLET_ERR_SYSTEM;
    errno = error;
    return error == 0 ? SUBLET_OK : SUBLET_ERR_LOST;
}

sublet_status link_socket(const struct link *link, int *fd_out)
{
    int family = link->address.ss_family, on = 1, idle_s = 5, interval_s = 2, probes = 3;
    unsigned unanswered_ms = 10000;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return SUBLET_ERR_SYSTEM;
    if (family != AF_UNIX) { /* a node that lost its power says nothing: ask */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered_ms, sizeof(unanswered_ms));
    }
    if (connect(fd, (const struct sockaddr *)&link->address, link->address_bytes) != 0 && errno != EINPROGRESS) {
        int error = errno;
        close(fd);
        errno = error;
        return SUBLET_ERR_LOST;
    }
    *fd_out = fd;
    return SUBLET_OK;
}

static sublet_status begin_stream(const struct link *link, enum stream_role role, uint64_t end_ns, int *fd_out)
{
    struct stream_hello hello = {.magic = STREAM_MAGIC, .version = STREAM_VERSION, .role = (uint16_t)role};
    int fd;
    memcpy(hello.token, link->token, sizeof(hello.token));
    sublet_status status = link_socket(link, &fd);
    if (status != SUBLET_OK)
        return status;
    status = finish_connect(fd, end_ns);
    if (status == SUBLET_OK)
        status = fds_send(fd, &hello, sizeof(hello), NULL, 0, end_ns);
    if (status == SUBLET_OK)
        *fd_out = fd;
    else
        close(fd);
    return status;
}

/** The answer to its hello; without it the connection is closed. */
static sublet_status end_stream(int fd, uint64_t end_ns, struct stream_welcome *welcome_out)
{
    size_t fds = 0;
    sublet_status status = fds_receive(fd, welcome_out, sizeof(*welcome_out), NULL, 0, &fds, end_ns);
    if (status == SUBLET_OK)
        status = stream_welcome_check(welcome_out);
    if (status != SUBLET_OK)
        close(fd);
    return status;
}

sublet_status link_stream(const struct link *link, enum stream_role role, uint64_t end_ns,
                          struct stream_welcome *welcome_out, int *fd_out)
{
    int fd;
    sublet_status status = begin_stream(link, role, end_ns, &fd);
    if (status == SUBLET_OK)
        status = end_stream(fd, end_ns, welcome_out);
    if (status == SUBLET_OK)
        *fd_out = fd;
    return status;
}

/** Checks the head of an answer; `size` is what it must bring. */
static sublet_status check_answer(struct link *link, const struct control_header *header, enum control_type type,
                                  size_t size)
{
    if (header->magic != CONTROL_MAGIC || header->type != type || header->status >= SUBLET_STATUS_COUNT)
        return SUBLET_ERR_INVALID;
    if (header->version < CONTROL_VERSION_LEAST || header->version > CONTROL_VERSION ||
        (link->control_version != 0 && header->version != link->control_version))
        return SUBLET_ERR_VERSION;
    link->control_version = header->version;
    return header->size == (header->status == SUBLET_OK ? size : 0) ? SUBLET_OK : SUBLET_ERR_INVALID;
}

static void header_make(const struct link *link, struct control_header *header, enum control_type type, size_t size)
{
    uint16_t version = link->control_version != 0 ? link->control_version : CONTROL_VERSION;
    *header = (struct control_header){
        .magic = CONTROL_MAGIC, .version = version, .type = (uint16_t)type, .size = (uint32_t)size};
}

sublet_status link_control(struct link *link, enum control_type type, const void *first, size_t first_bytes,
                           const void *second, size_t second_bytes, void *answer, size_t answer_bytes, uint64_t end_ns)
{
    struct control_header header;
    size_t fds = 0;
    pthread_mutex_lock(&link->control_lock);
    header_make(link, &header, type, first_bytes + second_bytes);
    sublet_status status = atomic_load(&link->lost) != 0 ? SUBLET_ERR_LOST : SUBLET_OK;
    if (status == SUBLET_OK)
        status = fds_send(link->control, &header, sizeof(header), NULL, 0, end_ns);
    if (status == SUBLET_OK && first_bytes > 0)
        status = fds_send(link->control, first, first_bytes, NULL, 0, end_ns);
    if (status == SUBLET_OK && second_bytes > 0)
        status = fds_send(link->control, second, second_bytes, NULL, 0, end_ns);
    if (status == SUBLET_OK)
        status = fds_receive(link->control, &header, sizeof(header), NULL, 0, &fds, end_ns);
    if (status == SUBLET_OK)
        status = check_answer(link, &header, type, answer_bytes);
    if (status == SUBLET_OK && header.status == SUBLET_OK && answer_bytes > 0)
        status = fds_receive(link->control, answer, answer_bytes, NULL, 0, &fds, end_ns);
    pthread_mutex_unlock(&link->control_lock);
    if (status == SUBLET_OK)
        return (sublet_status)header.status;
    pthread_mutex_lock(&link->session->lock);
    link_lost(link, SUBLET_ERR_LOST); /* out of step */
    pthread_mutex_unlock(&link->session->lock);
    return SUBLET_ERR_LOST;
}

const char *link_path(const struct link *link)
{
    if (link->same_node)
        return "memory";
    if (link->region != NULL)
        return region_path(link->region);
    return link->fabric == NULL ? "tcp" : ofi_link_provider(link);
}

bool link_gone(const struct link *link)
{
    struct pollfd entry = {.fd = link->control, .events = POLLRDHUP};
    return poll(&entry, 1, 0) > 0 && (entry.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

/** Gives back what is the executor's: rings and connections, or the region's memory. */
static void drop_memory(struct link *link)
{
    if (link->transport != NULL)
        link->transport->close(link);
    if (link->region != NULL)
        region_access_close(link);
}

static void destroy(struct link *link)
{
    drop_memory(link);
    region_access_free(link);
    if (link->control >= 0)
        close(link->control);
    pthread_mutex_destroy(&link->control_lock);
    free(link);
}

void link_unref(struct link *link)
{
    if (--link->refs == 0)
        destroy(link);
    else if (link->refs == 1 && link->lease != NULL && atomic_load(&link->lost) != 0)
        drop_memory(link);
}

void link_lost(struct link *link, sublet_status status)
{
    struct sublet_call *call;
    int alive = 0;
    if (!atomic_compare_exchange_strong(&link->lost, &alive, (int)status))
        return;
    shutdown(link->control, SHUT_RDWR); /* wakes whoever waits for an answer on it */
    if (link->lease != NULL)
        lease_end(link->lease, SUBLET_LEASE_REVOKED, "its executor is gone", status);
    link->refs++;
    if (link->transport != NULL) {
        link->transport->progress(link); /* answers that came before the end count */
        while ((call = link->transport->strip(link)) != NULL)
            calls_move(call, status);
    }
    link_unref(link);
    pthread_cond_broadcast(&link->session->changed);
}

/** HELLO on the unix socket: what a same-node client is given. */
static sublet_status greet(struct link *link, uint64_t end_ns, struct control_welcome *welcome, int *fds, size_t *count)
{
    struct {
        struct control_header header;
        struct control_hello hello;
    } request;
    struct control_header header;
    size_t more = 0;
    header_make(link, &request.header, CONTROL_HELLO, sizeof(request.hello));
    request.hello = (struct control_hello){
        .slots = link->slots, .in_bytes = (uint32_t)link->in_bytes, .out_bytes = (uint32_t)link->out_bytes};
    memcpy(request.hello.token, link->token, sizeof(link->token));
    sublet_status status = fds_send(link->control, &request, sizeof(request), NULL, 0, end_ns);
    explicit_bzero(&request, sizeof(request));
    if (status == SUBLET_OK)
        status = fds_receive(link->control, &header, sizeof(header), fds, FDS_PASS_MAX, count, end_ns);
    if (status != SUBLET_OK)
        return status;
    status = check_answer(link, &header, CONTROL_HELLO, sizeof(*welcome));
    if (status == SUBLET_OK)
        status = (sublet_status)header.status;
    if (status == SUBLET_OK)
        status =
            fds_receive(link->control, welcome, sizeof(*welcome), fds + *count, FDS_PASS_MAX - *count, &more, end_ns);
    *count += status == SUBLET_OK ? more : 0;
    return status;
}

static sublet_status open_here(struct link *link, uint64_t region_bytes, uint64_t end_ns)
{
    struct control_welcome welcome;
    int fds[FDS_PASS_MAX];
    size_t count = 0;
    sublet_status status = link_socket(link, &link->control);
    if (status != SUBLET_OK)
        return status;
    link->same_node = true;
    status = greet(link, end_ns, &welcome, fds, &count);
    if (status == SUBLET_OK && region_bytes > 0) {
        if (count != 1 || welcome.region_bytes < region_bytes)
            status = SUBLET_ERR_INVALID;
        else
            status = region_access_map(link, fds[0], region_bytes);
    } else if (status == SUBLET_OK) {
        if (welcome.workers == 0 || welcome.workers > CONTROL_WORKERS_MAX || count != 2 * (size_t)welcome.workers)
            status = SUBLET_ERR_INVALID;
        else {
            link->workers = welcome.workers;
            link->traces = (welcome.features & CONTROL_FEATURE_TRACE) != 0;
            link->asks = (welcome.features & CONTROL_FEATURE_CODE) != 0;
            link->asks_path = (welcome.features & CONTROL_FEATURE_PATH) != 0;
            status = ring_link_open(link, fds);
        }
    }
    if (status == SUBLET_OK && region_bytes == 0)
        return SUBLET_OK; /* the transport keeps what it needs */
    fds_close(fds, count);
    return status;
}

/**
 * A fabric takes up to 0.4 s to load, and what it needs is not in a guest's sandbox. Without one the first worker's
 * connection is on its way before the welcome says how many there are: a round trip, and a wake-up of the executor.
 */
static sublet_status open_there(struct link *link, uint64_t region_bytes, uint64_t end_ns)
{
    struct stream_welcome welcome;
    bool fabric = !link->imported && ofi_wanted(link->session->fabric);
    bool early = region_bytes == 0 && !fabric;
    int fd;
    sublet_status status = begin_stream(link, STREAM_CONTROL, end_ns, &fd);
    if (status == SUBLET_OK && early)
        stream_link_begin(link);
    if (status == SUBLET_OK)
        status = end_stream(fd, end_ns, &welcome);
    if (status != SUBLET_OK)
        return status;
    link->control = fd;
    if (region_bytes > 0)
        return welcome.region_bytes < region_bytes ? SUBLET_ERR_INVALID
                                                   : region_access_connect(link, region_bytes, end_ns);
    if (welcome.workers == 0)
        return SUBLET_ERR_INVALID;
    link->traces = (welcome.features & STREAM_FEATURE_TRACE) != 0;
    link->asks = (welcome.features & STREAM_FEATURE_CODE) != 0;
    link->asks_path = (welcome.features & STREAM_FEATURE_PATH) != 0;
    if (fabric) {
        link->workers = welcome.workers;
        if (ofi_link_open(link, end_ns) == SUBLET_OK)
            return SUBLET_OK;
        atomic_fetch_add(&link->falls, 1);
    }
    return stream_link_open(link, welcome.workers, end_ns);
}

static bool address_here(struct link *link, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path[0] == '\0' || strlen(path) >= sizeof(address.sun_path) || access(path, W_OK) != 0)
        return false;
    memcpy(address.sun_path, path, strlen(path) + 1);
    memcpy(&link->address, &address, sizeof(address));
    link->address_bytes = sizeof(address);
    return true;
}

static sublet_status address_there(struct link *link, const char *text)
{
    char host[256];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof(host))
        return SUBLET_ERR_INVALID;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    /* Numeric only: a look-up may take as long as it likes. */
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *found;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return SUBLET_ERR_INVALID;
    memcpy(&link->address, found->ai_addr, found->ai_addrlen);
    link->address_bytes = found->ai_addrlen;
    freeaddrinfo(found);
    return SUBLET_OK;
}

sublet_status link_open(struct sublet_lease *lease, const Sublet__V1__Endpoint *endpoint, uint64_t region_bytes,
                        uint64_t end_ns, struct link **link_out)
{
    struct link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    link->refs = 1;
    link->session = lease->session;
    link->imported = lease->imported;
    link->node = lease->node;
    link->control = -1;
    link->slots = lease->slots;
    link->in_bytes = lease->in_bytes;
    link->out_bytes = lease->out_bytes;
    pthread_mutex_init(&link->control_lock, NULL);
    memcpy(link->token, endpoint->token.data, sizeof(link->token));
    /* Another client of this lease must not cancel our calls by accident; without random bytes the time will do. */
    if (getrandom(&link->next_connection, sizeof(link->next_connection), GRND_NONBLOCK) < 0)
        link->next_connection = (uint32_t)now_ns();
    bool here = address_here(link, endpoint->unix_path);
    sublet_status status = here ? open_here(link, region_bytes, end_ns) : address_there(link, endpoint->tcp_address);
    if (status == SUBLET_OK && !here)
        status = open_there(link, region_bytes, end_ns);
    if (status == SUBLET_OK) {
        link->lease = lease;
        *link_out = link;
        return SUBLET_OK;
    }
    error_set(status, "cannot reach the executor of lease %s at %s: %s%s%s", lease->id,
              here ? endpoint->unix_path : endpoint->tcp_address, sublet_status_text(status),
              status == SUBLET_ERR_LOST || status == SUBLET_ERR_SYSTEM ? ": " : "",
              status == SUBLET_ERR_LOST || status == SUBLET_ERR_SYSTEM ? strerror(errno) : "");
    destroy(link);
    return status;
}
