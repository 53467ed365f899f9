/**
 * Clients that write over a worker's memory by a fabric: the worker lives, and whoever has a connection of its own
 * notices nothing. Clients that die in the middle of it: the same for who calls. The program is also the hostile
 * client, which speaks the wire by itself: fabric_hostile_test ADDRESS TOKEN. Over a provider whose writes land when
 * the worker polls, so that none can change the bytes behind the result of a call that runs (executor/guard.h).
 */
#include "fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fds.h"
#include "fabric/ofi.h"
#include "wire/ofi.h"
#include "wire/ring_layout.h"
#include "wire/stream.h"

#define SLOTS         32u
#define BYTES         256u
#define PATIENCE_NS   UINT64_C(60000000000) /* both ends load libfabric */
#define LOOK_EVERY    1024u                 /* tries, for the end of the connection */
#define SAY_EVERY     200u                  /* answers */
#define HEAD_BYTES    (OFI_WIRE_HEAD - sizeof(struct stream_request))
#define FUNCTION_WORD ((HEAD_BYTES + offsetof(struct stream_request, function)) / sizeof(uint32_t))
#define ANSWER_BYTES  (OFI_WIRE_HEAD - sizeof(struct stream_response))

/** The hostile one. */
static struct {
    int fd;
    struct ofi *ofi;
    struct ofi_memory memory; /* what it sends, then where answers come */
    struct ofi_target worker;
    uint32_t tag; /* the worker's */
    uint32_t sequence;
    uint64_t answers;
    bool probed;
} hostile;

static uint64_t strides(void)
{
    return SLOTS * ofi_stride(BYTES);
}

static int reach(const char *address)
{
    char host[64];
    unsigned port;
    struct sockaddr_in to = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sscanf(address, "%63[^:]:%u", host, &port) != 2 || inet_pton(AF_INET, host, &to.sin_addr) != 1)
        return -1;
    to.sin_port = htons((uint16_t)port);
    return connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 ? fd : -1;
}

/** Its worker is replaced when a client dies in the middle of a call. */
static bool is_over(void)
{
    char byte;
    ssize_t got = recv(hostile.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got >= 0 || (errno != EAGAIN && errno != EINTR);
}

static void poll_worker(void)
{
    uint32_t data[16], count = ofi_poll(hostile.ofi, data, 16);
    for (uint32_t i = 0; i < count; i++) {
        struct stream_response response;
        hostile.probed |= ofi_data_kind(data[i]) == OFI_PROBE;
        if (ofi_data_kind(data[i]) != OFI_CALL || ofi_data_slot(data[i]) >= SLOTS)
            continue;
        memcpy(&response, hostile.memory.base + strides() + ofi_data_slot(data[i]) * ofi_stride(BYTES) + ANSWER_BYTES,
               sizeof(response));
        hostile.sequence = response.sequence; /* what it wrote at random may have been ahead of it */
        if (++hostile.answers % SAY_EVERY == 0)
            (void)!write(STDOUT_FILENO, "x", 1);
    }
}

static sublet_status write_worker(const void *bytes, size_t size, uint64_t offset, uint32_t data)
{
    sublet_status status = SUBLET_ERR_BUSY;
    uint64_t end_ns = now_ns() + PATIENCE_NS;
    for (uint32_t tries = 0; status == SUBLET_ERR_BUSY && now_ns() < end_ns; tries++) {
        if (tries % LOOK_EVERY == LOOK_EVERY - 1 && is_over())
            return SUBLET_ERR_LOST;
        poll_worker();
        status = ofi_write_data(hostile.ofi, &hostile.memory, bytes, size, &hostile.worker, offset, data);
    }
    return status;
}

static bool introduce(const char *token)
{
    struct {
        struct stream_hello hello;
        struct ofi_offer offer;
    } words = {.hello = {.magic = STREAM_MAGIC, .version = STREAM_VERSION, .role = STREAM_FABRIC, .connection = 7},
               .offer = {.magic = OFI_WIRE_MAGIC,
                         .version = OFI_WIRE_VERSION,
                         .tag = 1,
                         .slots = SLOTS,
                         .in_bytes = BYTES,
                         .out_bytes = BYTES,
                         .address = hostile.memory.address + strides(),
                         .key = hostile.memory.key}};
    struct {
        struct stream_welcome welcome;
        struct ofi_offer offer;
    } answer;
    uint32_t name_bytes;
    size_t none;
    for (uint32_t i = 0; i < CONTROL_TOKEN_BYTES; i++)
        if (sscanf(token + 2 * i, "%2hhx", &words.hello.token[i]) != 1)
            return false;
    memcpy(words.offer.provider, ofi_provider(hostile.ofi), strlen(ofi_provider(hostile.ofi)));
    if (ofi_name(hostile.ofi, words.offer.name, sizeof(words.offer.name), &name_bytes) != SUBLET_OK)
        return false;
    words.offer.name_bytes = (uint16_t)name_bytes;
    uint64_t end_ns = now_ns() + PATIENCE_NS;
    if (fds_send(hostile.fd, &words, sizeof(words), NULL, 0, end_ns) != SUBLET_OK ||
        fds_receive(hostile.fd, &answer, sizeof(answer), NULL, 0, &none, end_ns) != SUBLET_OK ||
        ofi_offer_check(&answer.offer) != SUBLET_OK ||
        ofi_peer_add(hostile.ofi, answer.offer.name, answer.offer.name_bytes, SLOTS + 1, &hostile.worker.peer) !=
            SUBLET_OK)
        return false;
    hostile.worker.address = answer.offer.address;
    hostile.worker.key = answer.offer.key;
    hostile.tag = answer.offer.tag;
    if (write_worker(hostile.memory.base, 0, 0, ofi_data(OFI_PROBE, hostile.tag, 0)) != SUBLET_OK)
        return false;
    while (!hostile.probed && !is_over() && now_ns() < end_ns)
        poll_worker();
    return hostile.probed;
}

/** A right request of a function that takes anything, or one that asks for too much of something, or for another. */
static sublet_status call(uint64_t x)
{
    uint32_t slot = (uint32_t)(x >> 8) % SLOTS;
    unsigned char *bytes = hostile.memory.base + slot * ofi_stride(BYTES) + HEAD_BYTES;
    struct stream_request request = {.sequence = ++hostile.sequence, .function = (x >> 16 & 1) != 0 ? 77 : 0};
    uint32_t size = (uint32_t)(x >> 20) % (BYTES + 2), room = (uint32_t)(x >> 32) % (BYTES + 2);
    stream_request_set(&request, size, room, false);
    if ((x >> 60 & 7) == 0)
        request.size_high = 1;
    if ((x >> 60 & 7) == 1)
        request.out_capacity = UINT32_MAX;
    memcpy(bytes, &request, sizeof(request));
    return write_worker(bytes, sizeof(request) + (size < BYTES ? size : BYTES), slot * ofi_stride(BYTES) + HEAD_BYTES,
                        ofi_data(OFI_CALL, hostile.tag, slot));
}

/** Any bytes at any place of its memory at the worker, with any number. */
static sublet_status scribble(uint64_t x)
{
    uint64_t size = x >> 8 & 255, offset = (x >> 16) % (2 * strides() - size);
    unsigned char *bytes = hostile.memory.base + (x >> 32) % (strides() - size);
    uint32_t data = (uint32_t)(x >> 24);
    for (uint64_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)(x >> i % 8 * 8);
        if ((offset + i) % ofi_stride(BYTES) / sizeof(uint32_t) == FUNCTION_WORD)
            bytes[i] |= 0x80; /* none that writes past its result because it was asked to */
    }
    if ((x & 4) != 0) /* else one that may well be another's */
        data = ofi_data((enum ofi_kind)(x >> 40 & 3), hostile.tag, (uint32_t)(x >> 44) & 63);
    else if ((x & 8) != 0)
        data = ofi_data(OFI_CALL, (uint32_t)(x >> 40) % 256, (uint32_t)(x >> 50) & 63);
    return write_worker(bytes, size, offset, data);
}

static int play(const char *address, const char *token)
{
    char own[OFI_ADDRESS_MAX];
    uint64_t x = 88172645463325252u ^ (uint64_t)getpid() << 32;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    fcntl(STDOUT_FILENO, F_SETFL, O_NONBLOCK);
    void *memory = mmap(NULL, 2 * strides(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    hostile.fd = reach(address);
    struct ofi_settings settings = {.provider = ofi_wanted_provider(),
                                    .address = ofi_own_address(hostile.fd, own, sizeof(own)),
                                    .completions = 2 * SLOTS,
                                    .connects = OFI_CONNECTS};
    if (memory == MAP_FAILED || hostile.fd < 0 || ofi_open(&settings, &hostile.ofi) != SUBLET_OK ||
        ofi_register(hostile.ofi, memory, 2 * strides(), false, &hostile.memory) != SUBLET_OK || !introduce(token))
        return fprintf(stderr, "the hostile client did not get in\n"), 1;
    for (sublet_status status = SUBLET_OK; status == SUBLET_OK;) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        status = (x & 3) != 0 ? call(x) : scribble(x);
    }
    return fprintf(stderr, "the hostile client was cut off after %llu answers\n", (unsigned long long)hostile.answers),
           1;
}

struct client {
    pid_t pid;
    int said; /* a byte for so many answers */
};

/** False: it was cut off before it said anything more. */
static bool hear(const struct client *client)
{
    char byte;
    struct pollfd entry = {.fd = client->said, .events = POLLIN};
    assert_int_equal(poll(&entry, 1, (int)(PATIENCE_NS / 1000000)), 1);
    return read(client->said, &byte, 1) == 1;
}

static struct client start_client_once(struct fixture *fixture)
{
    const struct grant *grant = &fixture->executors[0].grant;
    char token[2 * sizeof(grant->token) + 1];
    int said[2];
    for (size_t i = 0; i < sizeof(grant->token); i++)
        snprintf(token + 2 * i, 3, "%02x", grant->token[i]);
    assert_int_equal(pipe2(said, O_CLOEXEC), 0);
    struct client client = {.pid = fork(), .said = said[0]};
    if (client.pid == 0) {
        dup2(said[1], STDOUT_FILENO);
        execl("/proc/self/exe", "fabric_hostile_test", grant->tcp_address, token, (char *)NULL);
        _exit(127);
    }
    close(said[1]);
    return client;
}

/** Starts a hostile client of the fixture's first executor and waits until the worker has answered to it. */
static struct client start_client(struct fixture *fixture)
{
    for (int tries = 0; tries < 10; tries++) {
        struct client client = start_client_once(fixture);
        if (hear(&client))
            return client;
        assert_int_equal(waitpid(client.pid, NULL, 0), client.pid);
        close(client.said);
    }
    fail_msg("no client gets in");
    return (struct client){0};
}

static void kill_client(const struct client *client)
{
    kill(client->pid, SIGKILL);
    assert_int_equal(waitpid(client->pid, NULL, 0), client->pid);
    close(client->said);
}

static void call_it(struct fixture *fixture, const char *name, const void *in, size_t size, void *out, size_t room)
{
    size_t got = 0;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.flags = SUBLET_CALL_NO_LOCAL;
    assert_int_equal(sublet_invoke(fixture->session, function_of(fixture, name), in, size, out, room, &got, &options),
                     SUBLET_OK);
    assert_int_equal(got, room);
}

static void assert_calls_work(struct fixture *fixture, uint64_t value)
{
    uint64_t out = 0;
    call_it(fixture, "echo", &value, sizeof(value), &out, sizeof(out));
    assert_int_equal(out, value);
}

static pid_t worker_of(struct fixture *fixture)
{
    pid_t worker = 0;
    call_it(fixture, "where", NULL, 0, &worker, sizeof(worker));
    return worker;
}

static uint64_t call_for(struct fixture *fixture, uint64_t duration_ns)
{
    uint64_t calls = 0;
    for (uint64_t end_ns = time_ns() + duration_ns; time_ns() < end_ns; calls++)
        assert_calls_work(fixture, calls * 0x9e3779b97f4a7c15u);
    return calls;
}

static void lease_over_fabric(struct fixture *fixture)
{
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    fixture_function(fixture, "1", true);
    assert_int_equal(sublet_lease_info_get(lease_of(fixture, 1, 4), &info), SUBLET_OK);
    assert_string_equal(info.path, getenv("SUBLET_FABRIC_PROVIDER"));
    call_it(fixture, "empty", NULL, 0, NULL, 0); /* function 0: what the hostile one calls */
    assert_calls_work(fixture, 1);
}

static void a_client_that_scribbles_harms_nobody_else(void **state)
{
    struct fixture *fixture = *state;
    lease_over_fabric(fixture);
    pid_t worker = worker_of(fixture);
    struct client client = start_client(fixture);
    assert_true(call_for(fixture, 2500000000u) > 10);
    kill(client.pid, SIGSTOP); /* with whatever is on its way to it */
    assert_true(call_for(fixture, 1000000000u) > 10);
    kill(client.pid, SIGCONT);
    assert_true(hear(&client)); /* it was at it until now, and was answered */
    assert_int_equal(worker_of(fixture), worker);
    kill_client(&client);
    assert_calls_work(fixture, 2);
}

static void clients_killed_at_any_instant(void **state)
{
    struct fixture *fixture = *state;
    uint32_t x = 7;
    lease_over_fabric(fixture);
    for (uint64_t round = 0; round < 6; round++) {
        struct client client = start_client(fixture);
        x = x * 1103515245 + 12345;
        struct timespec nap = {.tv_nsec = (long)(x % 3000000)};
        nanosleep(&nap, NULL);
        kill_client(&client);
        assert_calls_work(fixture, round);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_start, fixture_stop)

int main(int count, char **arguments)
{
    if (count == 3)
        return play(arguments[1], arguments[2]);
    if (getenv("SUBLET_FABRIC_PROVIDER") == NULL)
        return fprintf(stderr, "SUBLET_FABRIC_PROVIDER must name one\n"), 2;
    fixture_timeout_ms = 30000; /* the library is loaded by all of them */
    const struct CMUnitTest tests[] = {
        TEST(a_client_that_scribbles_harms_nobody_else),
        TEST(clients_killed_at_any_instant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
