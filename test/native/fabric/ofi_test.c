/** Two endpoints in one process (and one whose owner sleeps): what arrives, what does not, and when a key is dead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fds.h"
#include "fabric/ofi.h"

#define BYTES   (1u << 20)
#define WAIT_NS UINT64_C(30000000000) /* libfabric may take seconds to load in an emulated machine */

struct side {
    struct ofi *ofi;
    struct ofi_memory memory;
    struct ofi_target other;
};

static const char *provider(void)
{
    return ofi_wanted_provider() == NULL ? "net" : ofi_wanted_provider();
}

static void *pages(void)
{
    void *base = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(base, MAP_FAILED);
    return base;
}

static bool plain; /* data in messages */

static void open_side(struct side *side, enum ofi_connects connects)
{
    struct ofi_settings settings = {
        .provider = provider(), .address = getenv("SUBLET_TEST_ADDRESS"), .plain = plain, .connects = connects};
    assert_int_equal(ofi_open(&settings, &side->ofi), SUBLET_OK);
    assert_int_equal(ofi_is_plain(side->ofi), plain);
    if (!plain)
        assert_string_equal(ofi_provider(side->ofi), provider());
    assert_int_equal(ofi_register(side->ofi, pages(), BYTES, true, &side->memory), SUBLET_OK);
}

static void meet(struct side *side, const struct side *with)
{
    unsigned char name[OFI_NAME_MAX];
    uint32_t size;
    assert_int_equal(ofi_name(with->ofi, name, sizeof(name), &size), SUBLET_OK);
    assert_int_equal(ofi_peer_add(side->ofi, name, size, 16, &side->other.peer), SUBLET_OK);
    side->other.address = with->memory.address;
    side->other.key = with->memory.key;
}

static void close_side(struct side *side)
{
    void *base = side->memory.base;
    ofi_unregister(&side->memory);
    ofi_close(side->ofi);
    munmap(base, BYTES);
}

static void open_both(struct side *both)
{
    open_side(&both[0], OFI_CONNECTS);
    open_side(&both[1], OFI_LISTENS);
    meet(&both[1], &both[0]);
    meet(&both[0], &both[1]);
}

/** Sends, and polls both sides until it arrives; false when it does not. */
static bool arrives(struct side *from, struct side *to, size_t size, uint64_t offset, uint32_t data, uint64_t wait_ns)
{
    uint32_t got = 0, none;
    uint64_t end_ns = now_ns() + wait_ns;
    sublet_status sent = SUBLET_ERR_BUSY;
    while (now_ns() < end_ns) {
        if (sent == SUBLET_ERR_BUSY)
            sent = ofi_write_data(from->ofi, &from->memory, from->memory.base, size, &from->other, offset, data);
        if (sent != SUBLET_OK && sent != SUBLET_ERR_BUSY)
            return false;
        assert_int_equal(ofi_poll(from->ofi, &none, 1), 0);
        if (ofi_poll(to->ofi, &got, 1) == 1) {
            assert_int_equal(got, data);
            return true;
        }
    }
    return false;
}

static int finished(struct side *side, struct side *other, _Atomic int *done, uint64_t wait_ns)
{
    uint32_t none;
    for (uint64_t end_ns = now_ns() + wait_ns; atomic_load(done) == 0 && now_ns() < end_ns;) {
        ofi_poll(side->ofi, &none, 1);
        if (other != NULL)
            ofi_poll(other->ofi, &none, 1);
    }
    return atomic_load(done);
}

static int transfer(struct side *side, struct side *other, bool write, size_t size, uint64_t offset, uint64_t wait_ns)
{
    static _Atomic int done; /* a transfer that never ends may still write here */
    sublet_status status = SUBLET_ERR_BUSY;
    atomic_store(&done, 0);
    for (uint64_t end_ns = now_ns() + wait_ns; status == SUBLET_ERR_BUSY && now_ns() < end_ns;) {
        uint32_t none;
        status = write ? ofi_put(side->ofi, &side->memory, side->memory.base, size, &side->other, offset, &done)
                       : ofi_get(side->ofi, &side->memory, side->memory.base, size, &side->other, offset, &done);
        ofi_poll(side->ofi, &none, 1);
        if (other != NULL)
            ofi_poll(other->ofi, &none, 1);
    }
    return status == SUBLET_OK ? finished(side, other, &done, wait_ns) : 2;
}

static void data_arrives_with_its_bytes(void **state)
{
    static const size_t sizes[] = {0, 1, 64, 200, 4096, 300000};
    struct side both[2];
    (void)state;
    open_both(both);
    for (uint32_t round = 0; round < 60; round++) {
        size_t size = sizes[round % 6];
        struct side *from = &both[round / 6 % 2], *to = &both[1 - round / 6 % 2];
        memset(to->memory.base, 0, BYTES);
        memset(from->memory.base, (int)round + 1, size);
        assert_true(arrives(from, to, size, 4096, 0x80000000u + round, WAIT_NS));
        assert_memory_equal(to->memory.base + 4096, from->memory.base, size);
        assert_int_equal(to->memory.base[4096 + size], 0);
    }
    close_side(&both[0]);
    close_side(&both[1]);
}

static void data_arrives_behind_plain_writes(void **state)
{
    plain = true;
    data_arrives_with_its_bytes(state);
    plain = false;
}

static void transfers_end(void **state)
{
    struct side both[2];
    (void)state;
    open_both(both);
    memset(both[1].memory.base, 7, BYTES);
    assert_int_equal(transfer(&both[0], &both[1], false, 100000, 1000, WAIT_NS), 1);
    assert_int_equal(both[0].memory.base[99999], 7);
    memset(both[0].memory.base, 9, 100000);
    assert_int_equal(transfer(&both[0], &both[1], true, 100000, 1000, WAIT_NS), 1);
    assert_int_equal(both[1].memory.base[1000], 9);
    assert_int_equal(both[1].memory.base[100999], 9);
    assert_int_equal(both[1].memory.base[101000], 7);
    close_side(&both[0]);
    close_side(&both[1]);
}

static void a_dead_key_opens_nothing(void **state)
{
    struct side both[2];
    (void)state;
    open_both(both);
    assert_true(arrives(&both[0], &both[1], 64, 0, 1, WAIT_NS));
    unsigned char *base = both[1].memory.base;
    memset(base, 5, BYTES);
    ofi_unregister(&both[1].memory);
    memset(both[0].memory.base, 6, 4096);
    assert_int_not_equal(transfer(&both[0], &both[1], true, 4096, 0, UINT64_C(1000000000)), 1);
    for (uint32_t i = 0; i < BYTES; i++)
        assert_int_equal(base[i], 5);
    close_side(&both[0]);
    ofi_close(both[1].ofi);
    munmap(base, BYTES);
}

/** Opens a side, says so, and never calls the library again. */
static _Noreturn void sleeper(int socket)
{
    struct side side;
    unsigned char name[OFI_NAME_MAX], line[OFI_NAME_MAX + 24] = {0};
    uint32_t size;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct ofi_settings settings = {
        .provider = provider(), .address = getenv("SUBLET_TEST_ADDRESS"), .connects = OFI_LISTENS};
    uint64_t peer, end_ns = now_ns() + WAIT_NS;
    size_t none = 0;
    if (ofi_open(&settings, &side.ofi) != SUBLET_OK ||
        fds_receive(socket, line, sizeof(line), NULL, 0, &none, end_ns) != SUBLET_OK)
        _exit(1);
    memcpy(&size, line + 16, 4);
    memcpy(name, line + 24, sizeof(name));
    if (ofi_register(side.ofi, pages(), BYTES, true, &side.memory) != SUBLET_OK ||
        ofi_peer_add(side.ofi, name, size, 16, &peer) != SUBLET_OK ||
        ofi_name(side.ofi, name, sizeof(name), &size) != SUBLET_OK)
        _exit(1);
    memset(side.memory.base, 3, BYTES);
    memcpy(line, &side.memory.address, 8);
    memcpy(line + 8, &side.memory.key, 8);
    memcpy(line + 16, &size, 4);
    memcpy(line + 24, name, size);
    uint32_t data;
    if (fds_send(socket, line, sizeof(line), NULL, 0, end_ns) != SUBLET_OK)
        _exit(1);
    while (ofi_poll(side.ofi, &data, 1) == 0 && now_ns() < end_ns) {
    } /* the connection is there: asleep from now on */
    if (send(socket, "z", 1, MSG_NOSIGNAL) != 1)
        _exit(1);
    for (;;)
        pause();
}

static void memory_of_a_sleeping_owner_can_be_reached(void **state)
{
    int sockets[2];
    unsigned char name[OFI_NAME_MAX], line[OFI_NAME_MAX + 24] = {0};
    char asleep;
    size_t none = 0;
    uint32_t size, ignored;
    struct side side;
    (void)state;
    if (strncmp(provider(), "verbs", 5) != 0) {
        print_message("skipped: %s moves nothing while the target sleeps; over verbs this runs (npm run test:rdma)\n",
                      provider());
        skip();
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    pid_t pid = fork();
    if (pid == 0)
        sleeper(sockets[1]);
    open_side(&side, OFI_CONNECTS);
    assert_int_equal(ofi_name(side.ofi, name, sizeof(name), &size), SUBLET_OK);
    memcpy(line + 16, &size, 4);
    memcpy(line + 24, name, size);
    assert_int_equal(fds_send(sockets[0], line, sizeof(line), NULL, 0, now_ns() + WAIT_NS), SUBLET_OK);
    assert_int_equal(fds_receive(sockets[0], line, sizeof(line), NULL, 0, &none, now_ns() + WAIT_NS), SUBLET_OK);
    memcpy(&side.other.address, line, 8);
    memcpy(&side.other.key, line + 8, 8);
    memcpy(&size, line + 16, 4);
    assert_int_equal(ofi_peer_add(side.ofi, line + 24, size, 16, &side.other.peer), SUBLET_OK);
    sublet_status sent;
    uint64_t end_ns = now_ns() + WAIT_NS;
    while ((sent = ofi_write_data(side.ofi, &side.memory, side.memory.base, 0, &side.other, 0, 1)) == SUBLET_ERR_BUSY &&
           now_ns() < end_ns)
        ofi_poll(side.ofi, &ignored, 1);
    assert_int_equal(sent, SUBLET_OK);
    struct timeval limit = {.tv_sec = WAIT_NS / 1000000000};
    setsockopt(sockets[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    for (int i = 0; i < 1000; i++)
        ofi_poll(side.ofi, &ignored, 1);
    assert_int_equal(recv(sockets[0], &asleep, 1, 0), 1);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(transfer(&side, NULL, false, 4096, 8192, WAIT_NS), 1);
        assert_int_equal(side.memory.base[4095], i == 0 ? 3 : i - 1);
        memset(side.memory.base, i, 4096);
        assert_int_equal(transfer(&side, NULL, true, 4096, 8192, WAIT_NS), 1);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_not_equal(transfer(&side, NULL, false, 4096, 8192, UINT64_C(3000000000)), 1); /* gone with its owner */
    close_side(&side);
    fds_close(sockets, 2);
}

/** Of tests that are about an endpoint per peer. */
static void needs_connections(void)
{
    if (strstr(provider(), ";msg") != NULL)
        return;
    print_message("skipped: %s has one endpoint for all peers\n", provider());
    skip();
}

static void who_was_not_announced_is_sent_away(void **state)
{
    struct side both[2], stranger;
    uint32_t none;
    sublet_status sent = SUBLET_ERR_BUSY;
    (void)state;
    needs_connections();
    open_both(both);
    open_side(&stranger, OFI_CONNECTS);
    meet(&stranger, &both[1]);
    for (uint64_t end_ns = now_ns() + WAIT_NS; sent == SUBLET_ERR_BUSY && now_ns() < end_ns;) {
        sent = ofi_write_data(stranger.ofi, &stranger.memory, stranger.memory.base, 64, &stranger.other, 0, 7);
        assert_int_equal(ofi_poll(stranger.ofi, &none, 1), 0);
        assert_int_equal(ofi_poll(both[1].ofi, &none, 1), 0);
    }
    assert_int_equal(sent, SUBLET_ERR_LOST);
    assert_true(arrives(&both[0], &both[1], 64, 0, 1, WAIT_NS));
    close_side(&stranger);
    close_side(&both[0]);
    close_side(&both[1]);
}

static void a_slow_peer_gets_all(void **state)
{
    struct side both[2];
    uint32_t sent = 0, got = 0, data;
    (void)state;
    needs_connections();
    open_both(both);
    assert_true(arrives(&both[0], &both[1], 64, 0, 1, WAIT_NS));
    /* It looks at last when there are three times as many on their way as were agreed. */
    for (uint64_t end_ns = now_ns() + WAIT_NS; got < 48 && now_ns() < end_ns;) {
        sublet_status status = sent == 48 ? SUBLET_ERR_BUSY
                                          : ofi_write_data(both[0].ofi, &both[0].memory, both[0].memory.base, 64,
                                                           &both[0].other, 0, 100 + sent);
        assert_true(status == SUBLET_OK || status == SUBLET_ERR_BUSY);
        sent += status == SUBLET_OK;
        ofi_poll(both[0].ofi, &data, 1);
        if (status == SUBLET_ERR_BUSY && ofi_poll(both[1].ofi, &data, 1) == 1)
            assert_int_equal(data, 100 + got++);
    }
    assert_int_equal(got, 48);
    close_side(&both[0]);
    close_side(&both[1]);
}

/** Is there, after what has to be polled, nothing that wakes it? */
static bool sleeps(struct side *side)
{
    struct pollfd entry = {.fd = ofi_fd(side->ofi), .events = POLLIN};
    uint32_t data;
    for (uint32_t tries = 0; tries < 1000; tries++) {
        if (ofi_may_sleep(side->ofi) && poll(&entry, 1, 20) == 0)
            return true;
        assert_int_equal(ofi_poll(side->ofi, &data, 1), 0);
    }
    return false;
}

static void a_peer_that_leaves_is_noticed(void **state)
{
    struct side both[2];
    uint32_t none;
    (void)state;
    needs_connections();
    open_both(both);
    assert_true(arrives(&both[0], &both[1], 64, 0, 1, WAIT_NS));
    assert_true(sleeps(&both[1]));
    assert_false(ofi_peer_is_lost(both[1].ofi, both[1].other.peer));
    ofi_peer_remove(both[0].ofi, both[0].other.peer);
    struct pollfd entry = {.fd = ofi_fd(both[1].ofi), .events = POLLIN};
    assert_true(ofi_may_sleep(both[1].ofi) ? poll(&entry, 1, 10000) == 1 : true);
    for (uint64_t end_ns = now_ns() + WAIT_NS; !ofi_peer_is_lost(both[1].ofi, both[1].other.peer) && now_ns() < end_ns;)
        ofi_poll(both[1].ofi, &none, 1);
    assert_true(ofi_peer_is_lost(both[1].ofi, both[1].other.peer));
    assert_int_equal(ofi_write_data(both[1].ofi, &both[1].memory, both[1].memory.base, 64, &both[1].other, 0, 1),
                     SUBLET_ERR_LOST);
    assert_true(sleeps(&both[1]));
    ofi_peer_remove(both[1].ofi, both[1].other.peer);
    meet(&both[1], &both[0]); /* it may come again */
    meet(&both[0], &both[1]);
    assert_true(arrives(&both[0], &both[1], 64, 0, 2, WAIT_NS));
    close_side(&both[0]);
    close_side(&both[1]);
}

static void names_of_a_family_are_allowed(void **state)
{
    (void)state;
    assert_true(ofi_allows("", "verbs;msg"));
    assert_true(ofi_allows("verbs;ofi_rxm", "verbs;msg"));
    assert_true(ofi_allows("net", "net"));
    assert_false(ofi_allows("verbs;ofi_rxm", "tcp;msg"));
    assert_false(ofi_allows("net", "netx"));
    assert_false(ofi_allows("tcp", ""));
    assert_string_equal(ofi_provider_with_connections("verbs;ofi_rxm"), "verbs;msg");
    assert_string_equal(ofi_provider_with_connections("verbs;msg"), "verbs;msg");
    assert_string_equal(ofi_provider_with_connections("net"), "net");
}

static void what_is_not_there_is_said_so(void **state)
{
    struct ofi *ofi;
    struct ofi_settings settings = {.provider = "sockets"};
    (void)state;
    assert_int_equal(ofi_open(&settings, &ofi), SUBLET_ERR_NOT_FOUND);
    settings.provider = "cxi";
    assert_int_equal(ofi_open(&settings, &ofi), SUBLET_ERR_NOT_FOUND);
}

int main(void)
{
    ofi_keep_nothing();
    const struct CMUnitTest tests[] = {
        /* First: rdma-cm does not survive a fork, so the sleeper must be born before it is used here. */
        cmocka_unit_test(memory_of_a_sleeping_owner_can_be_reached),
        cmocka_unit_test(data_arrives_with_its_bytes),
        cmocka_unit_test(data_arrives_behind_plain_writes),
        cmocka_unit_test(transfers_end),
        cmocka_unit_test(a_dead_key_opens_nothing),
        cmocka_unit_test(who_was_not_announced_is_sent_away),
        cmocka_unit_test(a_slow_peer_gets_all),
        cmocka_unit_test(a_peer_that_leaves_is_noticed),
        cmocka_unit_test(names_of_a_family_are_allowed),
        cmocka_unit_test(what_is_not_there_is_said_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
