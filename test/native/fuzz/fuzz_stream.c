/** A worker's reading of calls from a connection, and the checks of everything else that crosses one. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "executor/stream_serve.h"
#include "wire/export.h"

#define LIMIT_BYTES  (UINT64_C(1) << 20)
#define ANSWER_BYTES UINT64_C(3000)

static void must(bool holds)
{
    if (!holds)
        __builtin_trap();
}

void worker_begin_answer(struct worker_page *page, uint64_t call)
{
    must(atomic_compare_exchange_strong(&page->current, &call, call | CALL_ANSWERING));
}

sublet_status functions_run(struct functions *functions, const struct ring_call *call, uint64_t *size_out)
{
    volatile unsigned char sum = 0;
    (void)functions;
    must(call->sequence != 0 && call->size <= LIMIT_BYTES && call->out_capacity <= LIMIT_BYTES);
    must(((uintptr_t)call->in & 63) == 0 && ((uintptr_t)call->out & 63) == 0);
    for (uint64_t i = 0; i < call->size; i++)
        sum ^= ((const unsigned char *)call->in)[i];
    if (call->out_capacity > 0)
        memset(call->out, sum, call->out_capacity);
    must((const unsigned char *)call->end - (const unsigned char *)call->out >= (int64_t)call->out_capacity + 8);
    *size_out = call->out_capacity < ANSWER_BYTES ? call->out_capacity : ANSWER_BYTES; /* nobody reads meanwhile */
    if ((call->function & 2) != 0) {
        *size_out = UINT64_C(5) << 32;
        return SUBLET_ERR_TOO_LARGE;
    }
    return (call->function & 1) != 0 ? SUBLET_ERR_FUNCTION : SUBLET_OK;
}

static void check_frames(const uint8_t *data, size_t size)
{
    struct stream_hello hello = {0};
    struct stream_welcome welcome = {0};
    struct stream_response response = {0};
    struct stream_access access = {0};
    memcpy(&hello, data, size < sizeof(hello) ? size : sizeof(hello));
    memcpy(&welcome, data, size < sizeof(welcome) ? size : sizeof(welcome));
    memcpy(&response, data, size < sizeof(response) ? size : sizeof(response));
    memcpy(&access, data, size < sizeof(access) ? size : sizeof(access));
    struct lease_export export;
    if (export_read(data, size, &export) == SUBLET_OK)
        must(export.slots > 0 && strlen(export.address) < sizeof(export.address) &&
             strlen(export.name) < sizeof(export.name) && strlen(export.node) < sizeof(export.node));
    if (stream_hello_check(&hello) == SUBLET_OK)
        must(hello.role < STREAM_ROLE_END && (hello.role != STREAM_CALLS || hello.worker < CONTROL_WORKERS_MAX));
    if (stream_welcome_check(&welcome) == SUBLET_OK)
        must(welcome.workers <= CONTROL_WORKERS_MAX);
    if (stream_response_check(&response, 1, 100) == SUBLET_OK)
        must(stream_response_body(&response) <= 100 && response.status < SUBLET_STATUS_COUNT);
    struct stream_request request = {0};
    memcpy(&request, data, size < sizeof(request) ? size : sizeof(request));
    if (stream_request_check(&request) == SUBLET_OK)
        must(stream_request_size(&request) <= STREAM_CALL_MAX && stream_request_room(&request) <= STREAM_CALL_MAX);
    for (uint64_t bytes = 0; bytes < UINT64_MAX / 3; bytes = bytes * 3 + 4096)
        if (stream_access_check(&access, bytes) == SUBLET_OK)
            must(access.size <= STREAM_PAYLOAD_MAX && access.offset <= bytes &&
                 (access.operation >= STREAM_GET_LIST || access.size <= bytes - access.offset) &&
                 stream_access_extra(&access) <= STREAM_PIECES_MAX * sizeof(struct stream_piece));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct worker_page page;
    static struct functions functions;
    static struct stream_server server;
    static struct stats_worker stats;
    static const struct stats_clock clock = {.ns_per_tick = 1u << 24};
    struct worker_page *pages[1] = {&page};
    struct memory memory = {.page = &page, .pages = pages, .workers = 1, .limit = LIMIT_BYTES};
    struct stream stream;
    int fds[2], buffer_fd;
    if (size < 2)
        return 0;
    check_frames(data, size);
    size_t piece = 1 + (data[0] | (size_t)data[1] << 8) % 8192;
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    must(stream_create(fds[0], &stream, &buffer_fd) == SUBLET_OK);
    close(buffer_fd);
    server.page = &page;
    server.functions = &functions;
    functions.sampler.stats = &stats;
    functions.sampler.clock = &clock;
    server.memory = &memory;
    memset(server.fast, data[0] & 1, sizeof(server.fast)); /* known to be short: answers are gathered */
    bool dead = false;
    for (size_t at = 2; at < size && !dead; at += piece) {
        size_t here = size - at < piece ? size - at : piece;
        if (send(fds[1], data + at, here, MSG_NOSIGNAL) < 0)
            break;
        enum stream_look look = STREAM_LOOK_SERVED;
        while (look == STREAM_LOOK_SERVED) {
            char answers[4096];
            look = stream_serve(&server, &stream, 0);
            must(atomic_load(&page.current) == 0 && atomic_load(&stream.state->moving) == 0);
            must(look == STREAM_LOOK_DEAD || atomic_load(&stream.state->batched) == 0);
            must(atomic_load(&page.large[MEMORY_IN]) == stream.capacity - stream_small());
            while (recv(fds[1], answers, sizeof(answers), MSG_DONTWAIT) > 0) {
            }
        }
        dead = look == STREAM_LOOK_DEAD;
    }
    memory_give(&memory, MEMORY_IN, stream.capacity - stream_small());
    space_free(&memory, &server.out);
    must(atomic_load(&page.large[MEMORY_IN]) == 0 && atomic_load(&page.large[MEMORY_OUT]) == 0);
    stream_unmap(&stream);
    close(fds[0]);
    close(fds[1]);
    return 0;
}
