/**
 * Executors of earlier releases, as a client meets them that wants an endpoint per peer: they know no such role of a
 * connection, or no such provider, or (regions, for a while) answer with the endpoint of ofi_rxm that they have. Calls
 * and regions go over TCP then. The executor is today's; a relay before it does as the earlier one did with what is of
 * a fabric, and hands on the rest.
 */
#include "fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fabric/ofi.h"
#include "wire/ofi.h"
#include "wire/stream.h"

#define BYTES    (UINT64_C(4) << 20)
#define PROVIDER "tcp;msg"     /* as verbs;msg, without an adapter */
#define RXM      "tcp;ofi_rxm" /* what a listener without connections of its own made of it */

enum older { NO_ROLE, NO_PROVIDER, ANSWERS_BY_RXM };

/** Of the test and the relay's processes. */
struct shared {
    _Atomic int older;
    struct sockaddr_in executor;
    _Atomic uint32_t hellos; /* for a fabric */
    _Atomic uint32_t offers; /* for PROVIDER */
};

static struct shared *shared;
static pid_t relay;
static char relay_address[64];

static bool read_all(int fd, void *bytes, size_t size)
{
    return recv(fd, bytes, size, MSG_WAITALL) == (ssize_t)size;
}

static bool write_all(int fd, const void *bytes, size_t size)
{
    return send(fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size;
}

/** Until one side ends. */
static void hand_on(int a, int b)
{
    static char bytes[1 << 16];
    struct pollfd ends[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
    while (poll(ends, 2, -1) > 0)
        for (int i = 0; i < 2; i++) {
            ssize_t got = ends[i].revents != 0 ? recv(ends[i].fd, bytes, sizeof(bytes), 0) : 0;
            if (ends[i].revents != 0 && (got <= 0 || !write_all(ends[1 - i].fd, bytes, (size_t)got)))
                return;
        }
}

/** Offers in turn, as one who took the client's provider for its own did; the client will not get in. */
static void answer_by_rxm(int client, const struct ofi_offer *offer)
{
    static char memory[4096] __attribute__((aligned(4096)));
    struct ofi_settings settings = {.provider = RXM, .address = "127.0.0.1", .completions = 64};
    struct ofi_offer answer = *offer;
    struct ofi_memory region;
    uint32_t name_bytes = 0;
    struct ofi *ofi;
    if (ofi_open(&settings, &ofi) != SUBLET_OK ||
        ofi_register(ofi, memory, sizeof(memory), true, &region) != SUBLET_OK ||
        ofi_name(ofi, answer.name, sizeof(answer.name), &name_bytes) != SUBLET_OK)
        return;
    answer.name_bytes = (uint16_t)name_bytes;
    answer.address = region.address;
    answer.key = region.key;
    struct pollfd end = {.fd = client, .events = POLLIN};
    if (write_all(client, &answer, sizeof(answer)))
        while (poll(&end, 1, 1) == 0)
            ofi_progress(ofi);
}

static void serve(int client)
{
    struct stream_hello hello;
    struct stream_welcome welcome;
    struct ofi_offer offer;
    int executor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), older = atomic_load(&shared->older);
    if (!read_all(client, &hello, sizeof(hello)))
        return;
    bool fabric = hello.role == STREAM_FABRIC || hello.role == STREAM_REGION_FABRIC;
    if (fabric)
        atomic_fetch_add(&shared->hellos, 1);
    if ((fabric && older == NO_ROLE) ||
        connect(executor, (struct sockaddr *)&shared->executor, sizeof(shared->executor)) != 0 ||
        !write_all(executor, &hello, sizeof(hello)) || !read_all(executor, &welcome, sizeof(welcome)))
        return;
    welcome.features &= older == NO_ROLE       ? STREAM_FEATURE_ACCESS
                        : older == NO_PROVIDER ? STREAM_FEATURE_ACCESS | STREAM_FEATURE_TRACE | STREAM_FEATURE_FABRIC
                                               : UINT32_MAX;
    if (!write_all(client, &welcome, sizeof(welcome)))
        return;
    if (!fabric)
        hand_on(client, executor);
    else if (read_all(client, &offer, sizeof(offer))) {
        atomic_fetch_add(&shared->offers, strcmp(offer.provider, PROVIDER) == 0);
        if (older == ANSWERS_BY_RXM)
            answer_by_rxm(client, &offer);
    }
}

/** A process per connection: nothing of a fabric is closed in this one. */
_Noreturn static void run_relay(int listener)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0)
            _exit(1);
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            close(listener);
            serve(client);
            _exit(0);
        }
        close(client);
    }
}

/** The relay first: it is to have none of the session's threads. */
static int start(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 16), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    snprintf(relay_address, sizeof(relay_address), "127.0.0.1:%u", ntohs(address.sin_port));
    memset(shared, 0, sizeof(*shared));
    relay = fork();
    if (relay == 0)
        run_relay(listener);
    close(listener);
    return fixture_start(state);
}

static int stop(void **state)
{
    int left = fixture_stop(state);
    kill(relay, SIGKILL);
    waitpid(relay, NULL, 0);
    return left;
}

/** The next lease is of this executor, as the earlier one would serve it. */
static void offer_as(struct fixture *fixture, const struct executor *executor, enum older older)
{
    struct grant grant = executor->grant;
    char host[64];
    snprintf(host, sizeof(host), "%s", grant.tcp_address);
    char *port = strchr(host, ':');
    *port++ = '\0';
    shared->executor = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    inet_pton(AF_INET, host, &shared->executor.sin_addr);
    atomic_store(&shared->older, older);
    snprintf(grant.id, sizeof(grant.id), "older-%d", (int)older);
    snprintf(grant.tcp_address, sizeof(grant.tcp_address), "%s", relay_address);
    fake_agent_offer(fixture->agent, &grant);
}

static void expect_path(const sublet_lease_info *info, const char *path, uint64_t falls)
{
    assert_string_equal(info->path, path);
    assert_int_equal(info->fabric_falls, falls);
}

static void call_all(struct fixture *fixture, sublet_lease *lease)
{
    static char in[300001], out[300001];
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    size_t got;
    options.flags = SUBLET_CALL_NO_LOCAL;
    options.lease = lease;
    for (size_t size = 1; size <= sizeof(in); size = size * 3 + 1) {
        memset(in, (int)size, size);
        memset(out, 0, size);
        assert_int_equal(
            sublet_invoke(fixture->session, function_of(fixture, "echo"), in, size, out, sizeof(out), &got, &options),
            SUBLET_OK);
        assert_int_equal(got, size);
        assert_memory_equal(in, out, size);
    }
}

static void calls_go_over_tcp(void **state)
{
    struct fixture *fixture = *state;
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    struct executor *executor = fixture_function(fixture, "1", true);
    sublet_lease *lease = lease_of(fixture, 1, 4);
    sublet_lease_info_get(lease, &info);
    expect_path(&info, PROVIDER, 0); /* this executor would */
    call_all(fixture, lease);
    for (enum older older = NO_ROLE; older <= NO_PROVIDER; older++) {
        offer_as(fixture, executor, older);
        lease = lease_of(fixture, 1, 4);
        sublet_lease_info_get(lease, &info);
        expect_path(&info, "tcp", 1);
        assert_int_equal(atomic_load(&shared->hellos), older + 1);
        assert_int_equal(atomic_load(&shared->offers), older == NO_ROLE ? 0 : 1);
        call_all(fixture, lease);
    }
}

static void regions_go_over_tcp(void **state)
{
    static const uint32_t hellos[] = {0, 1, 2}, falls[] = {0, 1, 1}; /* the first says that it has no fabric */
    struct fixture *fixture = *state;
    static uint64_t in[40000], out[40000];
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    sublet_region *region, *twin;
    struct executor *executor = fixture_region(fixture, BYTES, true);
    assert_int_equal(sublet_region_alloc(fixture->session, BYTES, NULL, &twin), SUBLET_OK);
    sublet_region_info_get(twin, &info);
    expect_path(&info, PROVIDER, 0);
    for (enum older older = NO_ROLE; older <= ANSWERS_BY_RXM; older++) {
        offer_as(fixture, executor, older);
        if (sublet_region_alloc(fixture->session, BYTES, NULL, &region) != SUBLET_OK)
            fail_msg("older %d: %s", (int)older, sublet_last_error());
        sublet_region_info_get(region, &info);
        expect_path(&info, "tcp", falls[older]);
        assert_int_equal(atomic_load(&shared->hellos), hellos[older]);
        assert_int_equal(atomic_load(&shared->offers), hellos[older]);
        for (uint64_t i = 0; i < 40000; i++)
            in[i] = i * 0x9e3779b97f4a7c15u + older;
        assert_int_equal(sublet_region_put(region, 4096, in, sizeof(in)), SUBLET_OK);
        assert_int_equal(sublet_region_get(twin, 4096, out, sizeof(out)), SUBLET_OK);
        assert_memory_equal(in, out, sizeof(in));
        uint64_t before = 0;
        assert_int_equal(sublet_region_fetch_add(region, 4096, 5, &before), SUBLET_OK);
        assert_true(before == in[0]);
        assert_int_equal(sublet_region_get(region, 4096, out, 8), SUBLET_OK);
        assert_true(out[0] == in[0] + 5);
        sublet_region_info_get(region, &info);
        expect_path(&info, "tcp", falls[older]);
    }
}

int main(void)
{
    setenv("SUBLET_FABRIC_PROVIDER", PROVIDER, 1);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fixture_timeout_ms = 30000; /* the library is loaded by all of them */
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(calls_go_over_tcp),
        TEST(regions_go_over_tcp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
