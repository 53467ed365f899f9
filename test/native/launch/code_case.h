/** What the tests of kept code share, beside starter_case.h: leases of two owners, libraries, figures. */
#ifndef SUBLET_TEST_LAUNCH_CODE_CASE_H
#define SUBLET_TEST_LAUNCH_CODE_CASE_H

#include "starter_case.h"

#include "base/fds.h"
#include "bench/peer.h"
#include "wire/code.h"

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

enum { ALICE = 4001, BOB = 4002, MIB = 1 << 20 };

/** The text of a START with this owner and program. */
static inline const char *start_text(const char *lease, unsigned id, unsigned owner, const char *program)
{
    static char text[TEXT_BYTES];
    const char *all = driver_start_text(&driver, lease, id, "");
    const char *at = strstr(all, "\nowner=0\n"), *end = strstr(all, "\nexecutor=");
    snprintf(text, sizeof(text), "%.*s\nowner=%u%.*s\nexecutor=%s\n", (int)(at - all), all, owner, (int)(end - at) - 8,
             at + 8, program);
    return text;
}

/** Starts a real executor and connects to it as root. */
static inline void start(const char *lease, unsigned owner, struct peer *peer)
{
    struct executor executor = {0};
    assert_true(ask(start_text(lease, 100, owner, EXECUTOR), 100));
    assert_string_equal(field("ok"), "1");
    snprintf(executor.path, sizeof(executor.path), "%.60s/%.30s.sock", driver.run_dir, lease);
    executor.port = (uint16_t)atoi(field("port"));
    for (size_t i = 0; i < CONTROL_TOKEN_BYTES; i++)
        executor.token[i] = (uint8_t)(0x11 * (i % 16));
    assert_int_equal(peer_open(&executor, 2, 4096, 4096, peer), SUBLET_OK);
}

static inline void stop(const char *lease)
{
    char text[128];
    snprintf(text, sizeof(text), "verb=STOP\nid=101\nlease=%s\n", lease);
    assert_true(ask(text, 101));
    assert_string_equal(field("ok"), "1");
}

static inline void start_probe(const char *lease, unsigned owner)
{
    assert_true(ask(start_text(lease, 100, owner, driver_probe_path()), 100));
    assert_string_equal(field("ok"), "1");
}

/** Sends CODE; its answer is in driver.text then. */
static inline void code(uint64_t max_bytes, unsigned max_entries, const char *more)
{
    char text[160];
    snprintf(text, sizeof(text), "verb=CODE\nid=102\nmax_bytes=%llu\nmax_entries=%u\n%s", (unsigned long long)max_bytes,
             max_entries, more);
    assert_true(ask(text, 102));
    assert_string_equal(field("error"), "");
}

static inline uint64_t figure(const char *key)
{
    static const char *const keys[] = {"bytes",   "entries", "hits",  "misses", "kept",
                                       "refused", "evicted", "paths", "unread"};
    uint64_t figures[sizeof(keys) / sizeof(keys[0])];
    int fd = open(field("figures"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, figures, sizeof(figures), 0), sizeof(figures));
    close(fd);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (strcmp(keys[i], key) == 0)
            return figures[i];
    fail_msg("no figure %s", key);
    return 0;
}

static struct {
    const char *key;
    uint64_t value;
} awaited;

static inline bool has_come(void *argument)
{
    (void)argument;
    code(64 * MIB, 16, "");
    return figure(awaited.key) == awaited.value;
}

static inline void await_figure(const char *key, uint64_t value)
{
    awaited.key = key;
    awaited.value = value;
    if (!driver_until(has_come, NULL))
        fail_msg("%s is %llu, not %llu", key, (unsigned long long)figure(key), (unsigned long long)value);
}

/** libecho.so with as much behind it as makes `size` bytes, all of them `fill`. Caller frees. */
static inline unsigned char *library(size_t size, int fill, struct control_code *name)
{
    unsigned char *bytes = malloc(size);
    int fd = open(LIBRARIES "/libecho.so", O_RDONLY | O_CLOEXEC);
    assert_non_null(bytes);
    memset(bytes, fill, size);
    ssize_t got = read(fd, bytes, size);
    close(fd);
    assert_true(got > 0 && (size_t)got < size);
    name->size = size;
    sha256(bytes, size, name->hash);
    return bytes;
}

static inline sublet_status load_hash(const struct peer *peer, const struct control_code *name, uint32_t *number)
{
    uint32_t size = sizeof(*number);
    return peer_request(peer->fd, CONTROL_LOAD_HASH, name, sizeof(*name), number, &size);
}

static inline sublet_status load(const struct peer *peer, const void *bytes, size_t bytes_size, uint32_t *number)
{
    uint32_t size = sizeof(*number);
    return peer_request(peer->fd, CONTROL_LOAD, bytes, (uint32_t)bytes_size, number, &size);
}

static inline void assert_echoes(struct peer *peer, uint32_t number)
{
    uint32_t function = 0, size = 0;
    char out[8] = "";
    assert_int_equal(peer_resolve(peer->fd, number, "echo", &function), SUBLET_OK);
    assert_int_equal(peer_call(&peer->rings[0], function, "hello", 6, out, sizeof(out), &size), SUBLET_OK);
    assert_string_equal(out, "hello");
}

#endif
