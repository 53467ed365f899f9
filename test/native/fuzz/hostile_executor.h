/**
 * A session of libsublet that has a lease from an executor which says and does what the input says. All of the library
 * is the real one; what it asks the kernel for is not:
 *
 *   socket, connect   a socket pair, whose other end is the executor's; refused when the input says so
 *   poll, ppoll, futex  never sleep: the executor does one more thing, else time passes
 *   CLOCK_MONOTONIC   moves when it is read, and with each sleep
 *
 * So a run is a function of its input. When the input is used up the executor's connections end and it does nothing any
 * more. Whatever it did, the library may neither touch what is not its own, nor wait with the session's lock held, nor
 * go on waiting for ever, nor keep a descriptor; each call ends, once, with a result within its bounds.
 *
 * Include once; a target has way_came and way_acts. HOSTILE_FABRIC: it is the fabric of calls, too; HOSTILE_REGION: of
 * regions. HOSTILE_AGENT: it is the agent, too, and says who has a lease.
 */
#ifndef SUBLET_FUZZ_HOSTILE_EXECUTOR_H
#define SUBLET_FUZZ_HOSTILE_EXECUTOR_H

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fds.h"
#include "client/calls.h"
#include "client/lease.h"
#include "client/library.h"
#include "client/link.h"
#include "client/stream_connection.h"
#include "dummy_fabric.h"

#define CONNECTIONS_MAX 64u
#define CALLS_MAX       12u
#define FUNCTIONS       3u
#define WAITS_MAX       100000u /* after the executor's end */
#define TICK_NS         100000u /* a look at the clock: some threads only look while a way is broken */
#define MOST_BYTES      3000u

struct connection {
    int fd;        /* the executor's end; -1: closed */
    int client_fd; /* and the other, when it was made */
    int family;
    uint32_t number;
};

struct taken_call {
    sublet_call *call;
    unsigned char *in, *out;
    size_t room;
};

static struct {
    const uint8_t *data;
    size_t size;
} input;
static struct connection connections[CONNECTIONS_MAX];
static uint32_t connected;
static bool over;
static uint32_t waits;
static uint64_t clock_ns;
static uint64_t region_bytes; /* of the lease; 0: it is of functions */
static sublet_session *session;
static struct sublet_lease *lease;
static struct sublet_library library;
static struct sublet_function_ref functions[FUNCTIONS];
static struct taken_call taken[CALLS_MAX];

/** What the executor does with a new connection. */
static void way_came(struct connection *connection);
/** One more thing, of which `what` says which. */
static void way_acts(uint32_t what);

static uint32_t take(uint32_t bytes)
{
    uint32_t value = 0;
    for (; bytes > 0 && input.size > 0; bytes--, input.size--)
        value = value << 8 | *input.data++;
    return value;
}

static void say(const struct connection *connection, const void *bytes, size_t size)
{
    if (connection->fd >= 0)
        (void)!send(connection->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/** Bytes of the input as they are. */
static void babble(const struct connection *connection)
{
    size_t size = take(1) % 100;
    size = size < input.size ? size : input.size;
    say(connection, input.data, size);
    input.data += size;
    input.size -= size;
}

static void hang_up(struct connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
}

static void hear(const struct connection *connection)
{
    char bytes[8192];
    while (connection->fd >= 0 && recv(connection->fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
}

/** Changes some bytes, or none. */
static void bend(void *bytes, size_t size)
{
    for (uint32_t bends = take(1) % 8; bends > 4; bends--) {
        uint32_t at = take(2);
        ((unsigned char *)bytes)[at % size] ^= (unsigned char)take(1);
    }
}

static void say_welcome(const struct connection *connection)
{
    struct stream_welcome welcome = {.magic = STREAM_MAGIC, .version = STREAM_VERSION, .workers = 1 + take(1) % 3};
    welcome.features = take(1) % 32;
    welcome.region_bytes = region_bytes;
    bend(&welcome, sizeof(welcome));
    say(connection, &welcome, sizeof(welcome));
}

/** An answer to whatever was asked on the control connection. */
static void say_control(const struct connection *connection)
{
    uint32_t how = take(1);
    struct {
        struct control_header header;
        uint32_t number;
    } answer = {{.magic = CONTROL_MAGIC, .version = CONTROL_VERSION, .type = (uint16_t)(how % 8)}, how >> 6};
    answer.header.size = (how & 7) == CONTROL_CANCEL ? 0 : sizeof(answer.number);
    answer.header.status = (how >> 3 & 7) == 7 ? take(1) : SUBLET_OK;
    if (answer.header.status != SUBLET_OK)
        answer.header.size = 0;
    size_t size = sizeof(answer.header) + answer.header.size;
    bend(&answer, sizeof(answer));
    say(connection, &answer, size);
}

/** As the session's own thread sees it. */
static void look_for_ends(void)
{
    pthread_mutex_lock(&session->lock);
    for (struct sublet_lease *one = session->leases; one != NULL; one = one->next)
        if (one->link != NULL && atomic_load(&one->link->lost) == 0 && link_gone(one->link)) {
            struct link *link = one->link;
            link->refs++;
            link_lost(link, SUBLET_ERR_LOST);
            link_unref(link);
        }
    pthread_mutex_unlock(&session->lock);
}

static void act(void)
{
    must(pthread_mutex_trylock(&session->lock) == 0); /* nobody may wait and hold it */
    pthread_mutex_unlock(&session->lock);
    if (input.size == 0) {
        over = true;
        for (uint32_t i = 0; i < connected; i++)
            hang_up(&connections[i]);
    } else {
        uint32_t what = take(1);
        struct connection *connection = &connections[connected > 0 ? what / 16 % connected : 0];
        if (connected == 0)
            return;
        switch (what & 15) {
        case 0:
            babble(connection);
            break;
        case 1:
            hang_up(connection);
            break;
        case 2:
            shutdown(connection->fd, SHUT_WR);
            break;
        case 3:
            hear(connection);
            break;
        case 4:
            say_welcome(connection);
            break;
        case 5:
        case 6:
            say_control(connection);
            break;
        default:
            way_acts(what & 15);
        }
    }
    look_for_ends();
}

static void waited(uint64_t ns)
{
    must(!over || ++waits < WAITS_MAX);
    clock_ns += ns;
}

int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
int __real_poll(struct pollfd *entries, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *entries, nfds_t count, int timeout_ms);
int __wrap_ppoll(struct pollfd *entries, nfds_t count, const struct timespec *limit, const sigset_t *mask);
int __real_clock_gettime(clockid_t id, struct timespec *out);
int __wrap_clock_gettime(clockid_t id, struct timespec *out);
long __wrap_syscall(long number, ...);

int __wrap_socket(int family, int type, int protocol)
{
    int fds[2];
    (void)protocol;
    must(family == AF_INET || family == AF_UNIX);
    if (socketpair(AF_UNIX, type, 0, fds) != 0)
        return -1;
    uint32_t at = 0;
    while (at < connected && connections[at].client_fd != fds[0])
        at++;
    if (at < connected)
        hang_up(&connections[at]); /* its other end was closed */
    else if (connected == CONNECTIONS_MAX) {
        close(fds[1]);
        close(fds[0]);
        errno = EMFILE;
        return -1;
    } else
        connected++;
    connections[at] = (struct connection){.fd = fds[1], .client_fd = fds[0], .number = at};
    return fds[0];
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    uint32_t at = 0;
    (void)size;
    while (at < connected && connections[at].client_fd != fd)
        at++;
    must(at < connected);
    connections[at].family = address->sa_family;
    if (over || (input.size > 0 && take(1) == 255)) {
        errno = ECONNREFUSED;
        return -1;
    }
    way_came(&connections[at]);
    return 0;
}

int __wrap_poll(struct pollfd *entries, nfds_t count, int timeout_ms)
{
    must(timeout_ms >= 0);
    int ready = __real_poll(entries, count, 0);
    if (ready != 0 || timeout_ms == 0)
        return ready;
    act();
    ready = __real_poll(entries, count, 0);
    waited(ready == 0 ? (uint64_t)timeout_ms * 1000000 : 0);
    return ready;
}

int __wrap_ppoll(struct pollfd *entries, nfds_t count, const struct timespec *limit, const sigset_t *mask)
{
    must(mask == NULL && limit != NULL);
    int ready = __real_poll(entries, count, 0);
    if (ready != 0)
        return ready;
    act();
    waited((uint64_t)limit->tv_sec * 1000000000u + (uint64_t)limit->tv_nsec);
    return __real_poll(entries, count, 0);
}

int __wrap_clock_gettime(clockid_t id, struct timespec *out)
{
    if (id != CLOCK_MONOTONIC)
        return __real_clock_gettime(id, out);
    clock_ns += TICK_NS;
    *out = (struct timespec){.tv_sec = (time_t)(clock_ns / 1000000000u), .tv_nsec = (long)(clock_ns % 1000000000u)};
    return 0;
}

/** Only futexes come here. */
long __wrap_syscall(long number, ...)
{
    va_list arguments;
    va_start(arguments, number);
    (void)va_arg(arguments, void *);
    int what = va_arg(arguments, int);
    (void)va_arg(arguments, unsigned);
    const struct timespec *limit = va_arg(arguments, const struct timespec *);
    va_end(arguments);
    must(number == SYS_futex && (what == FUTEX_WAIT || what == FUTEX_WAKE));
    if (what == FUTEX_WAKE)
        return 0;
    must(limit != NULL);
    act();
    waited((uint64_t)limit->tv_sec * 1000000000u + (uint64_t)limit->tv_nsec);
    errno = ETIMEDOUT;
    return -1;
}

bool ofi_is_connected(const struct ofi *ofi)
{
    (void)ofi;
    return false;
}

const char *ofi_provider_with_connections(const char *provider)
{
    return provider;
}

#ifndef HOSTILE_REGION
/* Of a fabric, what only regions use. */
bool ofi_wanted_copies(void)
{
    return false;
}

bool ofi_needs_memory(const struct ofi *ofi)
{
    (void)ofi;
    return false;
}

size_t ofi_transfer_max(const struct ofi *ofi)
{
    (void)ofi;
    return 0;
}

void ofi_progress(struct ofi *ofi)
{
    (void)ofi;
}

sublet_status ofi_borrow(struct ofi *ofi, void *base, size_t bytes, struct ofi_memory *out)
{
    (void)ofi;
    (void)base;
    (void)bytes;
    (void)out;
    return SUBLET_ERR_SYSTEM;
}

sublet_status ofi_get(struct ofi *ofi, const struct ofi_memory *into, void *bytes, size_t size,
                      const struct ofi_target *from, uint64_t offset, _Atomic int *done)
{
    (void)ofi;
    (void)into;
    (void)bytes;
    (void)size;
    (void)from;
    (void)offset;
    (void)done;
    return SUBLET_ERR_LOST;
}

sublet_status ofi_put(struct ofi *ofi, const struct ofi_memory *from, const void *bytes, size_t size,
                      const struct ofi_target *to, uint64_t offset, _Atomic int *done)
{
    (void)ofi;
    (void)from;
    (void)bytes;
    (void)size;
    (void)to;
    (void)offset;
    (void)done;
    return SUBLET_ERR_LOST;
}
#endif

const char *ofi_wanted_provider(void)
{
    return NULL;
}

bool ofi_wanted_plain(void)
{
    return false;
}

bool ofi_wanted(const char *provider)
{
    return strcmp(provider, "none") != 0;
}

#if !defined(HOSTILE_FABRIC) && !defined(HOSTILE_REGION)
void ofi_unregister(struct ofi_memory *memory)
{
    (void)memory;
}

bool ofi_peer_is_lost(struct ofi *ofi, uint64_t peer)
{
    (void)ofi;
    (void)peer;
    return false;
}
#endif

#ifndef HOSTILE_FABRIC
sublet_status ofi_register(struct ofi *ofi, void *base, size_t bytes, bool readable, struct ofi_memory *out)
{
    (void)ofi;
    (void)base;
    (void)bytes;
    (void)readable;
    (void)out;
    return SUBLET_ERR_SYSTEM;
}

uint32_t ofi_poll(struct ofi *ofi, uint32_t *data, uint32_t most)
{
    (void)ofi;
    (void)data;
    (void)most;
    return 0;
}

sublet_status ofi_write_data(struct ofi *ofi, const struct ofi_memory *from, const void *bytes, size_t size,
                             const struct ofi_target *to, uint64_t offset, uint32_t data)
{
    (void)ofi;
    (void)from;
    (void)bytes;
    (void)size;
    (void)to;
    (void)offset;
    (void)data;
    return SUBLET_ERR_LOST;
}
#endif

/** The function, when nobody lends. */
static int here(sublet_context *context, const void *in, void *out)
{
    uint64_t size = context->out_room < 16 ? context->out_room : 16;
    volatile unsigned char sum = 0;
    for (uint64_t i = 0; i < context->in_size; i++) /* where arguments lie in a ring, it may have changed them */
        sum ^= ((const unsigned char *)in)[i];
    (void)sum;
    memset(out, 'h', size);
    context->result_size = size;
    return 0;
}

/** Do the bytes that the library says are the result's lie where it may write? */
static void look_at_result(const unsigned char *out, size_t room, sublet_status status, size_t bytes)
{
    volatile unsigned char sum = 0;
    must(status < SUBLET_STATUS_COUNT);
    if (status != SUBLET_OK)
        return;
    must(bytes <= room);
    for (size_t i = 0; i < bytes; i++)
        sum ^= out[i];
    (void)sum;
}

static void options_take(sublet_call_options *options)
{
    uint32_t how = take(1);
    *options = (sublet_call_options)SUBLET_CALL_OPTIONS_INIT;
    options->flags = (how & 1) != 0 ? SUBLET_CALL_ONCE : 0;
    options->flags |= (how & 2) != 0 ? SUBLET_CALL_NO_LOCAL : 0;
    options->lease = (how & 4) != 0 ? lease : NULL;
    options->worker = options->lease != NULL && (how & 8) != 0 ? (int32_t)(how >> 6) : -1;
    options->timeout_ms = (how & 48) == 0 ? 0 : how >> 4 & 3;
}

static unsigned char *arguments(size_t size)
{
    unsigned char *bytes = malloc(size + 1);
    must(bytes != NULL);
    memset(bytes, 'i', size);
    return bytes;
}

/** Of what a lease's slots take, of a little more, and of more than a connection takes at once. */
static size_t size_take(void)
{
    uint32_t how = take(1);
    return how >= 250 ? (size_t)(how - 249) * 70000 : how * (MOST_BYTES / 250);
}

static struct sublet_function_ref *function_take(void)
{
    return &functions[take(1) % FUNCTIONS];
}

static void start_call(struct taken_call *place)
{
    sublet_call_options options;
    size_t in_bytes = size_take();
    struct taken_call made = {.in = arguments(in_bytes), .room = size_take()};
    made.out = malloc(made.room + 1);
    struct sublet_function_ref *function = function_take();
    options_take(&options);
    must(made.out != NULL);
    if (sublet_submit(session, function, made.in, in_bytes, made.out, made.room, &options, &made.call) == SUBLET_OK) {
        *place = made;
        return;
    }
    free(made.in);
    free(made.out);
}

static void look(struct taken_call *place)
{
    size_t bytes = 0;
    const char *node = NULL;
    sublet_status status = sublet_call_result(place->call, &bytes, &node);
    if (place->call->state == CALL_DONE) {
        must(status != SUBLET_ERR_BUSY || node[0] == '\0');
        look_at_result(place->out, place->room, status, bytes);
    }
}

static void end_call(struct taken_call *place)
{
    sublet_call_free(place->call);
    free(place->in);
    free(place->out);
    *place = (struct taken_call){0};
}

static void call_and_wait(bool traced)
{
    sublet_call_options options;
    size_t in_bytes = size_take(), room = size_take(), bytes = 0;
    unsigned char *in = arguments(in_bytes), *out = malloc(room + 1);
    struct sublet_function_ref *function = function_take();
    options_take(&options);
    sublet_trace trace = {.struct_bytes = sizeof(trace)};
    options.trace = traced ? &trace : NULL;
    must(out != NULL);
    sublet_status status = sublet_invoke(session, function, in, in_bytes, out, room, &bytes, &options);
    look_at_result(out, room, status, bytes);
    free(in);
    free(out);
}

static void call_that_allocates(void)
{
    sublet_call_options options;
    size_t in_bytes = size_take(), most = 1 + size_take(), bytes = 0;
    unsigned char *in = arguments(in_bytes);
    void *out = NULL;
    struct sublet_function_ref *function = function_take();
    options_take(&options);
    sublet_status status = sublet_invoke_alloc(session, function, in, in_bytes, most, &out, &bytes, &options);
    if (status == SUBLET_OK) {
        look_at_result(out, most, status, bytes);
        sublet_free(out);
    }
    free(in);
}

static void tick(void)
{
    pthread_mutex_lock(&session->lock);
    (void)calls_tick(session);
    calls_progress(session);
    pthread_mutex_unlock(&session->lock);
}

/** What the library's user does next; false when the target has something of its own. */
static bool user_acts(uint32_t what)
{
    struct taken_call *place = &taken[take(1) % CALLS_MAX];
    switch (what % 12) {
    case 0:
    case 1:
    case 2:
        if (place->call == NULL)
            start_call(place);
        return true;
    case 3:
        if (place->call != NULL && sublet_test(place->call) == SUBLET_OK)
            look(place);
        return true;
    case 4:
        if (place->call != NULL && sublet_wait(place->call, 1 + take(1)) == SUBLET_OK)
            look(place);
        return true;
    case 5:
        if (place->call != NULL)
            sublet_cancel(place->call);
        return true;
    case 6:
        if (place->call != NULL)
            end_call(place);
        return true;
    case 7:
        call_and_wait((what & 64) != 0);
        return true;
    case 8:
        call_that_allocates();
        return true;
    case 9:
        act();
        tick();
        return true;
    case 10:
        act();
        act();
        return true;
    default:
        return false;
    }
}

static void session_open(const char *fabric)
{
    static unsigned char code[100];
    sublet_options options = SUBLET_OPTIONS_INIT;
    options.agent_socket = "/nonexistent";
    options.fabric = fabric;
    options.timeout_ms = 50;
    options.spin_us = 1;
    clock_ns = 1000000000;
    over = false;
    waits = 0;
    connected = 0;
    must(sublet_open(&options, &session) == SUBLET_OK);
    library = (struct sublet_library){.session = session, .bytes = code, .size = sizeof(code)};
    must(pthread_mutex_init(&library.hash_lock, NULL) == 0);
    for (uint32_t i = 0; i < FUNCTIONS; i++) {
        functions[i] = (struct sublet_function_ref){.library = &library, .number = i, .context = here};
        memcpy(functions[i].name, "here", 5);
    }
    session->library_count = 1;
    session->function_count = FUNCTIONS;
    lease = NULL;
}

#ifdef HOSTILE_AGENT
static bool session_begin(const char *unix_path, const char *fabric)
{
    (void)unix_path;
    session_open(fabric);
    return true;
}
#else
/** Opens a session with a lease; false when the library would have nothing to do with its executor. */
static bool session_begin(const char *unix_path, const char *fabric)
{
    static uint8_t token[CONTROL_TOKEN_BYTES];
    session_open(fabric);
    lease = calloc(1, sizeof(*lease));
    must(lease != NULL);
    lease->session = session;
    lease->node = session_name(session, "node");
    lease->slots = 1 + take(1) % 6;
    lease->in_bytes = take(1) * 8;
    lease->out_bytes = take(1) * 8;
    memcpy(lease->id, "lease", 6);
    lease->ends_ns = lease->renew_ns = UINT64_MAX;
    session->leases = lease;
    Sublet__V1__Endpoint endpoint = SUBLET__V1__ENDPOINT__INIT;
    endpoint.unix_path = (char *)(uintptr_t)unix_path;
    endpoint.tcp_address = (char *)(uintptr_t) "127.0.0.1:1";
    endpoint.token.data = token;
    endpoint.token.len = sizeof(token);
    struct link *link = NULL;
    if (link_open(lease, &endpoint, region_bytes, now_ns() + session->timeout_ns, &link) != SUBLET_OK)
        return false;
    pthread_mutex_lock(&session->lock);
    lease->link = link;
    for (uint32_t i = 0; region_bytes == 0 && i < FUNCTIONS; i++)
        if ((take(1) & 3) != 0)
            link->functions[i] = (struct link_entry){.state = LINK_RESOLVED, .id = i};
    pthread_mutex_unlock(&session->lock);
    return true;
}
#endif

static void session_end(void (*last)(void))
{
    if (last != NULL)
        last();
    for (uint32_t i = 0; i < CALLS_MAX; i++)
        if (taken[i].call != NULL)
            end_call(&taken[i]);
    sublet_close(session);
    pthread_mutex_destroy(&library.hash_lock);
    for (uint32_t i = 0; i < connected; i++)
        hang_up(&connections[i]);
#ifdef HOSTILE_REGION
    peers = 0; /* went with the endpoint */
#endif
    must(peers == 0 && dummy == NULL);
}

/** Runs one input; `more`: what the target's user does beside calls; `last`: and before the session is closed. */
static void session_run(const uint8_t *data, size_t size, const char *unix_path, const char *fabric,
                        void (*more)(uint32_t), void (*last)(void))
{
    int before = dup(0);
    must(before >= 0);
    close(before);
    input.data = data;
    input.size = size;
    if (session_begin(unix_path, fabric))
        while (input.size > 0) {
            uint32_t what = take(1);
            if ((lease != NULL && region_bytes > 0) || !user_acts(what))
                more(what);
        }
    session_end(last);
    int after = dup(0);
    must(after == before);
    close(after);
}

#endif
