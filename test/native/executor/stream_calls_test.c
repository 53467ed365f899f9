/** Calls over TCP: results, pipelining, large payloads, failures, and peers that do not play along. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <sys/socket.h>

#include "fixture.h"

static int one_worker(void **state)
{
    return fixture_start((struct fixture **)state, "0", 0);
}

/** Arguments may take 4 MiB of it. */
static int little_lease(void **state)
{
    return fixture_start_with((struct fixture **)state, "0", 0, 8 << 20);
}

/** The same, of two workers. */
static int two_workers(void **state)
{
    return fixture_start_with((struct fixture **)state, "0,1", 0, 8 << 20);
}

static int calls(struct fixture *f, uint32_t connection, uint32_t bytes)
{
    sublet_status status;
    int fd = peer_stream(&f->executor, STREAM_CALLS, 0, connection, bytes, bytes, &status);
    assert_int_equal(status, SUBLET_OK);
    return fd;
}

static sublet_status call(int fd, uint32_t function, uint32_t *flags_out)
{
    static uint32_t sequence = 1000;
    struct stream_response response;
    char out[64];
    assert_int_equal(peer_stream_send(fd, ++sequence, function, "abc", 4, 64), SUBLET_OK);
    assert_int_equal(peer_stream_receive(fd, &response, out, sizeof(out)), SUBLET_OK);
    assert_int_equal(response.sequence, sequence);
    if (response.status == SUBLET_OK)
        assert_string_equal(out, "abc");
    *flags_out = response.flags;
    return (sublet_status)response.status;
}

static void assert_echoes(int fd, uint32_t echo)
{
    uint32_t flags;
    assert_int_equal(call(fd, echo, &flags), SUBLET_OK);
    assert_int_equal(flags, 0);
}

static void assert_closed(int fd)
{
    char byte;
    size_t none = 0;
    assert_int_equal(fds_receive(fd, &byte, 1, NULL, 0, &none, now_ns() + PEER_TIMEOUT_NS), SUBLET_ERR_LOST);
}

static void many_calls_may_be_on_their_way(void **state)
{
    struct fixture *f = *state;
    int fd = calls(f, 1, 65536);
    for (uint32_t round = 0; round < 50; round++) {
        /* All in one piece, of odd sizes, so that most of them are read ahead and lie unaligned. */
        unsigned char batch[32 * 400], out[512];
        size_t at = 0;
        for (uint32_t i = 0; i < 32; i++) {
            struct stream_request request = {.sequence = round * 32 + i + 1,
                                             .function = f->echo,
                                             .size = (i * 37 + round) % 300,
                                             .out_capacity = 400};
            memcpy(batch + at, &request, sizeof(request));
            at += sizeof(request);
            memset(batch + at, (int)(i + round), request.size);
            at += request.size;
        }
        assert_int_equal(fds_send(fd, batch, at, NULL, 0, now_ns() + PEER_TIMEOUT_NS), SUBLET_OK);
        for (uint32_t i = 0; i < 32; i++) {
            struct stream_response response;
            assert_int_equal(peer_stream_receive(fd, &response, out, sizeof(out)), SUBLET_OK);
            assert_int_equal(response.sequence, round * 32 + i + 1);
            assert_int_equal(response.status, SUBLET_OK);
            assert_int_equal(response.size, (i * 37 + round) % 300);
            for (uint32_t k = 0; k < response.size; k++)
                assert_int_equal(out[k], (unsigned char)(i + round));
        }
    }
    close(fd);
}

static void large_payloads_arrive_whole(void **state)
{
    struct fixture *f = *state;
    const uint32_t bytes = 8 << 20;
    int fd = calls(f, 1, bytes);
    uint32_t *in = malloc(bytes), *out = malloc(bytes);
    struct stream_response response;
    for (uint32_t i = 0; i < bytes / 4; i++)
        in[i] = i * 2654435761u;
    for (uint32_t round = 1; round <= 3; round++) {
        assert_int_equal(peer_stream_send(fd, round, f->echo, in, bytes - round, bytes), SUBLET_OK);
        assert_int_equal(peer_stream_receive(fd, &response, out, bytes), SUBLET_OK);
        assert_int_equal(response.size, bytes - round);
        assert_memory_equal(in, out, bytes - round);
    }
    free(in);
    free(out);
    close(fd);
}

static void a_failing_call_is_the_last_of_its_connection_only(void **state)
{
    struct fixture *f = *state;
    const struct {
        uint32_t function;
        sublet_status status;
    } cases[] = {{f->crash, SUBLET_ERR_CRASHED},
                 {f->exit_now, SUBLET_ERR_EXITED},
                 {f->overflow_stack, SUBLET_ERR_STACK_OVERFLOW},
                 {f->overrun, SUBLET_ERR_OVERRUN},
                 {f->leave_thread, SUBLET_ERR_LEFT_THREADS}};
    int other = calls(f, 99, 4096);
    for (uint32_t i = 0; i < 5; i++) {
        uint32_t flags = 0;
        int fd = calls(f, i + 1, 4096);
        assert_echoes(fd, f->echo);
        assert_int_equal(call(fd, cases[i].function, &flags), cases[i].status);
        assert_int_equal(flags, STREAM_FLAG_LAST);
        assert_closed(fd);
        close(fd);
        assert_echoes(other, f->echo);
        assert_ring_echoes(&f->peer.rings[0], f->echo);
    }
    uint32_t flags = 0;
    assert_int_equal(call(other, f->fail, &flags), SUBLET_ERR_FUNCTION);
    assert_int_equal(call(other, f->too_large, &flags), SUBLET_ERR_TOO_LARGE);
    assert_int_equal(call(other, 77, &flags), SUBLET_ERR_NOT_FOUND);
    assert_echoes(other, f->echo);
    close(other);
}

static void requests_read_ahead_survive_the_crash_of_another(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 20; round++) {
        int crashing = calls(f, 1, 4096), other = calls(f, 2, 4096);
        struct stream_response response;
        char out[64];
        assert_int_equal(peer_stream_send(other, 1, f->echo, "one", 4, 64), SUBLET_OK);
        assert_int_equal(peer_stream_send(crashing, 1, f->crash, NULL, 0, 0), SUBLET_OK);
        for (uint32_t i = 2; i <= 8; i++)
            assert_int_equal(peer_stream_send(other, i, f->echo, "more", 5, 64), SUBLET_OK);
        for (uint32_t i = 1; i <= 8; i++) {
            assert_int_equal(peer_stream_receive(other, &response, out, sizeof(out)), SUBLET_OK);
            assert_int_equal(response.sequence, i);
            assert_int_equal(response.status, SUBLET_OK);
        }
        assert_int_equal(peer_stream_receive(crashing, &response, out, 0), SUBLET_OK);
        assert_int_equal(response.status, SUBLET_ERR_CRASHED);
        close(crashing);
        close(other);
    }
}

static void a_hanging_call_ends_by_cancel_over_tcp(void **state)
{
    struct fixture *f = *state;
    sublet_status status;
    struct stream_response response;
    int control = peer_stream(&f->executor, STREAM_CONTROL, 0, 0, 0, 0, &status);
    assert_int_equal(status, SUBLET_OK);
    uint32_t library, echo, none = 0;
    assert_int_equal(peer_load(control, LIBRARIES "/libecho.so", &library), SUBLET_OK);
    assert_int_equal(peer_resolve(control, library, "echo", &echo), SUBLET_OK);
    int fd = calls(f, 4711, 4096);
    assert_int_equal(peer_stream_send(fd, 5, f->hang, NULL, 0, 0), SUBLET_OK);
    assert_int_equal(peer_stream_send(fd, 6, echo, NULL, 0, 0), SUBLET_OK); /* behind it; not started */
    struct control_cancel cancel = {.slot = CONTROL_SLOT_STREAM, .sequence = 5, .connection = 4711};
    struct control_cancel unknown = {.slot = CONTROL_SLOT_STREAM, .sequence = 5, .connection = 1};
    assert_int_equal(peer_request(control, CONTROL_CANCEL, &unknown, sizeof(unknown), NULL, &none),
                     SUBLET_ERR_NOT_FOUND);
    assert_int_equal(peer_request(control, CONTROL_CANCEL, &cancel, sizeof(cancel), NULL, &none), SUBLET_OK);
    assert_int_equal(peer_stream_receive(fd, &response, NULL, 0), SUBLET_OK);
    assert_int_equal(response.sequence, 5);
    assert_int_equal(response.status, SUBLET_ERR_TIMEOUT);
    if (response.flags == 0) { /* it had not been started yet: the connection goes on */
        assert_int_equal(peer_stream_receive(fd, &response, NULL, 0), SUBLET_OK);
        assert_int_equal(response.sequence, 6);
    } else
        assert_closed(fd);
    close(fd);
    assert_ring_echoes(&f->peer.rings[0], f->echo);
    fd = calls(f, 4711, 4096);
    assert_echoes(fd, echo);
    close(fd);
    close(control);
}

static void what_is_too_large_is_refused(void **state)
{
    struct fixture *f = *state;
    struct stream_response response;
    int fd = calls(f, 1, 4096);
    assert_int_equal(peer_stream_send(fd, 1, f->echo, NULL, 0, STREAM_CALL_MAX + 1), SUBLET_OK);
    assert_int_equal(peer_stream_receive(fd, &response, NULL, 0), SUBLET_OK);
    assert_int_equal(response.status, SUBLET_ERR_TOO_LARGE);
    assert_int_equal(peer_stream_send(fd, 1, f->echo, "0123456789", 10, 9), SUBLET_OK);
    assert_int_equal(peer_stream_receive(fd, &response, NULL, 0), SUBLET_OK);
    assert_int_equal(response.status, SUBLET_ERR_TOO_LARGE);
    assert_int_equal(response.flags, STREAM_FLAG_NEEDED);
    assert_int_equal(response.size, 10);
    assert_echoes(fd, f->echo);
    struct stream_request request = {.sequence = 2, .function = f->echo, .out_capacity = 1};
    stream_request_set(&request, STREAM_CALL_MAX + 1, 1, false);
    assert_int_equal(fds_send(fd, &request, sizeof(request), NULL, 0, now_ns() + PEER_TIMEOUT_NS), SUBLET_OK);
    assert_int_equal(peer_stream_receive(fd, &response, NULL, 0), SUBLET_OK);
    assert_int_equal(response.status, SUBLET_ERR_TOO_LARGE);
    assert_int_equal(response.flags, STREAM_FLAG_LAST);
    assert_closed(fd);
    close(fd);
    fd = calls(f, 2, 4096); /* sequence 0 is no request */
    assert_int_equal(peer_stream_send(fd, 0, f->echo, NULL, 0, 0), SUBLET_OK);
    assert_closed(fd);
    close(fd);
    sublet_status status;
    assert_int_equal(peer_stream(&f->executor, STREAM_CALLS, 1, 1, 64, 64, &status), -1);
    assert_int_equal(status, SUBLET_ERR_NOT_FOUND);
    assert_int_equal(peer_stream(&f->executor, STREAM_REGION, 0, 1, 64, 64, &status), -1);
    assert_int_equal(status, SUBLET_ERR_INVALID);
}

static void a_peer_that_does_not_read_is_dropped(void **state)
{
    struct fixture *f = *state;
    const uint32_t bytes = 32 << 20;
    int fd = calls(f, 1, bytes), small = 4096;
    unsigned char *in = calloc(1, bytes);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    assert_int_equal(peer_stream_send(fd, 1, f->echo, in, bytes, bytes), SUBLET_OK);
    struct pollfd answer = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&answer, 1, 10000), 1); /* its answer has begun */
    uint64_t started = now_ns();
    assert_ring_echoes(&f->peer.rings[0], f->echo); /* waits for the deadline of the answer, and no longer */
    assert_in_range((now_ns() - started) / 1000000, 1000, 9000);
    size_t none = 0;
    assert_int_equal(fds_receive(fd, in, bytes, NULL, 0, &none, now_ns() + PEER_TIMEOUT_NS), SUBLET_ERR_LOST);
    close(fd);
    free(in);
}

static void a_client_gone_in_a_call_frees_the_worker(void **state)
{
    struct fixture *f = *state;
    struct ring *ring = &f->peer.rings[0];
    for (int round = 0; round < 40; round++) {
        int fd = calls(f, 1, 4096);
        uint32_t slot, size;
        assert_int_equal(peer_stream_send(fd, 1, f->hang, NULL, 0, 0), SUBLET_OK);
        assert_int_equal(ring_acquire(ring, &slot), SUBLET_OK);
        assert_int_equal(ring_submit(ring, slot, f->echo, 0, 0, 0), SUBLET_OK);
        if (round % 4 == 0) /* at any moment: before it was read, while it begins, while it hangs */
            (void)peer_wait(ring, slot, (uint64_t)round * 1000000, &size);
        close(fd);
        assert_int_equal(peer_wait(ring, slot, PEER_TIMEOUT_NS, &size), SUBLET_OK);
        ring_release(ring, slot);
        assert_ring_echoes(ring, f->echo);
    }
}

/** A client whose large requests follow each other without a pause. */
struct flow {
    int fd;
    uint32_t sequence, answers;
    uint64_t sent; /* bytes of the request that is being sent */
};

/** Sends and receives what it can; requests of `bytes` bytes, `most` of them. */
static void flow_on(struct flow *flow, uint32_t function, uint32_t bytes, uint32_t most)
{
    static unsigned char body[1 << 16];
    struct stream_response response;
    for (uint32_t round = 0; round < 64 && flow->sequence < most; round++) {
        struct stream_request request = {.sequence = flow->sequence + 1, .function = function, .size = bytes};
        uint64_t whole = sizeof(request) + bytes, left = whole - flow->sent;
        ssize_t sent = flow->sent < sizeof(request)
                           ? send(flow->fd, (char *)&request + flow->sent, sizeof(request) - flow->sent, MSG_DONTWAIT)
                           : send(flow->fd, body, left < sizeof(body) ? left : sizeof(body), MSG_DONTWAIT);
        if (sent <= 0)
            break;
        flow->sent += (uint64_t)sent;
        if (flow->sent == whole) {
            flow->sent = 0;
            flow->sequence++;
        }
    }
    while (recv(flow->fd, &response, sizeof(response), MSG_DONTWAIT) == sizeof(response)) {
        assert_int_equal(response.status, SUBLET_OK);
        assert_int_equal(response.sequence, ++flow->answers);
    }
}

/** The lease's memory is enough for one of both at a time: they take turns, however little one of them pauses. */
static void large_calls_of_two_clients_take_turns(void **state)
{
    struct fixture *f = *state;
    const uint32_t bytes = 3 << 20;
    struct flow one = {.fd = calls(f, 1, 4096)}, other = {.fd = calls(f, 2, 4096)};
    while (one.answers < 5)
        flow_on(&one, f->empty, bytes, UINT32_MAX);
    for (uint32_t turn = 1; turn <= 5; turn++) {
        uint32_t before = one.answers;
        while (other.answers < turn) {
            flow_on(&one, f->empty, bytes, UINT32_MAX);
            flow_on(&other, f->empty, bytes, turn);
            if (one.answers - before > 50)
                fail_msg("50 calls of one client overtook one of the other");
        }
    }
    close(one.fd);
    close(other.fd);
}

/** A call with 3 MiB each way, of which the lease has room for one at a time. */
static sublet_status large_echo(struct fixture *f, int fd, uint32_t sequence)
{
    static unsigned char bytes[3 << 20];
    struct stream_response response;
    assert_int_equal(peer_stream_send(fd, sequence, f->echo, bytes, sizeof(bytes), sizeof(bytes)), SUBLET_OK);
    assert_int_equal(peer_stream_receive(fd, &response, bytes, sizeof(bytes)), SUBLET_OK);
    assert_int_equal(response.sequence, sequence);
    return (sublet_status)response.status;
}

/** What a worker keeps after a large call goes to another that needs it: while it sleeps, and while it has other work.
 */
static void a_worker_keeps_nothing_that_another_waits_for(void **state)
{
    struct fixture *f = *state;
    sublet_status status;
    int fds[2];
    for (uint32_t worker = 0; worker < 2; worker++) {
        fds[worker] = peer_stream(&f->executor, STREAM_CALLS, worker, worker + 1, 4096, 4096, &status);
        assert_int_equal(status, SUBLET_OK);
    }
    for (uint32_t i = 1; i <= 5; i++)
        for (uint32_t worker = 0; worker < 2; worker++)
            assert_int_equal(large_echo(f, fds[worker], i), SUBLET_OK);
    int other = peer_stream(&f->executor, STREAM_CALLS, 1, 3, 4096, 4096, &status);
    assert_int_equal(status, SUBLET_OK);
    struct flow busy = {.fd = other}, waits = {.fd = fds[0], .sequence = 5, .answers = 5};
    while (waits.answers < 6) {
        flow_on(&busy, f->empty, 0, UINT32_MAX);
        flow_on(&waits, f->empty, 3 << 20, 6);
    }
    close(other);
    close(fds[0]);
    close(fds[1]);
}

/** Neither of them pauses: the workers take turns. */
static void large_calls_of_two_workers_take_turns(void **state)
{
    struct fixture *f = *state;
    const uint32_t bytes = 3 << 20;
    sublet_status status;
    struct flow one = {.fd = calls(f, 1, 4096)};
    struct flow other = {.fd = peer_stream(&f->executor, STREAM_CALLS, 1, 2, 4096, 4096, &status)};
    assert_int_equal(status, SUBLET_OK);
    while (one.answers < 5)
        flow_on(&one, f->empty, bytes, UINT32_MAX);
    for (uint32_t turn = 1; turn <= 5; turn++) {
        uint32_t before = one.answers;
        while (other.answers < turn) {
            flow_on(&one, f->empty, bytes, UINT32_MAX);
            flow_on(&other, f->empty, bytes, turn);
            if (one.answers - before > 500)
                fail_msg("500 calls of one worker overtook one of the other");
        }
    }
    close(one.fd);
    close(other.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_calls_may_be_on_their_way, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(large_payloads_arrive_whole, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(a_failing_call_is_the_last_of_its_connection_only, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(requests_read_ahead_survive_the_crash_of_another, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(a_hanging_call_ends_by_cancel_over_tcp, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(what_is_too_large_is_refused, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(a_peer_that_does_not_read_is_dropped, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(a_client_gone_in_a_call_frees_the_worker, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(large_calls_of_two_clients_take_turns, little_lease, fixture_stop),
        cmocka_unit_test_setup_teardown(a_worker_keeps_nothing_that_another_waits_for, two_workers, fixture_stop),
        cmocka_unit_test_setup_teardown(large_calls_of_two_workers_take_turns, two_workers, fixture_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
