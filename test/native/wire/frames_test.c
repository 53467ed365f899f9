/** Checks of everything that comes from a peer: at their bounds and one beyond. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "wire/code.h"
#include "wire/control.h"
#include "wire/ring_layout.h"
#include "wire/stream.h"
#include "wire/version.h"

static struct control_header control(uint16_t type, uint32_t size)
{
    struct control_header header = {.magic = CONTROL_MAGIC, .version = CONTROL_VERSION, .type = type, .size = size};
    return header;
}

static void control_frames(void **state)
{
    (void)state;
    const struct {
        uint16_t type;
        uint32_t size;
        sublet_status status;
    } cases[] = {
        {CONTROL_HELLO, 48, SUBLET_OK},
        {CONTROL_HELLO, 47, SUBLET_ERR_INVALID},
        {CONTROL_HELLO, 49, SUBLET_ERR_INVALID},
        {CONTROL_LOAD, 64, SUBLET_OK},
        {CONTROL_LOAD, 63, SUBLET_ERR_INVALID},
        {CONTROL_LOAD, CONTROL_BODY_MAX, SUBLET_OK},
        {CONTROL_LOAD, CONTROL_BODY_MAX + 1, SUBLET_ERR_INVALID},
        {CONTROL_RESOLVE, 5, SUBLET_OK},
        {CONTROL_RESOLVE, 4, SUBLET_ERR_INVALID},
        {CONTROL_RESOLVE, 4 + CONTROL_NAME_MAX, SUBLET_OK},
        {CONTROL_RESOLVE, 5 + CONTROL_NAME_MAX, SUBLET_ERR_INVALID},
        {CONTROL_CANCEL, 16, SUBLET_OK},
        {CONTROL_CANCEL, 0, SUBLET_ERR_INVALID},
        {CONTROL_LOAD_HASH, 40, SUBLET_OK},
        {CONTROL_LOAD_HASH, 39, SUBLET_ERR_INVALID},
        {CONTROL_LOAD_HASH, 41, SUBLET_ERR_INVALID},
        {CONTROL_LOAD_PATH, 40, SUBLET_ERR_INVALID},
        {CONTROL_LOAD_PATH, 41, SUBLET_OK},
        {CONTROL_LOAD_PATH, 40 + CONTROL_PATH_MAX, SUBLET_OK},
        {CONTROL_LOAD_PATH, 41 + CONTROL_PATH_MAX, SUBLET_ERR_INVALID},
        {0, 48, SUBLET_ERR_INVALID},
        {CONTROL_TYPE_END, 48, SUBLET_ERR_INVALID},
        {UINT16_MAX, UINT32_MAX, SUBLET_ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct control_header header = control(cases[i].type, cases[i].size);
        assert_int_equal(control_header_check(&header), cases[i].status);
    }
    struct control_header header = control(CONTROL_HELLO, 48);
    header.version++; /* who speaks more is answered with less: wire/version.h */
    assert_int_equal(control_header_check(&header), SUBLET_OK);
    header.version = CONTROL_VERSION_LEAST - 1;
    assert_int_equal(control_header_check(&header), SUBLET_ERR_VERSION);
    header = control(CONTROL_HELLO, 48);
    header.magic++;
    assert_int_equal(control_header_check(&header), SUBLET_ERR_INVALID);
}

static void paths_of_code(void **state)
{
    (void)state;
    static const char *const right[] = {"/a", "/a/b.so", "/.a/..b/c.", "/...", "/a b/\n"};
    static const char *const wrong[] = {"",      "/",  "a",   "a/b",  "//",      "/a/",   "//a",
                                        "/a//b", "/.", "/..", "/./a", "/a/../b", "/a/..", "/a/."};
    char path[CONTROL_PATH_MAX + 2];
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
        assert_true(code_path_check(right[i], strlen(right[i])));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(code_path_check(wrong[i], strlen(wrong[i])));
    assert_false(code_path_check("/a\0b", 4));
    memset(path, 'a', sizeof(path));
    path[0] = '/';
    assert_true(code_path_check(path, CONTROL_PATH_MAX));
    assert_false(code_path_check(path, CONTROL_PATH_MAX + 1));
    struct code_ask ask = {.magic = CODE_MAGIC, .operation = CODE_PATH, .size = CONTROL_LIBRARY_MIN};
    assert_int_equal(code_ask_check(&ask), SUBLET_ERR_INVALID);
    ask.path_bytes = CONTROL_PATH_MAX;
    assert_int_equal(code_ask_check(&ask), SUBLET_OK);
    ask.path_bytes++;
    assert_int_equal(code_ask_check(&ask), SUBLET_ERR_INVALID);
}

static void frames_about_code(void **state)
{
    (void)state;
    struct code_ask ask = {.magic = CODE_MAGIC, .operation = CODE_GET, .size = CONTROL_LIBRARY_MIN};
    assert_int_equal(code_ask_check(&ask), SUBLET_OK);
    ask.size = CONTROL_BODY_MAX;
    ask.operation = CODE_OPERATION_END - 1;
    assert_int_equal(code_ask_check(&ask), SUBLET_OK);
    ask.size++;
    assert_int_equal(code_ask_check(&ask), SUBLET_ERR_INVALID);
    ask.size = CONTROL_LIBRARY_MIN - 1;
    assert_int_equal(code_ask_check(&ask), SUBLET_ERR_INVALID);
    ask.size = CONTROL_LIBRARY_MIN;
    ask.operation = CODE_OPERATION_END;
    assert_int_equal(code_ask_check(&ask), SUBLET_ERR_INVALID);
    ask.operation = 0;
    assert_int_equal(code_ask_check(&ask), SUBLET_ERR_INVALID);
    ask.operation = CODE_GET;
    ask.magic++;
    assert_int_equal(code_ask_check(&ask), SUBLET_ERR_INVALID);

    struct code_answer answer = {.magic = CODE_MAGIC, .operation = CODE_OFFER, .status = SUBLET_STATUS_COUNT - 1};
    assert_int_equal(code_answer_check(&answer), SUBLET_OK);
    answer.status++;
    assert_int_equal(code_answer_check(&answer), SUBLET_ERR_INVALID);
    answer.status = SUBLET_OK;
    answer.operation = CODE_OPERATION_END;
    assert_int_equal(code_answer_check(&answer), SUBLET_ERR_INVALID);
}

static void versions_are_agreed(void **state)
{
    (void)state;
    assert_int_equal(version_agree(1, 2, 4), 0);
    assert_int_equal(version_agree(2, 2, 4), 2);
    assert_int_equal(version_agree(3, 2, 4), 3);
    assert_int_equal(version_agree(9, 2, 4), 4);
}

static void greetings_of_a_stream(void **state)
{
    (void)state;
    struct stream_hello hello = {.magic = STREAM_MAGIC, .version = STREAM_VERSION, .role = STREAM_CALLS};
    assert_int_equal(stream_hello_check(&hello), SUBLET_OK);
    hello.worker = CONTROL_WORKERS_MAX;
    assert_int_equal(stream_hello_check(&hello), SUBLET_ERR_INVALID);
    hello.worker = 0;
    hello.in_bytes = hello.out_bytes = STREAM_PAYLOAD_MAX;
    assert_int_equal(stream_hello_check(&hello), SUBLET_OK);
    hello.role = STREAM_ROLE_END;
    assert_int_equal(stream_hello_check(&hello), SUBLET_ERR_INVALID);
    hello.role = 0;
    assert_int_equal(stream_hello_check(&hello), SUBLET_ERR_INVALID);
    hello.version = STREAM_VERSION_LEAST - 1;
    assert_int_equal(stream_hello_check(&hello), SUBLET_ERR_VERSION);
    hello.version = STREAM_VERSION + 1;
    hello.role = STREAM_REGION;
    assert_int_equal(stream_hello_check(&hello), SUBLET_OK);

    struct stream_welcome welcome = {.magic = STREAM_MAGIC, .version = STREAM_VERSION, .workers = CONTROL_WORKERS_MAX};
    assert_int_equal(stream_welcome_check(&welcome), SUBLET_OK);
    welcome.status = SUBLET_ERR_DENIED;
    assert_int_equal(stream_welcome_check(&welcome), SUBLET_ERR_DENIED);
    welcome.status = SUBLET_STATUS_COUNT;
    assert_int_equal(stream_welcome_check(&welcome), SUBLET_ERR_INVALID);
    welcome.status = 0;
    welcome.workers++;
    assert_int_equal(stream_welcome_check(&welcome), SUBLET_ERR_INVALID);
}

static void calls_and_accesses_of_a_stream(void **state)
{
    (void)state;
    struct stream_request request = {.sequence = 1, .size = 100, .out_capacity = 200};
    assert_int_equal(stream_request_check(&request), SUBLET_OK);
    stream_request_set(&request, STREAM_CALL_MAX, STREAM_CALL_MAX, true);
    assert_int_equal(stream_request_check(&request), SUBLET_OK);
    assert_true(stream_request_size(&request) == STREAM_CALL_MAX && stream_request_room(&request) == STREAM_CALL_MAX);
    stream_request_set(&request, STREAM_CALL_MAX + 1, 0, false);
    assert_int_equal(stream_request_check(&request), SUBLET_ERR_TOO_LARGE);
    stream_request_set(&request, 0, STREAM_CALL_MAX + 1, true);
    assert_int_equal(stream_request_check(&request), SUBLET_ERR_TOO_LARGE);
    stream_request_set(&request, 100, 200, false);
    request.sequence = 0;
    assert_int_equal(stream_request_check(&request), SUBLET_ERR_INVALID);

    struct stream_response response = {.sequence = 7, .size = 10};
    assert_int_equal(stream_response_check(&response, 7, 10), SUBLET_OK);
    assert_int_equal(stream_response_check(&response, 8, 10), SUBLET_ERR_INVALID);
    assert_int_equal(stream_response_check(&response, 7, 9), SUBLET_ERR_INVALID);
    response.status = SUBLET_STATUS_COUNT;
    assert_int_equal(stream_response_check(&response, 7, 10), SUBLET_ERR_INVALID);
    response.status = SUBLET_OK;
    stream_response_set(&response, UINT64_C(5) << 32, STREAM_FLAG_LAST);
    assert_int_equal(stream_response_check(&response, 7, UINT64_C(5) << 32), SUBLET_OK);
    assert_int_equal(stream_response_check(&response, 7, (UINT64_C(5) << 32) - 1), SUBLET_ERR_INVALID);
    stream_response_set(&response, UINT64_C(5) << 32, STREAM_FLAG_NEEDED);
    assert_int_equal(stream_response_check(&response, 7, UINT64_MAX), SUBLET_ERR_INVALID); /* of TOO_LARGE only */
    response.status = SUBLET_ERR_TOO_LARGE;
    assert_int_equal(stream_response_check(&response, 7, 0), SUBLET_OK);
    assert_true(stream_response_body(&response) == 0 && stream_response_size(&response) == UINT64_C(5) << 32);

    struct stream_access access = {.sequence = 1, .operation = STREAM_GET, .offset = 900, .size = 100};
    assert_int_equal(stream_access_check(&access, 1000), SUBLET_OK);
    assert_int_equal(stream_access_check(&access, 999), SUBLET_ERR_INVALID);
    access.offset = UINT64_MAX - 50;
    assert_int_equal(stream_access_check(&access, 1000), SUBLET_ERR_INVALID);
    access.offset = 0;
    access.size = STREAM_PAYLOAD_MAX + 1;
    assert_int_equal(stream_access_check(&access, UINT64_MAX), SUBLET_ERR_TOO_LARGE);
    access.size = 1;
    access.operation = STREAM_OPERATION_END;
    assert_int_equal(stream_access_check(&access, 1000), SUBLET_ERR_INVALID);
}

static void headers_of_a_ring(void **state)
{
    (void)state;
    struct ring_header header;
    assert_int_equal(ring_header_make(64, RING_BUFFER_MAX, RING_BUFFER_MAX, &header), SUBLET_OK);
    assert_int_equal(ring_header_check(&header, header.total_bytes), SUBLET_OK);
    assert_int_equal(ring_header_check(&header, header.total_bytes - 1), SUBLET_ERR_INVALID);
    struct ring_header wrong = header;
    wrong.slot_stride -= 64;
    assert_int_equal(ring_header_check(&wrong, header.total_bytes), SUBLET_ERR_INVALID);
    wrong = header;
    wrong.in_bytes--;
    assert_int_equal(ring_header_check(&wrong, header.total_bytes), SUBLET_ERR_INVALID);
    wrong = header;
    wrong.slots = 65;
    assert_int_equal(ring_header_check(&wrong, UINT64_MAX), SUBLET_ERR_INVALID);
    wrong = header;
    wrong.version = RING_VERSION + 1;
    assert_int_equal(ring_header_check(&wrong, header.total_bytes), SUBLET_ERR_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_frames),        cmocka_unit_test(frames_about_code),
        cmocka_unit_test(paths_of_code),         cmocka_unit_test(versions_are_agreed),
        cmocka_unit_test(greetings_of_a_stream), cmocka_unit_test(calls_and_accesses_of_a_stream),
        cmocka_unit_test(headers_of_a_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
