/**
 * Frames as they were once sent, in recorded.txt: what is built today from the same values must be the same bytes, and
 * what was recorded must still be accepted. Whoever changes a layout raises its version and records anew:
 *
 *   recorded_test record > test/native/wire/recorded.txt
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/request.h"
#include "wire/code.h"
#include "wire/control.h"
#include "wire/export.h"
#include "wire/ofi.h"
#include "wire/ring_layout.h"
#include "wire/stats_layout.h"
#include "wire/stream.h"
#include "wire/trace.h"

#define LINE_MAX_BYTES  4096
#define FRAME_MAX_BYTES 2000

static const struct control_header load = {CONTROL_MAGIC, CONTROL_VERSION, CONTROL_LOAD, 0x12345, 0};
static const struct control_header answer = {CONTROL_MAGIC, CONTROL_VERSION, CONTROL_RESOLVE, 0, SUBLET_ERR_NOT_FOUND};
static const struct control_hello hello = {
    .token = {1, 2, 3, [31] = 32}, .slots = 4, .in_bytes = 65536, .out_bytes = 128};
static const struct control_cancel cancel = {.worker = 3, .slot = 2, .sequence = 0xfffffffe, .connection = 77};
static const struct control_code control_code = {.hash = {0xe3, 0xb0, [31] = 0x55}, .size = 0x10002};
static const struct control_welcome control_welcome = {
    .workers = 2, .features = CONTROL_FEATURE_TRACE | CONTROL_FEATURE_PATH, .region_bytes = UINT64_C(0x1122334455)};
static const struct {
    struct control_header header;
    uint32_t library;
    char name[4];
} resolve = {{CONTROL_MAGIC, CONTROL_VERSION, CONTROL_RESOLVE, 8, 0}, 5, {'e', 'c', 'h', 'o'}};
static const struct {
    struct control_header header;
    struct control_code code;
    char path[16];
} load_path = {{CONTROL_MAGIC, CONTROL_VERSION, CONTROL_LOAD_PATH, 56, 0},
               {.hash = {0xe3, 0xb0, [31] = 0x55}, .size = 0x10002},
               {'/', 'h', 'o', 'm', 'e', '/', 'u', '/', 'l', 'i', 'b', 'd', '.', 's', 'o', '1'}};
static const struct code_ask code_ask = {
    .magic = CODE_MAGIC, .operation = CODE_OFFER, .id = 7, .size = 0x10002, .hash = {0xe3, 0xb0, [31] = 0x55}};
static const struct code_answer code_answer = {
    .magic = CODE_MAGIC, .operation = CODE_GET, .id = 7, .status = SUBLET_ERR_HASH};
static const struct stream_hello stream_hello = {.magic = STREAM_MAGIC,
                                                 .version = STREAM_VERSION,
                                                 .role = STREAM_CALLS,
                                                 .token = {9, 8, 7, [31] = 1},
                                                 .worker = 5,
                                                 .in_bytes = 4096,
                                                 .out_bytes = 8192,
                                                 .connection = 0x01020304};
static const struct stream_welcome stream_welcome = {.magic = STREAM_MAGIC,
                                                     .version = STREAM_VERSION,
                                                     .workers = 2,
                                                     .region_bytes = UINT64_C(0x1122334455),
                                                     .features = 1};
static const struct stream_request request = {
    .sequence = 7, .function = 3, .size = 10, .out_capacity = 20, .timeout_ns = 1000000, .size_high = 1};
static const struct stream_response response = {
    .sequence = 7, .status = SUBLET_ERR_TOO_LARGE, .size = 4096, .flags = STREAM_FLAG_NEEDED | 1u << STREAM_SIZE_SHIFT};
static const struct stream_access access_add = {.sequence = 9, .operation = STREAM_ADD, .offset = 64, .size = 8};
static const struct stream_atomic atomic = {.operand = UINT64_C(0x8877665544332211), .expected = 0};
static const struct stream_access access_list = {.sequence = 10, .operation = STREAM_GET_LIST, .size = 300, .count = 1};
static const struct stream_piece piece = {.offset = 4096, .size = 300};
static const struct stream_access access_strided = {
    .sequence = 11, .operation = STREAM_PUT_STRIDED, .offset = 8, .size = 48, .count = 3};
static const struct stream_stride stride = {.stride = 1024, .block = 16};
static const struct ring_request ring_request = {.sequence = 1,
                                                 .function = 2,
                                                 .size = 32,
                                                 .out_capacity = 16,
                                                 .timeout_ns = 5,
                                                 .flags = RING_IN_LINE | RING_OUT_LINE};
static const struct ring_response ring_response = {.sequence = 1, .status = SUBLET_ERR_EXITED, .size = 16};
static const struct ring_trace ring_trace = {
    .woke = 1, .found = 2, .start = 3, .end = UINT64_C(0x100000004), .answer = 5, .flags = TRACE_SLEPT};
static const struct stream_trace stream_trace = {
    .queue_ns = 1, .prepare_ns = 2, .run_ns = UINT64_C(0x300000000), .answer_ns = 4, .flags = TRACE_BUSY};
static const struct lease_export lease_export = {.magic = EXPORT_MAGIC,
                                                 .version = EXPORT_VERSION,
                                                 .bytes = sizeof(lease_export),
                                                 .function = 3,
                                                 .slots = 4,
                                                 .in_bytes = 4096,
                                                 .out_bytes = 8192,
                                                 .token = {5, 6, 7, [31] = 8},
                                                 .address = "10.77.0.12:40000",
                                                 .id = "n2-1",
                                                 .node = "n2",
                                                 .name = "sum"};
static struct ring_header ring_header;
static const struct ofi_offer ofi_offer = {.magic = OFI_WIRE_MAGIC,
                                           .version = OFI_WIRE_VERSION,
                                           .name_bytes = 16,
                                           .tag = 0x123456,
                                           .slots = 16,
                                           .in_bytes = 4096,
                                           .out_bytes = 8192,
                                           .address = UINT64_C(0x7f0011223344),
                                           .key = UINT64_C(0x9e3779b97f4a7c15),
                                           .plain = 1,
                                           .provider = "verbs;msg",
                                           .name = {1, 2, 3, [15] = 16}};
static const struct ofi_offer ofi_region_offer = {.magic = OFI_WIRE_MAGIC,
                                                  .version = OFI_WIRE_VERSION,
                                                  .name_bytes = 256,
                                                  .address = 4096,
                                                  .key = 7,
                                                  .provider = "cxi",
                                                  .name = {9, [255] = 8}};
static const struct stats_header stats_header = {
    .magic = STATS_MAGIC, .version = STATS_VERSION, .workers = 1, .worker_bytes = STATS_WORKER_BYTES};
static struct stats_worker stats_worker = {.outcomes = {[SUBLET_OK] = 1000, [SUBLET_ERR_LEFT_THREADS] = 3},
                                           .in_bytes = 10,
                                           .out_bytes = UINT64_C(0x500000000),
                                           .run_ns = 30,
                                           .answer_ns = 40,
                                           .polled_ns = 50,
                                           .sleeps = 60,
                                           .restarts = 70,
                                           .run = {[0] = 80, [STATS_BUCKETS - 1] = 90},
                                           .answer = {[0] = 100, [STATS_BUCKETS - 1] = 110}};

/** A frame between agent and starter: how long its lines are, and they. */
#define STARTER(name, text)                                                                                            \
    static const struct __attribute__((packed)) {                                                                      \
        uint32_t size;                                                                                                 \
        char lines[sizeof(text) - 1];                                                                                  \
    } name = {sizeof(text) - 1, text}
STARTER(starter_start,
        "verb=START\nid=1\nlease=n2-1\nuid=60001\ngid=60002\ncgroup=/sys/fs/cgroup/sublet/n2-1\n"
        "unix=/run/sublet/n2-1.sock\ntcp=10.77.0.12:0\nkind=function\ncores=2,3\nowner=1000\nmemory=1073741824\n"
        "pids=64\ntoken=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\nspin_us=200\n"
        "meta=[1,\"n2-1\"]\nexecutor=/usr/libexec/sublet/sublet-executor\nfabric=none\npool=pool-3\n");
STARTER(starter_started, "id=1\nok=1\npid=4711\nport=40000\nstart=123456\nstats=/proc/77/fd/9\n");
STARTER(starter_refused, "id=2\nerror=START: uid must stand there once and be a user id other than 0\n");
STARTER(starter_listed, "id=3\nok=1\nexecutor=n2-1 4711 123456 40000\nmeta=[1,\"n2-1\"]\nstats=/proc/77/fd/9\n");
STARTER(starter_exited, "verb=EXITED\nlease=n2-1\nstatus=256\n");

static const struct {
    const char *name;
    const void *bytes;
    size_t size;
} frames[] = {
    {"control_load", &load, sizeof(load)},
    {"control_answer", &answer, sizeof(answer)},
    {"control_hello", &hello, sizeof(hello)},
    {"control_cancel", &cancel, sizeof(cancel)},
    {"control_code", &control_code, sizeof(control_code)},
    {"control_welcome", &control_welcome, sizeof(control_welcome)},
    {"control_resolve", &resolve, sizeof(resolve)},
    {"control_load_path", &load_path, sizeof(load_path)},
    {"code_ask", &code_ask, sizeof(code_ask)},
    {"code_answer", &code_answer, sizeof(code_answer)},
    {"stream_hello", &stream_hello, sizeof(stream_hello)},
    {"stream_welcome", &stream_welcome, sizeof(stream_welcome)},
    {"stream_request", &request, sizeof(request)},
    {"stream_response", &response, sizeof(response)},
    {"stream_access_add", &access_add, sizeof(access_add)},
    {"stream_atomic", &atomic, sizeof(atomic)},
    {"stream_access_list", &access_list, sizeof(access_list)},
    {"stream_piece", &piece, sizeof(piece)},
    {"stream_access_strided", &access_strided, sizeof(access_strided)},
    {"stream_stride", &stride, sizeof(stride)},
    {"ring_header", &ring_header, sizeof(ring_header)},
    {"ring_request", &ring_request, sizeof(ring_request)},
    {"ring_response", &ring_response, sizeof(ring_response)},
    {"ring_trace", &ring_trace, sizeof(ring_trace)},
    {"stream_trace", &stream_trace, sizeof(stream_trace)},
    {"lease_export", &lease_export, sizeof(lease_export)},
    {"ofi_offer", &ofi_offer, sizeof(ofi_offer)},
    {"ofi_region_offer", &ofi_region_offer, sizeof(ofi_region_offer)},
    {"stats_header", &stats_header, sizeof(stats_header)},
    {"stats_worker", &stats_worker, sizeof(stats_worker)},
    {"starter_start", &starter_start, sizeof(starter_start)},
    {"starter_started", &starter_started, sizeof(starter_started)},
    {"starter_refused", &starter_refused, sizeof(starter_refused)},
    {"starter_listed", &starter_listed, sizeof(starter_listed)},
    {"starter_exited", &starter_exited, sizeof(starter_exited)},
};
#define FRAMES (sizeof(frames) / sizeof(frames[0]))

/** The recorded bytes of a frame; their number, 0 = not recorded. */
static size_t recorded(const char *name, unsigned char *out, size_t room)
{
    char line[LINE_MAX_BYTES];
    size_t length = strlen(name), size = 0;
    FILE *file = fopen(RECORDED, "r");
    assert_non_null(file);
    while (size == 0 && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, name, length) != 0 || line[length] != ' ')
            continue;
        for (const char *at = line + length + 1; size < room && sscanf(at, "%2hhx", &out[size]) == 1; at += 2)
            size++;
    }
    fclose(file);
    return size;
}

static void todays_frames_are_the_recorded_ones(void **state)
{
    (void)state;
    unsigned char bytes[FRAME_MAX_BYTES];
    for (size_t i = 0; i < FRAMES; i++) {
        size_t size = recorded(frames[i].name, bytes, sizeof(bytes));
        if (size != frames[i].size || memcmp(bytes, frames[i].bytes, size) != 0)
            fail_msg("%s is not what it was: raise its version and record it anew", frames[i].name);
    }
}

#define READ(name, into) assert_int_equal(recorded(name, (unsigned char *)&(into), sizeof(into)), sizeof(into))

static void recorded_frames_are_accepted(void **state)
{
    (void)state;
    struct control_header header;
    struct stream_hello greeting;
    struct stream_welcome welcome;
    struct stream_request call;
    struct stream_response result;
    struct stream_access access;
    struct stream_piece one;
    struct stream_stride columns;
    struct ring_header ring;
    struct control_welcome control;
    READ("control_load", header);
    assert_int_equal(control_header_check(&header), SUBLET_OK);
    struct code_ask ask;
    struct code_answer kept;
    READ("code_ask", ask);
    assert_int_equal(code_ask_check(&ask), SUBLET_OK);
    READ("code_answer", kept);
    assert_int_equal(code_answer_check(&kept), SUBLET_OK);
    READ("stream_hello", greeting);
    assert_int_equal(stream_hello_check(&greeting), SUBLET_OK);
    READ("stream_welcome", welcome);
    assert_int_equal(stream_welcome_check(&welcome), SUBLET_OK);
    READ("stream_request", call);
    assert_int_equal(stream_request_check(&call), SUBLET_OK);
    assert_int_equal(stream_request_size(&call), (UINT64_C(1) << 32) + 10);
    READ("stream_response", result);
    assert_int_equal(stream_response_check(&result, 7, 0), SUBLET_OK);
    assert_int_equal(stream_response_size(&result), (UINT64_C(1) << 32) + 4096);
    READ("stream_access_add", access);
    assert_int_equal(stream_access_check(&access, 4096), SUBLET_OK);
    READ("stream_access_list", access);
    READ("stream_piece", one);
    assert_int_equal(stream_access_check(&access, 8192), SUBLET_OK);
    assert_int_equal(stream_pieces_check(&access, &one, 8192), SUBLET_OK);
    READ("stream_access_strided", access);
    READ("stream_stride", columns);
    assert_int_equal(stream_access_check(&access, 8192), SUBLET_OK);
    assert_int_equal(stream_stride_check(&access, &columns, 8192), SUBLET_OK);
    READ("ring_header", ring);
    assert_int_equal(ring_header_check(&ring, ring.total_bytes), SUBLET_OK);
    READ("control_welcome", control);
    assert_true(control.workers == 2 && control.region_bytes == UINT64_C(0x1122334455));
    READ("control_resolve", header); /* what stands before its body */
    assert_int_equal(control_header_check(&header), SUBLET_OK);
    struct ofi_offer offer;
    READ("ofi_offer", offer);
    assert_int_equal(ofi_offer_check(&offer), SUBLET_OK);
    READ("ofi_region_offer", offer);
    assert_int_equal(ofi_region_offer_check(&offer), SUBLET_OK);
    assert_int_not_equal(ofi_offer_check(&offer), SUBLET_OK); /* it has no slots */
}

static void a_recorded_path_is_accepted(void **state)
{
    (void)state;
    unsigned char frame[sizeof(load_path)];
    struct control_header header;
    size_t body = sizeof(header) + sizeof(struct control_code);
    READ("control_load_path", frame);
    memcpy(&header, frame, sizeof(header));
    assert_int_equal(control_header_check(&header), SUBLET_OK);
    assert_int_equal(header.size, sizeof(frame) - sizeof(header));
    assert_true(code_path_check((const char *)frame + body, sizeof(frame) - body));
}

/** What an agent of any release asks; test/unit/wire/recorded-starter.test.ts reads the answers. */
static void a_recorded_start_is_accepted(void **state)
{
    (void)state;
    static unsigned char frame[FRAME_MAX_BYTES];
    static struct message message;
    static struct text text;
    struct start_request start;
    char why[ERROR_BYTES] = "";
    size_t size = recorded("starter_start", frame, sizeof(frame) - 1);
    text_begin(&text);
    text_add(&text, "%.*s", (int)size - FRAME_HEADER, (const char *)frame + FRAME_HEADER);
    text_end(&text);
    assert_int_equal(text.size, size);
    assert_memory_equal(text.bytes, frame, size);
    assert_true(message_parse((char *)frame + FRAME_HEADER, size - FRAME_HEADER, &message));
    if (!request_start(&message, &start, false, why))
        fail_msg("%s", why);
    assert_string_equal(start.lease, "n2-1");
    assert_int_equal(start.uid, 60001);
    assert_int_equal(start.gid, 60002);
    assert_string_equal(start.cores, "2,3");
    assert_string_equal(start.pool, "pool-3");
    assert_string_equal(start.meta, "[1,\"n2-1\"]");
}

static int record(void)
{
    printf("# Frames as they crossed the wire: control %u, stream %u, ring %u. Made by recorded_test record.\n",
           CONTROL_VERSION, STREAM_VERSION, RING_VERSION);
    for (size_t i = 0; i < FRAMES; i++) {
        printf("%s ", frames[i].name);
        for (size_t j = 0; j < frames[i].size; j++)
            printf("%02x", ((const unsigned char *)frames[i].bytes)[j]);
        printf("\n");
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (ring_header_make(4, 4096, 128, &ring_header) != SUBLET_OK)
        return 1;
    if (argc == 2 && strcmp(argv[1], "record") == 0)
        return record();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(todays_frames_are_the_recorded_ones),
        cmocka_unit_test(recorded_frames_are_accepted),
        cmocka_unit_test(a_recorded_path_is_accepted),
        cmocka_unit_test(a_recorded_start_is_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
