/** Peers of other versions: a newer one is answered in ours, an older one is told, and neither harms anybody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fixture.h"

static int one_worker(void **state)
{
    return fixture_start((struct fixture **)state, "0", 0);
}

/** Greets over TCP as a control connection of that version; its welcome. */
static int greet(struct fixture *f, uint16_t version, struct stream_welcome *welcome)
{
    struct stream_hello hello = {.magic = STREAM_MAGIC, .version = version, .role = STREAM_CONTROL};
    size_t none = 0;
    memcpy(hello.token, f->executor.token, sizeof(hello.token));
    int fd = peer_connect_tcp(&f->executor);
    assert_true(fd >= 0);
    assert_int_equal(fds_send(fd, &hello, sizeof(hello), NULL, 0, now_ns() + PEER_TIMEOUT_NS), SUBLET_OK);
    assert_int_equal(fds_receive(fd, welcome, sizeof(*welcome), NULL, 0, &none, now_ns() + PEER_TIMEOUT_NS), SUBLET_OK);
    return fd;
}

/** Sends RESOLVE in that version; the version of the answer, 0 when the connection was closed. */
static uint16_t resolve(int fd, uint16_t version)
{
    const unsigned char body[] = {0, 0, 0, 0, 'e', 'c', 'h', 'o'};
    struct control_header header = {
        .magic = CONTROL_MAGIC, .version = version, .type = CONTROL_RESOLVE, .size = sizeof(body)};
    uint32_t function;
    size_t none = 0;
    uint64_t end_ns = now_ns() + PEER_TIMEOUT_NS;
    if (fds_send(fd, &header, sizeof(header), NULL, 0, end_ns) != SUBLET_OK ||
        fds_send(fd, body, sizeof(body), NULL, 0, end_ns) != SUBLET_OK ||
        fds_receive(fd, &header, sizeof(header), NULL, 0, &none, end_ns) != SUBLET_OK)
        return 0;
    assert_int_equal(header.status, SUBLET_OK);
    assert_int_equal(fds_receive(fd, &function, sizeof(function), NULL, 0, &none, end_ns), SUBLET_OK);
    return header.version;
}

static void a_newer_peer_is_answered_in_our_version(void **state)
{
    struct fixture *f = *state;
    struct stream_welcome welcome;
    int fd = greet(f, STREAM_VERSION + 7, &welcome);
    assert_int_equal(stream_welcome_check(&welcome), SUBLET_OK);
    assert_int_equal(welcome.version, STREAM_VERSION);
    assert_int_equal(resolve(fd, CONTROL_VERSION + 3), CONTROL_VERSION);
    assert_int_equal(resolve(fd, CONTROL_VERSION), CONTROL_VERSION);
    assert_int_equal(resolve(fd, CONTROL_VERSION + 3), 0); /* not what was agreed */
    close(fd);
    assert_ring_echoes(&f->peer.rings[0], f->echo);
}

static void an_older_peer_is_told(void **state)
{
    struct fixture *f = *state;
    struct stream_welcome welcome;
    char byte;
    size_t none = 0;
    int fd = greet(f, STREAM_VERSION_LEAST - 1, &welcome);
    assert_int_equal(welcome.status, SUBLET_ERR_VERSION);
    assert_int_equal(welcome.version, STREAM_VERSION); /* what it would have to speak */
    assert_int_equal(fds_receive(fd, &byte, 1, NULL, 0, &none, now_ns() + PEER_TIMEOUT_NS), SUBLET_ERR_LOST);
    close(fd);
    assert_ring_echoes(&f->peer.rings[0], f->echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_newer_peer_is_answered_in_our_version, one_worker, fixture_stop),
        cmocka_unit_test_setup_teardown(an_older_peer_is_told, one_worker, fixture_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
