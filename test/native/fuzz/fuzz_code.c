/**
 * Both sides of wire/code.h, fed by a hostile other side: the starter with what guests ask and offer, and an executor
 * with answers. The helper is left out (what it would find is in the input); all that is kept stays within its limits.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fds.h"
#include "executor/code.h"
#include "launch/code_channel.h"
#include "launch/code_store.h"
#include "launch/starter.h"

enum { GUESTS = 2, MAX_BYTES = 1 << 20, MAX_ENTRIES = 6 };

static struct starter starter;
static uint64_t now;
static int ask_fds[GUESTS], answer_fds[GUESTS];
static bool finds_it_right;

static void must(bool holds)
{
    if (!holds)
        __builtin_trap();
}

uint64_t monotonic_ns(void)
{
    return now;
}

bool server_watch(struct starter *of, int fd, uint32_t events, enum watch_kind kind, uint64_t serial)
{
    (void)of, (void)fd, (void)events, (void)kind, (void)serial;
    return true;
}

bool server_rewatch(struct starter *of, int fd, uint32_t events, enum watch_kind kind, uint64_t serial)
{
    return server_watch(of, fd, events, kind, serial);
}

void server_send(struct starter *of, uint64_t client)
{
    (void)of, (void)client;
}

void server_answer_error(struct starter *of, struct waiter waiter, const char *error)
{
    (void)of, (void)waiter, (void)error;
}

/** No process: it has sealed the copy, and ends when it is told to (reap). */
pid_t code_copy_start(const struct code_copy *copy)
{
    static pid_t last = 1 << 29;
    must(copy->from >= 0 || strcmp(copy->prefix, "/shared") == 0);
    if (copy->from < 0) { /* its text keeps it below there */
        char name[CONTROL_PATH_MAX + 2];
        snprintf(name, sizeof(name), "/%s", copy->name);
        must(code_path_check(name, strlen(name)));
    }
    fcntl(copy->to, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    return ++last;
}

static void check(void)
{
    struct code_share all = code_share(&starter.code, NULL);
    must(all.bytes <= starter.code.max_bytes && all.entries <= starter.code.max_entries);
    for (size_t i = 0; i < GUESTS; i++) {
        struct code_share own = code_share(&starter.code, &starter.guests[i].owner);
        must(own.bytes <= code_half(starter.code.max_bytes) && own.entries <= code_half(starter.code.max_entries));
    }
}

static void open_guest(size_t i)
{
    struct guest *guest = &starter.guests[i];
    code_channel_none(&guest->code);
    guest->state = GUEST_READY;
    guest->serial = i + 1;
    guest->owner = (uid_t)(1000 + i);
    must(code_channel_open(&starter, guest, &ask_fds[i], &answer_fds[i]));
    fcntl(ask_fds[i], F_SETFL, O_NONBLOCK);
}

static void close_guest(size_t i)
{
    code_channel_close(&starter, &starter.guests[i]);
    close(ask_fds[i]);
    close(answer_fds[i]);
    starter.guests[i].state = GUEST_FREE;
}

/** All helpers end, those among them that begin as others end. */
static void reap(void)
{
    for (size_t i = 0; i < CODE_READERS_MAX; i++)
        if (starter.code.readers[i].pid != 0)
            code_on_exit(&starter, starter.code.readers[i].pid, finds_it_right ? 0 : 256);
    for (size_t i = 0; i < CODE_HELPERS_MAX; i++)
        while (starter.code.helpers[i].pid != 0)
            code_on_exit(&starter, starter.code.helpers[i].pid, finds_it_right ? 0 : 256);
}

/** What the guest does with an answer: fills and seals what it got, or not. */
static void take_answers(size_t i, uint8_t how)
{
    struct code_answer answer;
    size_t count = 0;
    int fd = -1;
    while (fds_receive(answer_fds[i], &answer, sizeof(answer), &fd, 1, &count, 0) == SUBLET_OK) {
        must(code_answer_check(&answer) == SUBLET_OK);
        if (count == 1 && (how & 4) != 0)
            fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE);
        if (count == 1)
            close(fd);
    }
}

/** A frame that makes sense from four bytes, or any bytes; how many of the input it took. */
static size_t ask(size_t i, bool sense, const uint8_t *data, size_t size)
{
    static const uint64_t sizes[] = {64, 5000, 200000, MAX_BYTES / 2, MAX_BYTES, 63, UINT64_MAX, 4096};
    if (!sense || size < 4) {
        if (size > 0)
            (void)!write(ask_fds[i], data, size);
        return size;
    }
    struct code_ask frame = {.magic = CODE_MAGIC,
                             .operation = data[0] % (CODE_OPERATION_END + 1),
                             .id = data[1] % 8,
                             .size = sizes[data[2] % 8],
                             .hash = {data[3] % 8}};
    if (frame.operation != CODE_PATH) {
        (void)!write(ask_fds[i], &frame, sizeof(frame));
        return 4;
    }
    /* What follows is its path, below a folder that is shared or not: as many bytes as there are, and are said. */
    struct {
        struct code_ask ask;
        char path[CONTROL_PATH_MAX];
    } with = {.ask = frame, .path = "/shared/"};
    size_t more = size - 4 < 16 ? size - 4 : 16, begin = (data[3] & 64) != 0 ? 8 : 0, said = begin + more;
    memcpy(with.path + begin, data + 4, more);
    with.ask.path_bytes = (uint32_t)((data[3] & 128) != 0 ? said + 1 : said);
    (void)!write(ask_fds[i], &with, sizeof(with.ask) + said);
    return 4 + more;
}

/** Each byte pair says who does what. */
static void attack_starter(const uint8_t *data, size_t size)
{
    starter.code.max_bytes = MAX_BYTES;
    starter.code.max_entries = MAX_ENTRIES;
    starter.code.read_again_ns = 0;
    starter.code.prefix_count = 1;
    strcpy(starter.code.prefixes[0], "/shared");
    for (size_t i = 0; i < GUESTS; i++)
        open_guest(i);
    while (size >= 2) {
        size_t i = data[0] % GUESTS, bytes = data[1];
        uint8_t how = data[0];
        data += 2, size -= 2;
        finds_it_right = (how & 8) != 0;
        bytes = ask(i, (how & 128) == 0, data, bytes < size ? bytes : size);
        data += bytes, size -= bytes;
        now += (how & 16) != 0 ? 1000000000 : 1000;
        for (int round = 0; round < 4; round++)
            code_on_ask(&starter, i + 1);
        code_on_time(&starter, now);
        if ((how & 32) != 0)
            reap();
        take_answers(i, how);
        check();
        if ((how & 64) != 0 && starter.guests[i].code.ask_fd < 0) {
            close_guest(i);
            open_guest(i);
        }
    }
    for (size_t i = 0; i < GUESTS; i++)
        close_guest(i);
    starter.code.keeper = 1;
    code_on_client_gone(&starter, 1);
    reap();
    code_look(&starter, now);
    must(code_share(&starter.code, NULL).entries == 0);
}

static void attack_executor(const uint8_t *data, size_t size)
{
    int sockets[2], pipes[2];
    struct code code = {0};
    struct code_news news;
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0 && pipe2(pipes, O_CLOEXEC) == 0);
    int high = fcntl(sockets[1], F_DUPFD_CLOEXEC, 64), higher = fcntl(pipes[1], F_DUPFD_CLOEXEC, 64);
    close(sockets[1]), close(pipes[1]);
    must(dup2(high, CODE_ANSWER_FD) == CODE_ANSWER_FD && dup2(higher, CODE_ASK_FD) == CODE_ASK_FD);
    close(high), close(higher);
    setenv(CODE_ENVIRONMENT, "1", 1);
    code_open(&code);
    must(code.open && !code.paths && getenv(CODE_ENVIRONMENT) == NULL); /* its starter is an earlier one */
    while (size >= 1 && code.open) {
        size_t bytes = (data[0] & 1) != 0 ? sizeof(struct code_answer) : data[0] / 8;
        int fds[2] = {sockets[0], sockets[0]}, count = (data[0] >> 1) % 3;
        data++, size--;
        if (bytes > size)
            bytes = size;
        if (bytes > 0)
            (void)fds_send(sockets[0], data, bytes, fds, (size_t)count, 0);
        data += bytes, size -= bytes;
        while (code_next(&code, &news)) {
            must(code_answer_check(&news.answer) == SUBLET_OK);
            if (news.fd >= 0)
                close(news.fd);
        }
    }
    close(sockets[0]), close(pipes[0]);
    while (code.open)
        must(!code_next(&code, &news));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (starter.code.figures == NULL) {
        starter.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        for (int fd = CODE_ASK_FD; fd <= CODE_ANSWER_FD; fd++) /* theirs for good */
            dup2(starter.epoll_fd, fd);
        must(code_begin(&starter));
    }
    if (size < 1)
        return 0;
    if ((data[0] & 1) != 0)
        attack_starter(data + 1, size - 1);
    else
        attack_executor(data + 1, size - 1);
    return 0;
}
