/** A lent region: by descriptor on the same node, over TCP from others; its bounds either way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fds.h"
#include "bench/peer.h"

static const uint64_t region_bytes = (96u << 20) + 12345;

static int start(void **state)
{
    struct executor *executor = calloc(1, sizeof(*executor));
    struct executor_settings settings = {.program = EXECUTOR, .memory_bytes = region_bytes, .owner = getuid()};
    assert_int_equal(executor_start(&settings, executor), SUBLET_OK);
    *state = executor;
    return 0;
}

static int stop(void **state)
{
    executor_stop(*state);
    free(*state);
    return 0;
}

static int stream(const struct executor *executor)
{
    sublet_status status;
    int fd = peer_stream(executor, STREAM_REGION, 0, 0, 0, 0, &status);
    assert_int_equal(status, SUBLET_OK);
    return fd;
}

static void the_same_bytes_by_both_ways(void **state)
{
    const struct executor *executor = *state;
    struct peer peer;
    assert_int_equal(peer_open(executor, 0, 0, 0, &peer), SUBLET_OK);
    assert_true(peer.region_fd >= 0);
    assert_true(peer.region_bytes == region_bytes);
    struct stat info;
    assert_int_equal(fstat(peer.region_fd, &info), 0);
    assert_true((uint64_t)info.st_size == region_bytes);
    assert_true((uint64_t)info.st_blocks * 512 >= region_bytes); /* touched before it was handed over */
    assert_int_not_equal(ftruncate(peer.region_fd, 4096), 0);
    unsigned char *map = mmap(NULL, region_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, peer.region_fd, 0);
    assert_true(map != MAP_FAILED);
    for (uint64_t i = 0; i < region_bytes; i += 4093)
        assert_int_equal(map[i], 0);
    int fd = stream(executor);
    const uint32_t sizes[] = {0, 1, 24, 4096, 16384, 16385, 100000, 10 << 20, 64 << 20};
    unsigned char *bytes = malloc(64 << 20);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t offset = region_bytes - sizes[i] - i;
        for (uint32_t k = 0; k < sizes[i]; k++)
            bytes[k] = (unsigned char)(k * 13 + i);
        assert_int_equal(peer_access(fd, STREAM_PUT, offset, bytes, sizes[i]), SUBLET_OK);
        assert_memory_equal(map + offset, bytes, sizes[i]);
        for (uint32_t k = 0; k < sizes[i]; k++)
            map[offset + k] = (unsigned char)(bytes[k] + 1);
        memset(bytes, 0, sizes[i]);
        assert_int_equal(peer_access(fd, STREAM_GET, offset, bytes, sizes[i]), SUBLET_OK);
        assert_memory_equal(map + offset, bytes, sizes[i]);
    }
    free(bytes);
    close(fd);
    munmap(map, region_bytes);
    peer_close(&peer);
}

static void nothing_outside_is_touched(void **state)
{
    const struct executor *executor = *state;
    unsigned char bytes[64];
    const struct {
        uint64_t offset;
        uint32_t size;
        sublet_status status;
    } cases[] = {
        {region_bytes - 63, 64, SUBLET_ERR_INVALID}, {region_bytes + 1, 0, SUBLET_ERR_INVALID},
        {UINT64_MAX, 64, SUBLET_ERR_INVALID},        {UINT64_MAX - 63, 64, SUBLET_ERR_INVALID},
        {0, UINT32_MAX, SUBLET_ERR_TOO_LARGE},       {region_bytes - 64, 64, SUBLET_OK},
    };
    int fd = stream(executor);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(peer_access(fd, STREAM_GET, cases[i].offset, bytes, cases[i].size), cases[i].status);
    close(fd);
    for (size_t i = 0; i < 4; i++) { /* a put outside ends its connection, after its answer */
        fd = stream(executor);
        assert_int_equal(peer_access(fd, STREAM_PUT, cases[i].offset, bytes, cases[i].size), cases[i].status);
        assert_int_not_equal(peer_access(fd, STREAM_GET, 0, bytes, 64), SUBLET_OK);
        close(fd);
    }
    struct stream_access wrong = {.sequence = 1, .operation = 77};
    char byte;
    size_t none = 0;
    fd = stream(executor);
    assert_int_equal(fds_send(fd, &wrong, sizeof(wrong), NULL, 0, now_ns() + PEER_TIMEOUT_NS), SUBLET_OK);
    struct stream_response response;
    assert_int_equal(peer_stream_receive(fd, &response, NULL, 0), SUBLET_OK);
    assert_int_equal(response.status, SUBLET_ERR_INVALID);
    assert_int_equal(fds_receive(fd, &byte, 1, NULL, 0, &none, now_ns() + PEER_TIMEOUT_NS), SUBLET_ERR_LOST);
    close(fd);
}

static void accesses_may_be_on_their_way(void **state)
{
    const struct executor *executor = *state;
    int fd = stream(executor);
    for (uint32_t round = 0; round < 20; round++) {
        unsigned char batch[32 * 1100];
        size_t at = 0;
        for (uint32_t i = 0; i < 32; i++) {
            struct stream_access access = {
                .sequence = i + 1, .operation = STREAM_PUT, .offset = i * 2000u, .size = 1000 + i};
            memcpy(batch + at, &access, sizeof(access));
            memset(batch + at + sizeof(access), (int)(i + round), access.size);
            at += sizeof(access) + access.size;
        }
        assert_int_equal(fds_send(fd, batch, at, NULL, 0, now_ns() + PEER_TIMEOUT_NS), SUBLET_OK);
        for (uint32_t i = 0; i < 32; i++) {
            struct stream_response response;
            assert_int_equal(peer_stream_receive(fd, &response, NULL, 0), SUBLET_OK);
            assert_int_equal(response.sequence, i + 1);
            assert_int_equal(response.status, SUBLET_OK);
        }
        for (uint32_t i = 0; i < 32; i++) {
            unsigned char bytes[1100];
            assert_int_equal(peer_access(fd, STREAM_GET, i * 2000u, bytes, 1000 + i), SUBLET_OK);
            assert_int_equal(bytes[0], (unsigned char)(i + round));
            assert_int_equal(bytes[999 + i], (unsigned char)(i + round));
        }
    }
    close(fd);
}

/** Lists and strides that lie about themselves are refused; the gets among them leave the connection usable. */
static void wrong_lists_are_refused(void **state)
{
    struct {
        struct stream_access access;
        struct stream_piece piece; /* or a stride: the same size */
    } frames[] = {
        {{1, STREAM_GET_LIST, 0, 16, 1}, {region_bytes - 8, 16, 0}},
        {{2, STREAM_GET_LIST, 0, 17, 1}, {0, 16, 0}},
        {{3, STREAM_GET_LIST, 0, 16, 1}, {UINT64_MAX - 8, 16, 0}},
        {{4, STREAM_GET_LIST, 0, 16, 1}, {0, 16, 1}},
        {{5, STREAM_GET_STRIDED, 8, 16, 2}, {UINT64_MAX, 8, 0}},
        {{6, STREAM_GET_STRIDED, 0, 16, 2}, {4, 8, 0}},
        {{7, STREAM_GET_STRIDED, 0, 16, 2}, {region_bytes - 7, 8, 0}},
        {{8, STREAM_GET_STRIDED, 0, 8, 3}, {0, 0, 0}},
        {{9, STREAM_GET_LIST, 0, 8, STREAM_PIECES_MAX + 1}, {0, 8, 0}}, /* the last three end it */
        {{10, STREAM_ADD, 4, 8, 0}, {1, 0, 0}},
        {{11, STREAM_PUT_LIST, 0, 16, 1}, {region_bytes - 8, 16, 0}},
    };
    struct stream_response response;
    size_t count = sizeof(frames) / sizeof(frames[0]);
    char bytes[16];
    int fd = stream(*state);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(send(fd, &frames[i], sizeof(frames[i]), MSG_NOSIGNAL), sizeof(frames[i]));
        assert_int_equal(peer_stream_receive(fd, &response, bytes, 0), SUBLET_OK);
        assert_int_equal(response.sequence, frames[i].access.sequence);
        assert_int_equal(response.status, SUBLET_ERR_INVALID);
        if (i + 3 < count)
            continue;
        assert_int_equal(recv(fd, bytes, 1, 0), 0);
        close(fd);
        fd = stream(*state);
    }
    close(fd);
}

static void strangers_and_functions_are_refused(void **state)
{
    const struct executor *executor = *state;
    struct executor stranger = *executor;
    struct peer peer;
    sublet_status status;
    uint32_t library;
    stranger.token[31] ^= 128;
    assert_int_equal(peer_open(&stranger, 0, 0, 0, &peer), SUBLET_ERR_DENIED);
    assert_int_equal(peer_stream(&stranger, STREAM_REGION, 0, 0, 0, 0, &status), -1);
    assert_int_equal(status, SUBLET_ERR_DENIED);
    assert_int_equal(peer_stream(executor, STREAM_CALLS, 0, 0, 64, 64, &status), -1);
    assert_int_equal(status, SUBLET_ERR_INVALID);
    assert_int_equal(peer_open(executor, 0, 0, 0, &peer), SUBLET_OK);
    assert_int_equal(peer_load(peer.fd, LIBRARIES "/libecho.so", &library), SUBLET_ERR_INVALID);
    peer_close(&peer);
}

static void connections_are_bounded(void **state)
{
    const struct executor *executor = *state;
    int fds[80], opened = 0;
    sublet_status status = SUBLET_OK;
    while (opened < 80 && (fds[opened] = peer_stream(executor, STREAM_REGION, 0, 0, 0, 0, &status)) >= 0)
        opened++;
    assert_int_equal(status, SUBLET_ERR_BUSY);
    assert_int_equal(opened, 64);
    for (int i = 0; i < opened; i++)
        close(fds[i]);
    uint64_t end_ns = now_ns() + PEER_TIMEOUT_NS;
    int fd;
    while ((fd = peer_stream(executor, STREAM_REGION, 0, 0, 0, 0, &status)) < 0 && now_ns() < end_ns)
        usleep(1000);
    assert_true(fd >= 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_bytes_by_both_ways, start, stop),
        cmocka_unit_test_setup_teardown(nothing_outside_is_touched, start, stop),
        cmocka_unit_test_setup_teardown(accesses_may_be_on_their_way, start, stop),
        cmocka_unit_test_setup_teardown(wrong_lists_are_refused, start, stop),
        cmocka_unit_test_setup_teardown(strangers_and_functions_are_refused, start, stop),
        cmocka_unit_test_setup_teardown(connections_are_bounded, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
