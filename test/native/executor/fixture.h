/** An executor with the example libraries loaded, one for each test. Include after cmocka.h. */
#ifndef SUBLET_TEST_EXECUTOR_FIXTURE_H
#define SUBLET_TEST_EXECUTOR_FIXTURE_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fds.h"
#include "bench/peer.h"

struct fixture {
    struct executor executor;
    struct peer peer;
    uint32_t echo, empty, crash, exit_now, hang, too_large, fail, fork_bomb, eat_memory, plain_sum;
    uint32_t overflow_stack, overrun, leave_thread, join_thread, fork_return;
};

static inline void fixture_functions(int fd, struct fixture *fixture)
{
    uint32_t echo, faults;
    assert_int_equal(peer_load(fd, LIBRARIES "/libecho.so", &echo), SUBLET_OK);
    assert_int_equal(peer_load(fd, LIBRARIES "/libfaults.so", &faults), SUBLET_OK);
    assert_int_equal(peer_resolve(fd, echo, "echo", &fixture->echo), SUBLET_OK);
    assert_int_equal(peer_resolve(fd, echo, "empty", &fixture->empty), SUBLET_OK);
    assert_int_equal(peer_resolve(fd, faults, "crash", &fixture->crash), SUBLET_OK);
    assert_int_equal(peer_resolve(fd, faults, "exit_now", &fixture->exit_now), SUBLET_OK);
    assert_int_equal(peer_resolve(fd, faults, "hang", &fixture->hang), SUBLET_OK);
    assert_int_equal(peer_resolve(fd, faults, "too_large", &fixture->too_large), SUBLET_OK);
    assert_int_equal(peer_resolve(fd, faults, "fail", &fixture->fail), SUBLET_OK);
    assert_int_equal(peer_resolve(fd, faults, "fork_bomb", &fixture->fork_bomb), SUBLET_OK);
    assert_int_equal(peer_resolve(fd, faults, "eat_memory", &fixture->eat_memory), SUBLET_OK);
    assert_int_equal(peer_resolve(fd, faults, "plain_sum", &fixture->plain_sum), SUBLET_OK);
    assert_int_equal(peer_resolve(fd, faults, "overflow_stack", &fixture->overflow_stack), SUBLET_OK);
    assert_int_equal(peer_resolve(fd, faults, "overrun", &fixture->overrun), SUBLET_OK);
    assert_int_equal(peer_resolve(fd, faults, "leave_thread", &fixture->leave_thread), SUBLET_OK);
    assert_int_equal(peer_resolve(fd, faults, "join_thread", &fixture->join_thread), SUBLET_OK);
    assert_int_equal(peer_resolve(fd, faults, "fork_return", &fixture->fork_return), SUBLET_OK);
}

static inline int fixture_start_with(struct fixture **out, const char *cores, uint64_t address_bytes,
                                     uint64_t memory_bytes)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct executor_settings settings = {.program = EXECUTOR,
                                         .cores = cores,
                                         .memory_bytes = memory_bytes,
                                         .spin_us = 50,
                                         .owner = getuid(),
                                         .address_bytes = address_bytes};
    assert_non_null(fixture);
    assert_int_equal(executor_start(&settings, &fixture->executor), SUBLET_OK);
    assert_int_equal(peer_open(&fixture->executor, 8, 65536, 65536, &fixture->peer), SUBLET_OK);
    fixture_functions(fixture->peer.fd, fixture);
    *out = fixture;
    return 0;
}

static inline int fixture_start(struct fixture **out, const char *cores, uint64_t address_bytes)
{
    return fixture_start_with(out, cores, address_bytes, 0);
}

static inline int fixture_stop(void **state)
{
    struct fixture *fixture = *state;
    peer_close(&fixture->peer);
    executor_stop(&fixture->executor);
    free(fixture);
    return 0;
}

static inline void assert_ring_echoes(struct ring *ring, uint32_t echo)
{
    char out[16] = "";
    uint32_t size = 0;
    assert_int_equal(peer_call(ring, echo, "still here", 11, out, sizeof(out), &size), SUBLET_OK);
    assert_int_equal(size, 11);
    assert_string_equal(out, "still here");
}

#endif
