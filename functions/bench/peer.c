#include "bench/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fds.h"

static int listen_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && chmod(path, 0666) == 0 &&
        listen(fd, 128) == 0)
        return fd;
    close(fd);
    return -1;
}

static int listen_tcp(in_addr_t where, uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = where != 0 ? where : htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 128) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &size) == 0) {
        *port = ntohs(address.sin_port);
        return fd;
    }
    close(fd);
    return -1;
}

/** Goes on as process 1 of a namespace of its own; who was called stays as its parent and ends with it. */
static void go_bare(void)
{
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", "/proc", "tmpfs", 0, NULL) != 0)
        _exit(126);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        return;
    }
    /* All of them: a copy of the configuration's other end kept here would keep its end from coming. */
    close_range(3, ~0u, 0);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    _exit(0);
}

static _Noreturn void become_executor(const struct executor_settings *settings, const int *fds)
{
    int high[4];
    for (int i = 0; i < 4; i++)
        high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 64); /* out of the way of 3 to 6 */
    for (int i = 0; i < 4; i++)
        dup2(high[i], 3 + i);
    if (settings->stats_fd > 7)
        dup2(settings->stats_fd, 7);
    else
        close(7);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (settings->bare)
        go_bare();
    if (settings->address_bytes != 0) {
        struct rlimit limit = {settings->address_bytes, settings->address_bytes};
        setrlimit(RLIMIT_AS, &limit);
    }
    execl(settings->program, "sublet-executor", (char *)NULL);
    _exit(127);
}

static size_t config_text(const struct executor_settings *settings, const uint8_t *token, char *text, size_t room)
{
    char hex[2 * CONTROL_TOKEN_BYTES + 1];
    for (uint32_t i = 0; i < CONTROL_TOKEN_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", token[i]);
    return (size_t)snprintf(
        text, room, "kind=%s\nlease=test\ncores=%s\nowner=%u\nmemory=%llu\ntoken=%s\nspin_us=%llu\n%s",
        settings->cores == NULL ? "region" : "function", settings->cores == NULL ? "" : settings->cores,
        (unsigned)settings->owner, (unsigned long long)settings->memory_bytes, hex,
        (unsigned long long)settings->spin_us, settings->said_fd != NULL ? "says_client=1\n" : "");
}

static bool wait_ready(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    char byte = 0;
    return poll(&entry, 1, 10000) == 1 && read(fd, &byte, 1) == 1 && byte == 'R';
}

sublet_status executor_start(const struct executor_settings *settings, struct executor *out)
{
    struct executor executor = {.pid = 0};
    char text[1024];
    int config[2] = {-1, -1}, ready[2] = {-1, -1};
    snprintf(executor.folder, sizeof(executor.folder), "/tmp/sublet-peer-XXXXXX");
    if (mkdtemp(executor.folder) == NULL)
        return SUBLET_ERR_SYSTEM;
    chmod(executor.folder, 0755);
    snprintf(executor.path, sizeof(executor.path), "%s/executor.sock", executor.folder);
    for (uint32_t i = 0; i < CONTROL_TOKEN_BYTES; i++)
        executor.token[i] = (uint8_t)(i * 7 + 1);
    int fds[4] = {listen_unix(executor.path), listen_tcp(settings->address, &executor.port), -1, -1};
    sublet_status status = SUBLET_ERR_SYSTEM;
    if (fds[0] >= 0 && fds[1] >= 0 && pipe2(config, O_CLOEXEC) == 0 && pipe2(ready, O_CLOEXEC) == 0) {
        fds[2] = config[0];
        fds[3] = ready[1];
        size_t size = config_text(settings, executor.token, text, sizeof(text));
        executor.pid = fork();
        if (executor.pid == 0)
            become_executor(settings, fds);
        close(ready[1]);
        bool written = write(config[1], text, size) == (ssize_t)size;
        close(config[1]);
        config[1] = ready[1] = -1;
        if (executor.pid > 0 && written && wait_ready(ready[0]))
            status = SUBLET_OK;
        if (status == SUBLET_OK && settings->said_fd != NULL) {
            *settings->said_fd = ready[0];
            ready[0] = -1;
        }
    }
    const int all[] = {fds[0], fds[1], config[0], config[1], ready[0], ready[1]};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i] >= 0)
            close(all[i]);
    if (status != SUBLET_OK)
        executor_stop(&executor);
    else
        *out = executor;
    return status;
}

void executor_stop(struct executor *executor)
{
    if (executor->pid > 0) {
        kill(executor->pid, SIGKILL);
        waitpid(executor->pid, NULL, 0);
    }
    unlink(executor->path);
    rmdir(executor->folder);
    executor->pid = 0;
}

int peer_connect_unix(const struct executor *executor)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", executor->path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

int peer_connect_tcp(const struct executor *executor)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(executor->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0)
        return fd;
    close(fd);
    return -1;
}

static sublet_status send_frame(int fd, enum control_type type, const void *body, uint32_t size, uint64_t end_ns)
{
    struct control_header header = {
        .magic = CONTROL_MAGIC, .version = CONTROL_VERSION, .type = (uint16_t)type, .size = size};
    sublet_status status = fds_send(fd, &header, sizeof(header), NULL, 0, end_ns);
    return status == SUBLET_OK ? fds_send(fd, body, size, NULL, 0, end_ns) : status;
}

sublet_status peer_open(const struct executor *executor, uint32_t slots, uint32_t in_bytes, uint32_t out_bytes,
                        struct peer *out)
{
    struct control_hello hello = {.slots = slots, .in_bytes = in_bytes, .out_bytes = out_bytes};
    struct control_header header;
    struct control_welcome welcome;
    int fds[2 * PEER_WORKERS_MAX];
    size_t count = 0, none = 0;
    uint64_t end_ns = now_ns() + PEER_TIMEOUT_NS;
    struct peer peer = {.fd = peer_connect_unix(executor), .region_fd = -1};
    memcpy(hello.token, executor->token, sizeof(hello.token));
    sublet_status status =
        peer.fd < 0 ? SUBLET_ERR_LOST : send_frame(peer.fd, CONTROL_HELLO, &hello, sizeof(hello), end_ns);
    if (status == SUBLET_OK)
        status = fds_receive(peer.fd, &header, sizeof(header), fds, 2 * PEER_WORKERS_MAX, &count, end_ns);
    if (status == SUBLET_OK)
        status = (sublet_status)header.status;
    if (status == SUBLET_OK)
        status = fds_receive(peer.fd, &welcome, sizeof(welcome), NULL, 0, &none, end_ns);
    if (status != SUBLET_OK) {
        close(peer.fd);
        return status;
    }
    peer.workers = welcome.workers;
    peer.region_bytes = welcome.region_bytes;
    if (peer.workers == 0 && count == 1)
        peer.region_fd = fds[0];
    for (uint32_t i = 0; i < peer.workers && 2 * i + 1 < count; i++) {
        peer.wake_fds[i] = fds[2 * i + 1];
        status = ring_attach(fds[2 * i], fds[2 * i + 1], &peer.rings[i]);
        close(fds[2 * i]);
    }
    *out = peer;
    return status;
}

void peer_close(struct peer *peer)
{
    for (uint32_t i = 0; i < peer->workers; i++) {
        ring_unmap(&peer->rings[i]);
        close(peer->wake_fds[i]);
    }
    if (peer->region_fd >= 0)
        close(peer->region_fd);
    close(peer->fd);
}

sublet_status peer_request(int fd, enum control_type type, const void *body, uint32_t body_bytes, void *answer,
                           uint32_t *size)
{
    struct control_header header;
    size_t none = 0;
    uint64_t end_ns = now_ns() + PEER_TIMEOUT_NS;
    sublet_status status = send_frame(fd, type, body, body_bytes, end_ns);
    if (status == SUBLET_OK)
        status = fds_receive(fd, &header, sizeof(header), NULL, 0, &none, end_ns);
    if (status != SUBLET_OK)
        return status;
    if (header.magic != CONTROL_MAGIC || header.type != type || header.size > *size)
        return SUBLET_ERR_INVALID;
    *size = header.size;
    if (header.size > 0)
        status = fds_receive(fd, answer, header.size, NULL, 0, &none, end_ns);
    return status == SUBLET_OK ? (sublet_status)header.status : status;
}

sublet_status peer_load(int fd, const char *path, uint32_t *library_out)
{
    struct stat info;
    uint32_t size = sizeof(*library_out);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return SUBLET_ERR_NOT_FOUND;
    sublet_status status = SUBLET_ERR_SYSTEM;
    void *bytes = MAP_FAILED;
    if (fstat(file, &info) == 0)
        bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (bytes == MAP_FAILED)
        return status;
    status = peer_request(fd, CONTROL_LOAD, bytes, (uint32_t)info.st_size, library_out, &size);
    munmap(bytes, (size_t)info.st_size);
    return status;
}

sublet_status peer_resolve(int fd, uint32_t library, const char *name, uint32_t *function_out)
{
    char body[sizeof(library) + CONTROL_NAME_MAX];
    uint32_t size = sizeof(*function_out);
    size_t length = strlen(name);
    if (length > CONTROL_NAME_MAX)
        return SUBLET_ERR_INVALID;
    memcpy(body, &library, sizeof(library));
    memcpy(body + sizeof(library), name, length);
    return peer_request(fd, CONTROL_RESOLVE, body, (uint32_t)(sizeof(library) + length), function_out, &size);
}

sublet_status peer_wait(struct ring *ring, uint32_t slot, uint64_t timeout_ns, uint32_t *size_out)
{
    sublet_status status = SUBLET_OK;
    uint64_t end_ns = now_ns() + timeout_ns;
    for (uint32_t spin = 0; spin < 2000; spin++) {
        if (ring_test(ring, slot, &status, size_out))
            return status;
        ring_relax();
    }
    do {
        if (ring_test(ring, slot, &status, size_out))
            return status;
        ring_sleep(ring, slot, 50000000);
    } while (now_ns() < end_ns);
    return ring_test(ring, slot, &status, size_out) ? status : SUBLET_ERR_LOST;
}

sublet_status peer_call(struct ring *ring, uint32_t function, const void *in, uint32_t in_bytes, void *out,
                        uint32_t out_bytes, uint32_t *size_out)
{
    uint32_t slot, size = 0;
    sublet_status status = ring_acquire(ring, &slot);
    if (status != SUBLET_OK)
        return status;
    if (in_bytes > 0 && in_bytes <= ring->header.in_bytes)
        memcpy(ring_in(ring, slot), in, in_bytes);
    status = ring_submit(ring, slot, function, in_bytes, out_bytes, 0);
    if (status == SUBLET_OK)
        status = peer_wait(ring, slot, PEER_TIMEOUT_NS, &size);
    if (status == SUBLET_OK && size <= out_bytes) {
        if (size > 0)
            memcpy(out, ring_out(ring, slot), size);
        *size_out = size;
    }
    ring_release(ring, slot);
    return status;
}

int peer_stream(const struct executor *executor, enum stream_role role, uint32_t worker, uint32_t connection,
                uint32_t in_bytes, uint32_t out_bytes, sublet_status *status_out)
{
    struct stream_hello hello = {.magic = STREAM_MAGIC,
                                 .version = STREAM_VERSION,
                                 .role = (uint16_t)role,
                                 .worker = worker,
                                 .in_bytes = in_bytes,
                                 .out_bytes = out_bytes,
                                 .connection = connection};
    struct stream_welcome welcome;
    size_t none = 0;
    uint64_t end_ns = now_ns() + PEER_TIMEOUT_NS;
    memcpy(hello.token, executor->token, sizeof(hello.token));
    int fd = peer_connect_tcp(executor);
    *status_out = fd < 0 ? SUBLET_ERR_LOST : fds_send(fd, &hello, sizeof(hello), NULL, 0, end_ns);
    if (*status_out == SUBLET_OK)
        *status_out = fds_receive(fd, &welcome, sizeof(welcome), NULL, 0, &none, end_ns);
    if (*status_out == SUBLET_OK)
        *status_out = stream_welcome_check(&welcome);
    if (*status_out == SUBLET_OK)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

sublet_status peer_stream_send(int fd, uint32_t sequence, uint32_t function, const void *in, uint64_t in_bytes,
                               uint64_t out_capacity)
{
    struct stream_request request = {.sequence = sequence, .function = function};
    stream_request_set(&request, in_bytes, out_capacity, false);
    unsigned char small[sizeof(request) + 4096];
    uint64_t end_ns = now_ns() + PEER_TIMEOUT_NS;
    memcpy(small, &request, sizeof(request));
    if (in_bytes <= 4096) {
        if (in_bytes > 0)
            memcpy(small + sizeof(request), in, in_bytes);
        return fds_send(fd, small, sizeof(request) + in_bytes, NULL, 0, end_ns);
    }
    sublet_status status = fds_send(fd, small, sizeof(request), NULL, 0, end_ns);
    return status == SUBLET_OK ? fds_send(fd, in, in_bytes, NULL, 0, end_ns) : status;
}

sublet_status peer_stream_receive(int fd, struct stream_response *response, void *out, uint64_t capacity)
{
    size_t none = 0;
    uint64_t end_ns = now_ns() + PEER_TIMEOUT_NS;
    sublet_status status = fds_receive(fd, response, sizeof(*response), NULL, 0, &none, end_ns);
    uint64_t body = status == SUBLET_OK ? stream_response_body(response) : 0;
    if (body > capacity)
        status = SUBLET_ERR_TOO_LARGE;
    return status == SUBLET_OK ? fds_receive(fd, out, body, NULL, 0, &none, end_ns) : status;
}

sublet_status peer_access(int fd, enum stream_operation operation, uint64_t offset, void *bytes, uint32_t size)
{
    static uint32_t sequence;
    struct stream_access access = {
        .sequence = ++sequence, .operation = (uint32_t)operation, .offset = offset, .size = size};
    struct stream_response response;
    uint64_t end_ns = now_ns() + PEER_TIMEOUT_NS;
    sublet_status status = fds_send(fd, &access, sizeof(access), NULL, 0, end_ns);
    if (status == SUBLET_OK && operation == STREAM_PUT)
        status = fds_send(fd, bytes, size, NULL, 0, end_ns);
    if (status == SUBLET_OK)
        status = peer_stream_receive(fd, &response, bytes, operation == STREAM_GET ? size : 0);
    if (status == SUBLET_OK && response.sequence != access.sequence)
        status = SUBLET_ERR_INVALID;
    return status == SUBLET_OK ? (sublet_status)response.status : status;
}
