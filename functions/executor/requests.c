/*
 * What clients ask for: HELLO, LOAD, RESOLVE, CANCEL, and the greeting of a TCP connection. A library is user code from
 * its first constructor on, so LOAD tries it in a process of its own and answers when that has ended. RESOLVE does so
 * only for a name that the file does not show to be its own (of a library that it needs in turn, or of no one).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fds.h"
#include "executor/library.h"
#include "executor/region_fabric.h"
#include "executor/supervisor.h"
#include "wire/version.h"

static bool token_right(const struct supervisor *supervisor, const uint8_t *token)
{
    volatile uint8_t difference = 0;
    for (uint32_t i = 0; i < CONTROL_TOKEN_BYTES; i++)
        difference |= token[i] ^ supervisor->options->token[i];
    return difference == 0;
}

static bool peer_allowed(const struct supervisor *supervisor, const struct connection *connection)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    return getsockopt(connection->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == supervisor->options->owner || peer.uid == 0);
}

static sublet_status take_client(struct supervisor *supervisor, struct connection *connection)
{
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        if (supervisor->client_taken[i] ||
            (!supervisor->options->region && !workers_client_free(&supervisor->workers, i)))
            continue;
        supervisor->client_taken[i] = true;
        connection->client = i;
        return SUBLET_OK;
    }
    return SUBLET_ERR_BUSY;
}

static void give_back_client(struct supervisor *supervisor, struct connection *connection)
{
    if (connection->client != WORKERS_NOBODY)
        supervisor->client_taken[connection->client] = false;
    connection->client = WORKERS_NOBODY;
}

static void refuse(struct supervisor *supervisor, struct connection *connection, sublet_status status)
{
    give_back_client(supervisor, connection);
    if (connection_answer(supervisor, connection, status, NULL, 0, NULL, 0))
        connection_linger(supervisor, connection);
}

void request_region_ready(struct supervisor *supervisor, struct connection *connection)
{
    struct control_welcome welcome = {.region_bytes = supervisor->options->memory_bytes};
    sublet_status status = region_ready(&supervisor->region);
    if (status == SUBLET_ERR_BUSY) {
        connection->wait_region = true;
        connection_wait(supervisor, connection, CONNECTION_WAITING,
                        0); /* the client has its own deadline, and closes */
    } else if (status != SUBLET_OK)
        refuse(supervisor, connection, status);
    else if (connection_answer(supervisor, connection, SUBLET_OK, &welcome, sizeof(welcome), &supervisor->region.fd, 1))
        connection_resume(supervisor, connection);
}

/** After the answer: its client waits for nobody else. */
static void say_client(struct supervisor *supervisor)
{
    if (!supervisor->says_client)
        return;
    supervisor->says_client = false;
    if (write(OPTIONS_READY_FD, "C", 1) != 1)
        fprintf(stderr, "sublet-executor: cannot say that its client is there\n");
    close(OPTIONS_READY_FD);
}

static void hello(struct supervisor *supervisor, struct connection *connection)
{
    static int fds[2 * CONTROL_WORKERS_MAX];
    struct control_hello body;
    memcpy(&body, connection->small, sizeof(body));
    if (!token_right(supervisor, body.token) || !peer_allowed(supervisor, connection)) {
        refuse(supervisor, connection, SUBLET_ERR_DENIED);
        return;
    }
    connection_trust(supervisor, connection);
    sublet_status status = take_client(supervisor, connection);
    if (status == SUBLET_OK && supervisor->options->region) {
        request_region_ready(supervisor, connection);
        return;
    }
    if (status == SUBLET_OK && body.slots > supervisor->options->slots_max)
        status = SUBLET_ERR_TOO_LARGE;
    if (status == SUBLET_OK)
        status = workers_add_client(&supervisor->workers, connection->client, &body, fds);
    if (status != SUBLET_OK) {
        refuse(supervisor, connection, status);
        return;
    }
    uint32_t workers = supervisor->options->workers;
    struct control_welcome welcome = {.workers = workers,
                                      .features = CONTROL_FEATURE_TRACE |
                                                  (supervisor->code.open ? CONTROL_FEATURE_CODE : 0) |
                                                  (supervisor->code.paths ? CONTROL_FEATURE_PATH : 0)};
    bool sent = connection_answer(supervisor, connection, SUBLET_OK, &welcome, sizeof(welcome), fds, 2 * workers);
    for (uint32_t i = 0; i < workers; i++)
        close(fds[2 * i]);
    if (!sent)
        return;
    connection_resume(supervisor, connection);
    say_client(supervisor);
}

void request_probe(struct supervisor *supervisor, struct connection *connection, int fd, const char *name)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        int keep = fd;
        workers_become_child(parent, &keep, 1);
        library_probe(fd, name);
    }
    if (pid < 0) {
        if (connection_answer(supervisor, connection, SUBLET_ERR_BUSY, NULL, 0, NULL, 0))
            connection_resume(supervisor, connection);
        return;
    }
    connection->probe = pid;
    connection_wait(supervisor, connection, CONNECTION_WAITING, now_ns() + PROBE_NS);
}

static bool resolve_body(const struct connection *connection, uint32_t *library, char *name)
{
    uint32_t length = connection->header.size - (uint32_t)sizeof(*library);
    memcpy(library, connection->small, sizeof(*library));
    memcpy(name, connection->small + sizeof(*library), length);
    name[length] = '\0';
    return strlen(name) == length || strlen(name) + 1 == length; /* a terminating zero may be sent, none within */
}

static void resolve(struct supervisor *supervisor, struct connection *connection)
{
    uint32_t library = 0, function = 0;
    char name[CONTROL_NAME_MAX + 1];
    sublet_status status = SUBLET_ERR_INVALID;
    if (resolve_body(connection, &library, name) && name[0] != '\0')
        status = library < supervisor->workers.libraries
                     ? workers_find_function(&supervisor->workers, library, name, &function)
                     : SUBLET_ERR_NOT_FOUND;
    bool loaded = library < supervisor->workers.libraries;
    if (status == SUBLET_ERR_NOT_FOUND && loaded && library_defines(supervisor->workers.library_fds[library], name))
        status = workers_add_function(&supervisor->workers, library, name, &function);
    if (status == SUBLET_ERR_NOT_FOUND && loaded)
        request_probe(supervisor, connection, supervisor->workers.library_fds[library], name);
    else if (connection_answer(supervisor, connection, status, &function, status == SUBLET_OK ? sizeof(function) : 0,
                               NULL, 0))
        connection_resume(supervisor, connection);
}

static void load(struct supervisor *supervisor, struct connection *connection)
{
    sublet_status status = library_seal(connection->library_fd, connection->library, connection->header.size);
    uint32_t number = 0;
    connection->library = NULL;
    if (status == SUBLET_OK &&
        workers_find_library(&supervisor->workers, connection->library_fd, &number) == SUBLET_OK) {
        request_code_loaded(supervisor, connection, number);
        if (connection_answer(supervisor, connection, SUBLET_OK, &number, sizeof(number), NULL, 0))
            connection_resume(supervisor, connection);
        return;
    }
    if (status == SUBLET_OK) {
        request_probe(supervisor, connection, connection->library_fd, NULL);
        return;
    }
    connection->library_fd = -1;
    if (connection_answer(supervisor, connection, status, NULL, 0, NULL, 0))
        connection_resume(supervisor, connection);
}

void request_probed(struct supervisor *supervisor, struct connection *connection, sublet_status status)
{
    uint32_t number = 0, library = 0;
    char name[CONTROL_NAME_MAX + 1];
    connection->probe = 0;
    if (connection->header.type == CONTROL_LOAD_PATH) {
        request_path_probed(supervisor, connection, status);
        return;
    }
    if (status == SUBLET_OK && connection->header.type == CONTROL_LOAD) {
        status = workers_add_library(&supervisor->workers, connection->library_fd, &number);
        if (status == SUBLET_OK) {
            connection->library_fd = -1;
            request_code_loaded(supervisor, connection, number);
        }
    } else if (status == SUBLET_OK && resolve_body(connection, &library, name) &&
               workers_find_function(&supervisor->workers, library, name, &number) != SUBLET_OK)
        status = workers_add_function(&supervisor->workers, library, name, &number);
    if (connection_answer(supervisor, connection, status, &number, status == SUBLET_OK ? sizeof(number) : 0, NULL, 0))
        connection_resume(supervisor, connection);
}

static void cancel(struct supervisor *supervisor, struct connection *connection)
{
    struct control_cancel body;
    uint32_t wait_for = WORKERS_NOBODY;
    memcpy(&body, connection->small, sizeof(body));
    uint32_t client = connection->tcp ? WORKERS_NOBODY : connection->client;
    sublet_status status = workers_cancel(&supervisor->workers, client, &body, &wait_for);
    if (status == SUBLET_OK && wait_for != WORKERS_NOBODY) {
        connection->wait_for = wait_for;
        connection_wait(supervisor, connection, CONNECTION_WAITING, 0); /* SIGKILL is on its way to the worker */
    } else if (connection_answer(supervisor, connection, status, NULL, 0, NULL, 0))
        connection_resume(supervisor, connection);
}

void request_serve(struct supervisor *supervisor, struct connection *connection)
{
    if (connection->header.type == CONTROL_HELLO)
        hello(supervisor, connection);
    else if (supervisor->options->region) {
        if (connection_answer(supervisor, connection, SUBLET_ERR_INVALID, NULL, 0, NULL, 0))
            connection_resume(supervisor, connection);
    } else if (connection->header.type == CONTROL_LOAD)
        load(supervisor, connection);
    else if (connection->header.type == CONTROL_LOAD_HASH || connection->header.type == CONTROL_LOAD_PATH)
        request_load_hash(supervisor, connection);
    else if (connection->header.type == CONTROL_RESOLVE)
        resolve(supervisor, connection);
    else
        cancel(supervisor, connection);
}

/** What the role asks for, before the welcome. */
static sublet_status accept_role(struct supervisor *supervisor, struct connection *connection,
                                 const struct stream_hello *greeting)
{
    bool region = supervisor->options->region;
    uint32_t owner = (uint32_t)(connection - supervisor->connections);
    if (greeting->role == STREAM_CONTROL)
        return SUBLET_OK; /* a number is for rings */
    if (region != (greeting->role == STREAM_REGION || greeting->role == STREAM_REGION_FABRIC))
        return SUBLET_ERR_INVALID;
    if (greeting->role == STREAM_REGION_FABRIC)
        return supervisor->region.fabric >= 0 ? SUBLET_OK : SUBLET_ERR_NOT_FOUND;
    if (region)
        return atomic_load(&supervisor->region.streams) < REGION_STREAMS_MAX ? SUBLET_OK : SUBLET_ERR_BUSY;
    connection->worker = greeting->worker;
    sublet_status status =
        workers_add_stream(&supervisor->workers, greeting, connection->fd, owner, &connection->stream);
    if (status == SUBLET_OK)
        connection->state = CONNECTION_CALLS;
    return status;
}

/** After the welcome: the worker answers what the client may have sent behind its hello. */
static void pass_to_worker(struct supervisor *supervisor, struct connection *connection)
{
    connection_wait(supervisor, connection, CONNECTION_CALLS, 0);
    if (connection->state != CONNECTION_CALLS)
        return;
    workers_start_stream(&supervisor->workers, connection->worker, connection->stream);
    supervisor->retry = true; /* its worker may be too busy to hear of it now */
}

/** Its process owns the socket now; where there is none any more, its client sees the end. */
static void pass_to_fabric(struct supervisor *supervisor, struct connection *connection)
{
    (void)region_fabric_pass(&supervisor->region, connection->fd);
    connection_close(supervisor, connection);
}

static uint32_t features_of(const struct supervisor *supervisor, enum stream_role role)
{
    if (!supervisor->options->region)
        return (role == STREAM_FABRIC ? 0 : STREAM_FEATURE_TRACE) |
               (role == STREAM_CONTROL && supervisor->code.open ? STREAM_FEATURE_CODE : 0) |
               (role == STREAM_CONTROL && supervisor->code.paths ? STREAM_FEATURE_PATH : 0);
    return STREAM_FEATURE_ACCESS | (supervisor->region.fabric >= 0 ? STREAM_FEATURE_FABRIC : 0);
}

static void pass_to_region(struct supervisor *supervisor, struct connection *connection)
{
    epoll_ctl(supervisor->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
    if (region_serve(&supervisor->region, connection->fd) == SUBLET_OK)
        connection_forget(supervisor, connection); /* its thread owns the socket now */
    else
        connection_close(supervisor, connection);
}

void request_stream_hello(struct supervisor *supervisor, struct connection *connection)
{
    struct stream_hello greeting;
    memcpy(&greeting, connection->small, sizeof(greeting));
    sublet_status status = stream_hello_check(&greeting);
    if (status != SUBLET_OK && (status != SUBLET_ERR_VERSION || !token_right(supervisor, greeting.token))) {
        connection_close(supervisor, connection);
        return;
    }
    bool allowed = connection->tcp || (greeting.role == STREAM_CALLS && peer_allowed(supervisor, connection));
    if (status == SUBLET_OK)
        status = allowed && token_right(supervisor, greeting.token) ? SUBLET_OK : SUBLET_ERR_DENIED;
    if (status == SUBLET_OK) {
        connection_trust(supervisor, connection);
        status = accept_role(supervisor, connection, &greeting);
    }
    bool region = supervisor->options->region;
    uint16_t agreed = version_agree(greeting.version, STREAM_VERSION_LEAST, STREAM_VERSION);
    struct stream_welcome welcome = {.magic = STREAM_MAGIC,
                                     .version = agreed != 0 ? agreed : STREAM_VERSION,
                                     .status = status,
                                     .workers = region ? 0 : supervisor->options->workers,
                                     .region_bytes = region ? supervisor->options->memory_bytes : 0,
                                     .features = features_of(supervisor, greeting.role)};
    bool sent = fds_send(connection->fd, &welcome, sizeof(welcome), NULL, 0, now_ns()) == SUBLET_OK;
    if (sent && status == SUBLET_OK)
        say_client(supervisor);
    if (!sent)
        connection_close(supervisor, connection);
    else if (status != SUBLET_OK)
        connection_linger(supervisor, connection);
    else if (greeting.role == STREAM_CONTROL)
        connection_resume(supervisor, connection);
    else if (greeting.role == STREAM_REGION_FABRIC)
        pass_to_fabric(supervisor, connection);
    else if (greeting.role != STREAM_REGION)
        pass_to_worker(supervisor, connection);
    else
        pass_to_region(supervisor, connection);
}
