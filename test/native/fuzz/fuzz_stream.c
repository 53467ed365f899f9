/** A worker's reading of calls from a connection, and the checks of everything else that crosses one. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "executor/stream_serve.h"

#define IN_BYTES  3000u
#define OUT_BYTES 500u

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
    must(call->sequence != 0 && call->size <= IN_BYTES && call->out_capacity <= OUT_BYTES);
    must(((uintptr_t)call->in & 63) == 0);
    for (uint32_t i = 0; i < call->size; i++)
        sum ^= ((const unsigned char *)call->in)[i];
    memset(call->out, sum, call->out_capacity);
    *size_out = call->out_capacity;
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
    if (stream_hello_check(&hello) == SUBLET_OK)
        must(hello.role < STREAM_ROLE_END && (hello.role != STREAM_CALLS || hello.out_bytes <= STREAM_PAYLOAD_MAX));
    if (stream_welcome_check(&welcome) == SUBLET_OK)
        must(welcome.workers <= CONTROL_WORKERS_MAX);
    if (stream_response_check(&response, 1, 100) == SUBLET_OK)
        must(response.size <= 100 && response.status < SUBLET_STATUS_COUNT);
    for (uint64_t bytes = 0; bytes < UINT64_MAX / 3; bytes = bytes * 3 + 4096)
        if (stream_access_check(&access, bytes) == SUBLET_OK)
            must(access.size <= STREAM_PAYLOAD_MAX && access.offset <= bytes && access.size <= bytes - access.offset &&
                 stream_access_extra(&access) <= STREAM_PIECES_MAX * sizeof(struct stream_piece));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct worker_page page;
    static struct functions functions;
    struct stream stream;
    int fds[2], buffer_fd;
    if (size < 2)
        return 0;
    check_frames(data, size);
    size_t piece = 1 + (data[0] | (size_t)data[1] << 8) % 8192;
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    must(stream_create(fds[0], IN_BYTES, OUT_BYTES, &stream, &buffer_fd) == SUBLET_OK);
    close(buffer_fd);
    bool dead = false;
    for (size_t at = 2; at < size && !dead; at += piece) {
        size_t here = size - at < piece ? size - at : piece;
        if (send(fds[1], data + at, here, MSG_NOSIGNAL) < 0)
            break;
        enum stream_look look = STREAM_LOOK_SERVED;
        while (look == STREAM_LOOK_SERVED) {
            char answers[4096];
            look = stream_serve(&stream, 0, &page, &functions);
            must(atomic_load(&page.current) == 0 && atomic_load(&stream.state->moving) == 0);
            while (recv(fds[1], answers, sizeof(answers), MSG_DONTWAIT) > 0) {
            }
        }
        dead = look == STREAM_LOOK_DEAD;
    }
    stream_unmap(&stream);
    close(fds[0]);
    close(fds[1]);
    return 0;
}
