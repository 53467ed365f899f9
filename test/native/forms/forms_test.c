/** Every form of a function, each in a library as its author would build it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "../executor/fixture.h"
#include "sublet/sublet.h"

/* What bindings/fortran/sublet.f90 declares; program.f90 asserts the same there. */
_Static_assert(sizeof(sublet_options) == 56 && sizeof(sublet_lease_options) == 64, "session and lease");
_Static_assert(sizeof(sublet_lease_info) == 304 && offsetof(sublet_lease_info, remaining_ms) == 272, "lease info");
_Static_assert(sizeof(sublet_call_options) == 40 && sizeof(sublet_trace) == 96, "calls");
_Static_assert(sizeof(sublet_buffer) == 40 && sizeof(sublet_buffer_options) == 48, "buffers");
_Static_assert(sizeof(sublet_region_options) == 32 && sizeof(sublet_region_piece) == 24, "regions");
_Static_assert(sizeof(sublet_map_options) == 24 && sizeof(sublet_map_info) == 80, "mappings");

static int start(void **state)
{
    return fixture_start((struct fixture **)state, "0", 0);
}

static uint32_t function_of(struct fixture *f, const char *path, const char *name)
{
    uint32_t library, function;
    assert_int_equal(peer_load(f->peer.fd, path, &library), SUBLET_OK);
    assert_int_equal(peer_resolve(f->peer.fd, library, name, &function), SUBLET_OK);
    return function;
}

static sublet_status call(struct fixture *f, uint32_t function, const void *in, uint32_t in_bytes, void *out,
                          uint32_t out_bytes)
{
    uint32_t size = 0;
    return peer_call(&f->peer.rings[0], function, in, in_bytes, out, out_bytes, &size);
}

static void rfaas_libraries_run_unchanged(void **state)
{
    struct fixture *f = *state;
    int32_t in[100], out[100] = {0};
    for (int i = 0; i < 100; i++)
        in[i] = i + 1;
    assert_int_equal(call(f, function_of(f, FORMS "/librfaas.so", "empty"), in, 4, out, 4), SUBLET_OK);
    assert_int_equal(out[0], 1);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(call(f, function_of(f, FORMS "/librfaas.so", "reverse_sum"), in, sizeof(in), out, 400),
                         SUBLET_OK);
        assert_int_equal(out[0], 5050);
    }
}

static void cpp_functions_run_and_throw(void **state)
{
    struct fixture *f = *state;
    const int32_t in[] = {5, -3, 12, 0}, sorted[] = {-3, 0, 5, 12};
    int32_t out[4] = {0};
    uint32_t sort = function_of(f, LIBRARIES "/libforms.so", "sort_numbers");
    uint32_t throws = function_of(f, LIBRARIES "/libforms.so", "throws");
    uint32_t forgets = function_of(f, LIBRARIES "/libforms.so", "forgets_thread");
    for (int round = 0; round < 3; round++) {
        assert_int_equal(call(f, sort, in, sizeof(in), out, sizeof(out)), SUBLET_OK);
        assert_memory_equal(out, sorted, sizeof(sorted));
        assert_int_equal(call(f, sort, in, 7, out, sizeof(out)), SUBLET_ERR_FUNCTION);
        assert_int_equal(call(f, throws, in, 7, out, sizeof(out)), SUBLET_ERR_FUNCTION);
        assert_int_equal(call(f, forgets, NULL, 0, out, sizeof(out)), SUBLET_ERR_CRASHED);
        assert_ring_echoes(&f->peer.rings[0], f->echo);
    }
}

static void fortran_functions_run(void **state)
{
#ifndef HAVE_FORTRAN
    (void)state;
    print_message("skipped: no Fortran compiler (package gfortran)\n");
    skip();
#else
    struct fixture *f = *state;
    const double vectors[6] = {1, 2, 3, 10, 20, 30};
    double out = 0;
    assert_int_equal(call(f, function_of(f, LIBRARIES "/libdot.so", "dot"), vectors, sizeof(vectors), &out, 8),
                     SUBLET_OK);
    assert_true(fabs(out - 140) < 1e-12);
    assert_int_equal(call(f, function_of(f, LIBRARIES "/libdot.so", "squares"), vectors, sizeof(vectors), &out, 8),
                     SUBLET_OK);
    assert_true(fabs(out - 1414) < 1e-12);
#endif
}

static void pools_of_threads_may_stay(void **state)
{
    struct fixture *f = *state;
    uint32_t pooled = function_of(f, FORMS "/libpool.so", "pooled");
    uint32_t parallel = function_of(f, FORMS "/libparallel.so", "parallel");
    int threads = 0;
    for (int round = 0; round < 5; round++) {
        assert_int_equal(call(f, pooled, NULL, 0, NULL, 0), SUBLET_OK);
        assert_int_equal(call(f, parallel, NULL, 0, &threads, 4), SUBLET_OK);
        assert_int_equal(threads, 3);
    }
    /* Who leaves one without saying so is told. */
    assert_int_equal(call(f, f->leave_thread, NULL, 0, NULL, 0), SUBLET_ERR_LEFT_THREADS);
    assert_ring_echoes(&f->peer.rings[0], f->echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rfaas_libraries_run_unchanged, start, fixture_stop),
        cmocka_unit_test_setup_teardown(cpp_functions_run_and_throw, start, fixture_stop),
        cmocka_unit_test_setup_teardown(fortran_functions_run, start, fixture_stop),
        cmocka_unit_test_setup_teardown(pools_of_threads_may_stay, start, fixture_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
