/** Calls over the ring: results, every way in which a function may fail, and the call after it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "fixture.h"

static int one_worker(void **state)
{
    return fixture_start((struct fixture **)state, "0", 0);
}

static int little_memory(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return one_worker(state);
#endif
    return fixture_start((struct fixture **)state, "0", UINT64_C(1) << 30);
}

static void answers_with_what_it_was_given(void **state)
{
    struct fixture *f = *state;
    static unsigned char in[65536], out[65536];
    uint32_t size = 1;
    for (uint32_t i = 0; i < sizeof(in); i++)
        in[i] = (unsigned char)(i * 31 >> 3);
    for (uint32_t bytes = 0; bytes <= sizeof(in); bytes = bytes == 0 ? 1 : bytes * 4) {
        memset(out, 0, sizeof(out));
        assert_int_equal(peer_call(&f->peer.rings[0], f->echo, in, bytes, out, sizeof(out), &size), SUBLET_OK);
        assert_int_equal(size, bytes);
        assert_memory_equal(in, out, bytes);
    }
    assert_int_equal(peer_call(&f->peer.rings[0], f->empty, NULL, 0, out, 0, &size), SUBLET_OK);
    assert_int_equal(size, 0);
}

static void plain_form_runs_unchanged(void **state)
{
    struct fixture *f = *state;
    unsigned char in[3] = {250, 250, 7};
    uint32_t sum = 0, size = 0;
    assert_int_equal(peer_call(&f->peer.rings[0], f->plain_sum, in, 3, &sum, sizeof(sum), &size), SUBLET_OK);
    assert_int_equal(size, sizeof(sum));
    assert_int_equal(sum, 507);
}

static void failing_functions_are_answered_for(void **state)
{
    struct fixture *f = *state;
    char out[16];
    uint32_t size;
    const struct {
        uint32_t function;
        sublet_status status;
    } cases[] = {{f->crash, SUBLET_ERR_CRASHED},
                 {f->exit_now, SUBLET_ERR_EXITED},
                 {f->overflow_stack, SUBLET_ERR_STACK_OVERFLOW},
                 {f->overrun, SUBLET_ERR_OVERRUN},
                 {f->leave_thread, SUBLET_ERR_LEFT_THREADS},
                 {f->too_large, SUBLET_ERR_TOO_LARGE},
                 {f->fail, SUBLET_ERR_FUNCTION},
                 {9999, SUBLET_ERR_NOT_FOUND},
                 {200, SUBLET_ERR_NOT_FOUND},
                 {UINT32_MAX, SUBLET_ERR_NOT_FOUND}};
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            assert_int_equal(peer_call(&f->peer.rings[0], cases[i].function, NULL, 0, out, 16, &size), cases[i].status);
            assert_ring_echoes(&f->peer.rings[0], f->echo);
        }
}

/** By one byte and by more than any buffer has, in results of every size; what lies behind is as it was. */
static void overruns_are_seen(void **state)
{
    struct fixture *f = *state;
    struct ring *ring = &f->peer.rings[0];
    const uint32_t capacities[] = {0, 1, 7, 32, 33, 64, 4000, 65535, 65536}, lengths[] = {1, 8, 64, 200000};
    uint32_t slot, other, size;
    assert_int_equal(ring_acquire(ring, &slot), SUBLET_OK);
    assert_int_equal(ring_acquire(ring, &other), SUBLET_OK);
    for (uint32_t lined = 0; lined < 2; lined++)
        for (size_t c = 0; c < sizeof(capacities) / sizeof(capacities[0]); c++)
            for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
                uint32_t flags = lined ? RING_OUT_LINE : 0, none = 0;
                if (lined && capacities[c] > RING_INLINE_BYTES)
                    continue;
                memset(ring_in(ring, other), 'x', 4096);
                memcpy(ring_in(ring, slot), &lengths[i], sizeof(lengths[i]));
                assert_int_equal(ring_submit_flags(ring, slot, f->overrun, 4, capacities[c], 0, flags), SUBLET_OK);
                assert_int_equal(peer_wait(ring, slot, PEER_TIMEOUT_NS, &size), SUBLET_ERR_OVERRUN);
                for (uint32_t at = 0; at < 4096; at++)
                    assert_int_equal(((char *)ring_in(ring, other))[at], 'x');
                /* Without a byte too many it is no overrun. */
                memcpy(ring_in(ring, slot), &none, sizeof(none));
                assert_int_equal(ring_submit_flags(ring, slot, f->overrun, 4, capacities[c], 0, flags), SUBLET_OK);
                assert_int_equal(peer_wait(ring, slot, PEER_TIMEOUT_NS, &size), SUBLET_OK);
            }
    ring_release(ring, slot);
    ring_release(ring, other);
    assert_ring_echoes(ring, f->echo);
}

static void threads_that_ended_are_no_fault(void **state)
{
    struct fixture *f = *state;
    uint32_t number, size;
    for (int i = 0; i < 100; i++) {
        number = 0;
        assert_int_equal(peer_call(&f->peer.rings[0], f->join_thread, NULL, 0, &number, 4, &size), SUBLET_OK);
        assert_int_equal(number, 1);
    }
}

static void calls_behind_a_crash_are_not_lost(void **state)
{
    struct fixture *f = *state;
    struct ring *ring = &f->peer.rings[0];
    for (int round = 0; round < 20; round++) {
        uint32_t slots[8], size;
        for (uint32_t i = 0; i < 8; i++) {
            assert_int_equal(ring_acquire(ring, &slots[i]), SUBLET_OK);
            memcpy(ring_in(ring, slots[i]), &i, sizeof(i));
            assert_int_equal(ring_submit(ring, slots[i], i == 3 ? f->crash : f->echo, 4, 4, 0), SUBLET_OK);
        }
        for (uint32_t i = 0; i < 8; i++) {
            assert_int_equal(peer_wait(ring, slots[i], PEER_TIMEOUT_NS, &size),
                             i == 3 ? SUBLET_ERR_CRASHED : SUBLET_OK);
            if (i != 3)
                assert_memory_equal(ring_out(ring, slots[i]), &i, sizeof(i));
            ring_release(ring, slots[i]);
        }
    }
}

static void a_hanging_call_ends_by_cancel(void **state)
{
    struct fixture *f = *state;
    struct ring *ring = &f->peer.rings[0];
    uint32_t hanging, queued, size, none = 0;
    sublet_status status;
    assert_int_equal(ring_acquire(ring, &hanging), SUBLET_OK);
    assert_int_equal(ring_submit(ring, hanging, f->hang, 0, 0, 1000000), SUBLET_OK);
    assert_int_equal(peer_wait(ring, hanging, 50000000, &size), SUBLET_ERR_LOST);
    /* One that waits behind it is cancelled without having run; another one is served by the successor. */
    assert_int_equal(ring_acquire(ring, &queued), SUBLET_OK);
    assert_int_equal(ring_submit(ring, queued, f->echo, 0, 0, 0), SUBLET_OK);
    struct control_cancel cancel = {.slot = queued, .sequence = ring->next_seq[queued]};
    assert_int_equal(peer_request(f->peer.fd, CONTROL_CANCEL, &cancel, sizeof(cancel), NULL, &none), SUBLET_OK);
    assert_true(ring_test(ring, queued, &status, &size));
    assert_int_equal(status, SUBLET_ERR_TIMEOUT);
    cancel.slot = hanging;
    cancel.sequence = ring->next_seq[hanging];
    assert_int_equal(peer_request(f->peer.fd, CONTROL_CANCEL, &cancel, sizeof(cancel), NULL, &none), SUBLET_OK);
    assert_true(ring_test(ring, hanging, &status, &size));
    assert_int_equal(status, SUBLET_ERR_TIMEOUT);
    ring_release(ring, hanging);
    ring_release(ring, queued);
    assert_ring_echoes(ring, f->echo);
}

static void cancel_never_spoils_an_answer(void **state)
{
    struct fixture *f = *state;
    struct ring *ring = &f->peer.rings[0];
    for (uint32_t round = 0; round < 300; round++) {
        uint32_t slot, size = 0, none = 0;
        assert_int_equal(ring_acquire(ring, &slot), SUBLET_OK);
        memcpy(ring_in(ring, slot), &round, sizeof(round));
        assert_int_equal(ring_submit(ring, slot, f->echo, 4, 4, 0), SUBLET_OK);
        struct control_cancel cancel = {.slot = slot, .sequence = ring->next_seq[slot]};
        assert_int_equal(peer_request(f->peer.fd, CONTROL_CANCEL, &cancel, sizeof(cancel), NULL, &none), SUBLET_OK);
        sublet_status status = peer_wait(ring, slot, PEER_TIMEOUT_NS, &size);
        assert_true(status == SUBLET_OK || status == SUBLET_ERR_TIMEOUT);
        if (status == SUBLET_OK)
            assert_memory_equal(ring_out(ring, slot), &round, sizeof(round));
        ring_release(ring, slot);
        if (round % 10 == 0)
            assert_ring_echoes(ring, f->echo);
    }
    struct control_cancel wrong[] = {{.worker = 1}, {.slot = 8}, {.worker = UINT32_MAX, .slot = UINT32_MAX}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint32_t none = 0;
        assert_int_equal(peer_request(f->peer.fd, CONTROL_CANCEL, &wrong[i], sizeof(wrong[i]), NULL, &none),
                         SUBLET_ERR_INVALID);
    }
    assert_ring_echoes(ring, f->echo);
}

static void a_late_cancel_leaves_the_next_call_alone(void **state)
{
    struct fixture *f = *state;
    struct ring *ring = &f->peer.rings[0];
    uint32_t hanging, slot, size = 0, none = 0;
    sublet_status status;
    /* The slot's first call is over; its second waits behind one that hangs when the first one's CANCEL comes. */
    assert_ring_echoes(ring, f->echo);
    assert_int_equal(ring_acquire(ring, &slot), SUBLET_OK);
    assert_int_equal(ring_acquire(ring, &hanging), SUBLET_OK);
    struct control_cancel late = {.slot = slot, .sequence = ring->next_seq[slot]};
    assert_int_equal(ring_submit(ring, hanging, f->hang, 0, 0, 0), SUBLET_OK);
    assert_int_equal(peer_wait(ring, hanging, 50000000, &size), SUBLET_ERR_LOST);
    assert_int_equal(ring_submit(ring, slot, f->echo, 0, 0, 0), SUBLET_OK);
    assert_int_equal(peer_request(f->peer.fd, CONTROL_CANCEL, &late, sizeof(late), NULL, &none), SUBLET_OK);
    assert_false(ring_test(ring, slot, &status, &size));
    struct control_cancel cancel = {.slot = hanging, .sequence = ring->next_seq[hanging]};
    assert_int_equal(peer_request(f->peer.fd, CONTROL_CANCEL, &cancel, sizeof(cancel), NULL, &none), SUBLET_OK);
    assert_int_equal(peer_wait(ring, slot, PEER_TIMEOUT_NS, &size), SUBLET_OK);
    /* And of a hanging call that is not the one that was meant. */
    assert_int_equal(ring_submit(ring, hanging, f->hang, 0, 0, 0), SUBLET_OK);
    assert_int_equal(peer_wait(ring, hanging, 50000000, &size), SUBLET_ERR_LOST);
    assert_int_equal(peer_request(f->peer.fd, CONTROL_CANCEL, &cancel, sizeof(cancel), NULL, &none), SUBLET_OK);
    assert_false(ring_test(ring, hanging, &status, &size));
    cancel.sequence = ring->next_seq[hanging];
    assert_int_equal(peer_request(f->peer.fd, CONTROL_CANCEL, &cancel, sizeof(cancel), NULL, &none), SUBLET_OK);
    assert_true(ring_test(ring, hanging, &status, &size));
    assert_int_equal(status, SUBLET_ERR_TIMEOUT);
    ring_release(ring, hanging);
    ring_release(ring, slot);
    assert_ring_echoes(ring, f->echo);
}

static void what_a_function_forked_ends_with_its_worker(void **state)
{
    struct fixture *f = *state;
    struct ring *ring = &f->peer.rings[0];
    uint32_t most = 20, made = 0, size, out = 0;
    assert_int_equal(peer_call(ring, f->fork_bomb, &most, sizeof(most), &made, sizeof(made), &size), SUBLET_OK);
    assert_int_equal(made, most);
    assert_int_equal(peer_call(ring, f->crash, NULL, 0, &out, 4, &size), SUBLET_ERR_CRASHED);
    assert_ring_echoes(ring, f->echo);
    /* Only the successor is left as a child of the executor. */
    char path[64], text[4096] = "";
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", f->executor.pid, f->executor.pid);
    uint64_t end_ns = now_ns() + PEER_TIMEOUT_NS;
    uint32_t children;
    do {
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
        fclose(file);
        children = 0;
        for (const char *at = text; *at != '\0'; at++)
            children += *at == ' ';
    } while (children != 1 && now_ns() < end_ns);
    assert_int_equal(children, 1);
}

static void a_forked_child_does_not_go_on_as_the_worker(void **state)
{
    struct fixture *f = *state;
    struct ring *ring = &f->peer.rings[0];
    uint32_t first = 0, pid = 0, size;
    assert_int_equal(peer_call(ring, f->fork_return, NULL, 0, &first, sizeof(first), &size), SUBLET_OK);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(peer_call(ring, f->fork_return, NULL, 0, &pid, sizeof(pid), &size), SUBLET_OK);
        assert_int_equal(pid, first);
        assert_ring_echoes(ring, f->echo);
    }
}

static void out_of_memory_harms_only_the_call(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)state;
    print_message("skipped: the sanitizer's shadow memory does not fit RLIMIT_AS\n");
    skip();
#endif
    struct fixture *f = *state;
    uint32_t size;
    assert_int_equal(peer_call(&f->peer.rings[0], f->eat_memory, NULL, 0, NULL, 0, &size), SUBLET_ERR_CRASHED);
    assert_ring_echoes(&f->peer.rings[0], f->echo);
}

static void bad_libraries_and_names_are_refused(void **state)
{
    struct fixture *f = *state;
    char garbage[4096];
    uint32_t library, function, size = sizeof(library);
    memset(garbage, 'x', sizeof(garbage));
    assert_int_equal(peer_request(f->peer.fd, CONTROL_LOAD, garbage, sizeof(garbage), &library, &size),
                     SUBLET_ERR_INVALID);
    assert_int_equal(peer_resolve(f->peer.fd, 0, "no_such_function", &function), SUBLET_ERR_NOT_FOUND);
    assert_int_equal(peer_resolve(f->peer.fd, 31, "echo", &function), SUBLET_ERR_NOT_FOUND);
    assert_int_equal(peer_load(f->peer.fd, LIBRARIES "/libecho.so", &library), SUBLET_OK);
    assert_int_equal(library, 0); /* the same library keeps its number */
    assert_int_equal(peer_resolve(f->peer.fd, library, "echo", &function), SUBLET_OK);
    uint32_t other;
    assert_int_equal(peer_resolve(f->peer.fd, library, "strlen", &other), SUBLET_OK); /* of what it needs: by a probe */
    assert_int_equal(peer_resolve(f->peer.fd, library, "strlen_", &other), SUBLET_ERR_NOT_FOUND);
    assert_int_equal(function, f->echo);
    assert_ring_echoes(&f->peer.rings[0], f->echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_with_what_it_was_given, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(plain_form_runs_unchanged, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(failing_functions_are_answered_for, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(overruns_are_seen, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(threads_that_ended_are_no_fault, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(calls_behind_a_crash_are_not_lost, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(a_hanging_call_ends_by_cancel, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(cancel_never_spoils_an_answer, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(a_late_cancel_leaves_the_next_call_alone, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(what_a_function_forked_ends_with_its_worker, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(a_forked_child_does_not_go_on_as_the_worker, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(out_of_memory_harms_only_the_call, little_memory, fixture_stop),
        cmocka_unit_test_setup_teardown(bad_libraries_and_names_are_refused, one_worker, fixture_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
