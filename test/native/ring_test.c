/** The ring between two processes: answers, sleeping on both sides, and peers that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fabric/ring.h"

static const uint64_t second_ns = 1000000000u;

/** A worker that answers with its input reversed; function 1 ends it. Sleeps when nothing comes. */
static void serve(struct ring *ring, int wake_fd)
{
    for (;;) {
        uint64_t pending = ring_pending(ring);
        while (pending != 0) {
            uint32_t slot = (uint32_t)__builtin_ctzll(pending);
            pending &= pending - 1;
            if (!ring_claim(ring, slot))
                continue;
            struct ring_call call;
            sublet_status status = ring_read(ring, slot, &call);
            uint32_t size = 0;
            if (status == SUBLET_OK && call.size > call.out_capacity)
                status = SUBLET_ERR_TOO_LARGE;
            if (status == SUBLET_OK) {
                for (size = 0; size < call.size; size++)
                    ((unsigned char *)call.out)[size] = ((const unsigned char *)call.in)[call.size - 1 - size];
            }
            ring_answer(ring, slot, call.sequence, status, size);
            if (call.function == 1)
                _exit(0);
        }
        if (!ring_announce_sleep(ring, RING_SLEEP_FD)) {
            struct pollfd fds = {.fd = wake_fd, .events = POLLIN};
            poll(&fds, 1, 5000);
            uint64_t count;
            (void)!read(wake_fd, &count, sizeof(count));
        }
        ring_announce_awake(ring);
    }
}

struct pair {
    struct ring client;
    pid_t worker;
};

static int start_pair(void **state)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int fd = -1;
    struct ring worker;
    assert_int_equal(ring_create(8, 1000, 1000, wake_fd, &worker, &fd), SUBLET_OK);
    assert_int_equal(ring_attach(fd, wake_fd, &pair->client), SUBLET_OK);
    close(fd);
    pair->worker = fork();
    if (pair->worker == 0) {
        alarm(60);
        serve(&worker, wake_fd);
    }
    ring_unmap(&worker);
    *state = pair;
    return 0;
}

static int stop_pair(void **state)
{
    struct pair *pair = *state;
    kill(pair->worker, SIGKILL);
    waitpid(pair->worker, NULL, 0);
    close(pair->client.wake_fd);
    ring_unmap(&pair->client);
    free(pair);
    return 0;
}

static sublet_status wait_answer(struct ring *ring, uint32_t slot, uint32_t *size)
{
    sublet_status status = SUBLET_OK;
    for (int tries = 0; tries < 10; tries++) {
        if (ring_test(ring, slot, &status, size))
            return status;
        ring_sleep(ring, slot, second_ns);
    }
    return SUBLET_ERR_TIMEOUT;
}

static void every_call_is_answered_while_both_sides_sleep(void **state)
{
    struct pair *pair = *state;
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t slot, size = 0;
        assert_int_equal(ring_acquire(&pair->client, &slot), SUBLET_OK);
        memcpy(ring_in(&pair->client, slot), &i, sizeof(i));
        assert_int_equal(ring_submit(&pair->client, slot, 0, sizeof(i), 1000, 0), SUBLET_OK);
        assert_int_equal(wait_answer(&pair->client, slot, &size), SUBLET_OK);
        assert_int_equal(size, sizeof(i));
        assert_int_equal(__builtin_bswap32(*(uint32_t *)ring_out(&pair->client, slot)), i);
        ring_release(&pair->client, slot);
    }
}

static void many_in_flight_and_no_more_than_slots(void **state)
{
    struct pair *pair = *state;
    for (int round = 0; round < 500; round++) {
        uint32_t slots[8], extra, size = 0;
        for (uint32_t i = 0; i < 8; i++) {
            assert_int_equal(ring_acquire(&pair->client, &slots[i]), SUBLET_OK);
            memset(ring_in(&pair->client, slots[i]), (int)i, i);
            assert_int_equal(ring_submit(&pair->client, slots[i], 0, i, 1000, 0), SUBLET_OK);
        }
        assert_int_equal(ring_acquire(&pair->client, &extra), SUBLET_ERR_BUSY);
        for (uint32_t i = 0; i < 8; i++) {
            assert_int_equal(wait_answer(&pair->client, slots[i], &size), SUBLET_OK);
            assert_int_equal(size, i);
            ring_release(&pair->client, slots[i]);
        }
    }
}

static void sizes_are_bounded_on_both_sides(void **state)
{
    struct pair *pair = *state;
    struct ring *client = &pair->client;
    uint32_t slot, size = 0;
    assert_int_equal(ring_acquire(client, &slot), SUBLET_OK);
    assert_int_equal(ring_submit(client, slot, 0, 1025, 0, 0), SUBLET_ERR_TOO_LARGE);
    assert_int_equal(ring_submit(client, slot, 0, 0, 1025, 0), SUBLET_ERR_TOO_LARGE);
    assert_int_equal(ring_submit(client, 8, 0, 0, 0, 0), SUBLET_ERR_INVALID);
    /* A client that lies about its size in the shared line is answered, not believed. */
    client->header.in_bytes = UINT32_MAX;
    assert_int_equal(ring_submit(client, slot, 0, UINT32_MAX - 1, 0, 0), SUBLET_OK);
    assert_int_equal(wait_answer(client, slot, &size), SUBLET_ERR_TOO_LARGE);
}

static void a_worker_that_lies_is_not_believed(void **state)
{
    (void)state;
    struct ring worker, client;
    int fd = -1;
    assert_int_equal(ring_create(1, 64, 64, -1, &worker, &fd), SUBLET_OK);
    assert_int_equal(ring_attach(fd, -1, &client), SUBLET_OK);
    uint32_t slot, size = 1;
    sublet_status status = SUBLET_OK;
    assert_int_equal(ring_acquire(&client, &slot), SUBLET_OK);
    assert_int_equal(ring_submit(&client, slot, 0, 0, 64, 0), SUBLET_OK);
    assert_false(ring_test(&client, slot, &status, &size));
    ring_answer(&worker, slot, client.next_seq[slot], SUBLET_OK, UINT32_MAX);
    assert_true(ring_test(&client, slot, &status, &size));
    assert_int_equal(status, SUBLET_ERR_INVALID);
    assert_int_equal(size, 0);
    ring_answer(&worker, slot, client.next_seq[slot], (sublet_status)9999, 0);
    assert_true(ring_test(&client, slot, &status, &size));
    assert_int_equal(status, SUBLET_ERR_INVALID);
    ring_answer(&worker, slot, client.next_seq[slot], SUBLET_ERR_BUSY, 0);
    assert_true(ring_test(&client, slot, &status, &size));
    assert_int_equal(status, SUBLET_ERR_INVALID);
    ring_unmap(&worker);
    ring_unmap(&client);
    close(fd);
}

static void rings_that_could_fault_are_refused(void **state)
{
    (void)state;
    struct ring ring;
    int open_fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(open_fd, 1 << 20), 0);
    assert_int_equal(ring_attach(open_fd, -1, &ring), SUBLET_ERR_INVALID);
    struct ring_header header;
    assert_int_equal(ring_header_make(4, 4096, 4096, &header), SUBLET_OK);
    header.slot_stride *= 2;
    assert_int_equal((int)write(open_fd, &header, sizeof(header)), (int)sizeof(header));
    assert_int_equal(fcntl(open_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_int_equal(ring_attach(open_fd, -1, &ring), SUBLET_ERR_INVALID);
    close(open_fd);
    assert_int_equal(ring_header_make(0, 0, 0, &header), SUBLET_ERR_INVALID);
    assert_int_equal(ring_header_make(65, 0, 0, &header), SUBLET_ERR_INVALID);
    assert_int_equal(ring_header_make(1, UINT64_MAX, 0, &header), SUBLET_ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_call_is_answered_while_both_sides_sleep, start_pair, stop_pair),
        cmocka_unit_test_setup_teardown(many_in_flight_and_no_more_than_slots, start_pair, stop_pair),
        cmocka_unit_test_setup_teardown(sizes_are_bounded_on_both_sides, start_pair, stop_pair),
        cmocka_unit_test(a_worker_that_lies_is_not_believed),
        cmocka_unit_test(rings_that_could_fault_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
