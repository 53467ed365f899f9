#include "fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t time_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint32_t fixture_timeout_ms = 3000;

int fixture_start(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    char path[100];
    snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/sublet-client-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    snprintf(path, sizeof(path), "%s/agent.sock", fixture->folder);
    fixture->agent = fake_agent_start(path);
    fixture->spin_us = 50;
    sublet_options options = SUBLET_OPTIONS_INIT;
    options.agent_socket = path;
    options.timeout_ms = fixture_timeout_ms;
    assert_int_equal(sublet_open(&options, &fixture->session), SUBLET_OK);
    assert_int_equal(sublet_library_open(fixture->session, FUNCTIONS, &fixture->library), SUBLET_OK);
    *state = fixture;
    return 0;
}

int fixture_stop(void **state)
{
    struct fixture *fixture = *state;
    sublet_close(fixture->session);
    fake_agent_stop(fixture->agent);
    for (uint32_t i = 0; i < fixture->executor_count; i++)
        executor_kill(&fixture->executors[i]);
    int left = rmdir(fixture->folder);
    free(fixture);
    return left; /* something was left behind */
}

static int listen_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

static int listen_tcp(const char *host, char *text, size_t size)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(host)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    snprintf(text, size, "%s:%u", host, ntohs(address.sin_port));
    return fd;
}

/** In the child: moves the four descriptors to 3 to 6, past each other. */
static void become_executor(int fds[4])
{
    int high[4];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < 4; i++)
        high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 100);
    for (int i = 0; i < 4; i++)
        if (dup2(high[i], 3 + i) < 0)
            _exit(126);
    execl(EXECUTOR, EXECUTOR, (char *)NULL);
    _exit(127);
}

static void spawn(struct executor *executor, const char *config, int unix_fd, int tcp_fd)
{
    int config_pipe[2], ready_pipe[2];
    assert_int_equal(pipe2(config_pipe, O_CLOEXEC), 0);
    assert_int_equal(pipe2(ready_pipe, O_CLOEXEC), 0);
    assert_int_equal(write(config_pipe[1], config, strlen(config)), strlen(config));
    close(config_pipe[1]);
    int fds[4] = {unix_fd, tcp_fd, config_pipe[0], ready_pipe[1]};
    executor->pid = fork();
    assert_true(executor->pid >= 0);
    if (executor->pid == 0)
        become_executor(fds);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    struct pollfd entry = {.fd = ready_pipe[0], .events = POLLIN};
    char ready = 0;
    assert_int_equal(poll(&entry, 1, 10000), 1);
    assert_int_equal(read(ready_pipe[0], &ready, 1), 1);
    assert_int_equal(ready, 'R');
    close(ready_pipe[0]);
}

static struct executor *start(struct fixture *fixture, const char *kind, const char *cores, uint64_t memory,
                              bool over_tcp)
{
    uint32_t number = fixture->executor_count++;
    struct executor made = {0}, *executor = &fixture->executors[number];
    struct grant *grant = &made.grant;
    char config[1024], token[65];
    assert_true(number < sizeof(fixture->executors) / sizeof(fixture->executors[0]));
    snprintf(grant->id, sizeof(grant->id), "lease-%u", number);
    snprintf(grant->node, sizeof(grant->node), "node-%u", number);
    snprintf(made.unix_path, sizeof(made.unix_path), "%s/%u.sock", fixture->folder, number);
    for (uint32_t i = 0; i < 32; i++) {
        grant->token[i] = (uint8_t)(i * 7 + number + 1);
        snprintf(token + 2 * i, 3, "%02x", grant->token[i]);
    }
    grant->term_ms = 60000;
    int unix_fd = listen_unix(made.unix_path);
    const char *host = fixture->host != NULL ? fixture->host : "127.0.0.1";
    int tcp_fd = listen_tcp(host, grant->tcp_address, sizeof(grant->tcp_address));
    if (!over_tcp)
        snprintf(grant->unix_path, sizeof(grant->unix_path), "%s", made.unix_path);
    snprintf(config, sizeof(config), "kind=%s\nlease=%s\n%s%s%sowner=%u\nmemory=%llu\ntoken=%s\nspin_us=%u\n", kind,
             grant->id, cores[0] == '\0' ? "" : "cores=", cores, cores[0] == '\0' ? "" : "\n", getuid(),
             (unsigned long long)memory, token, fixture->spin_us);
    const char *provider = getenv("SUBLET_FABRIC_PROVIDER");
    if (provider != NULL && strcmp(kind, "region") == 0)
        snprintf(config + strlen(config), sizeof(config) - strlen(config), "fabric=%s\n", provider);
    spawn(&made, config, unix_fd, tcp_fd);
    *executor = made;
    fake_agent_offer(fixture->agent, &executor->grant);
    return executor;
}

struct executor *fixture_function(struct fixture *fixture, const char *cores, bool over_tcp)
{
    return start(fixture, "function", cores, fixture->memory_bytes != 0 ? fixture->memory_bytes : UINT64_C(64) << 20,
                 over_tcp);
}

struct executor *fixture_region(struct fixture *fixture, uint64_t bytes, bool over_tcp)
{
    return start(fixture, "region", "", bytes, over_tcp);
}

void executor_kill(struct executor *executor)
{
    if (executor->pid <= 0)
        return;
    kill(executor->pid, SIGKILL);
    waitpid(executor->pid, NULL, 0);
    executor->pid = 0;
    unlink(executor->unix_path);
}

sublet_function_ref *function_of(struct fixture *fixture, const char *name)
{
    sublet_function_ref *function = NULL;
    assert_int_equal(sublet_function_find(fixture->library, name, &function), SUBLET_OK);
    return function;
}

sublet_lease *lease_of(struct fixture *fixture, uint32_t cores, uint32_t slots)
{
    sublet_lease_options options = SUBLET_LEASE_OPTIONS_INIT;
    sublet_lease *lease = NULL;
    options.cores = cores;
    options.slots = slots;
    sublet_status status = sublet_lease_acquire(fixture->session, &options, &lease);
    if (status != SUBLET_OK)
        fail_msg("%s: %s", sublet_status_text(status), sublet_last_error());
    return lease;
}

sublet_lease_info wait_state(const sublet_lease *lease, sublet_lease_state state)
{
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    uint64_t end_ns = time_ns() + 5000000000u;
    do {
        assert_int_equal(sublet_lease_info_get(lease, &info), SUBLET_OK);
        if (info.state == state)
            return info;
        poll(NULL, 0, 1);
    } while (time_ns() < end_ns);
    fail_msg("lease %s is in state %d, not %d: %s", info.id, info.state, state, info.reason);
    return info;
}
