/** The supervisor's connection machine, fed with bytes as a client would; behind it, requests that only check. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "executor/library.h"
#include "executor/supervisor.h"

static struct supervisor supervisor;
static struct executor_options options;

static void must(bool holds)
{
    if (!holds)
        __builtin_trap();
}

/** The starter's answer: room for what was asked for, or none. */
static void give_room(struct supervisor *of, struct connection *connection)
{
    void *bytes = NULL;
    connection_drop_room(of, connection);
    memcpy(&connection->wanted, connection->small, sizeof(connection->wanted));
    uint64_t size = connection->wanted.size;
    if (size < CONTROL_LIBRARY_MIN || size > 65536 || (connection->wanted.hash[0] & 1) != 0)
        return;
    must(library_begin(size, &connection->room_fd, &bytes) == SUBLET_OK);
    munmap(bytes, size);
    connection->room_id = 1;
}

void request_serve(struct supervisor *of, struct connection *connection)
{
    const struct control_header *header = &connection->header;
    volatile unsigned char sum = 0;
    must(control_header_check(header) == SUBLET_OK && connection->have == header->size);
    must((header->type == CONTROL_HELLO) != connection->trusted);
    must((header->type == CONTROL_LOAD) == (connection->library != NULL));
    const unsigned char *body = connection->library != NULL ? connection->library : connection->small;
    for (uint32_t i = 0; i < header->size; i++)
        sum ^= body[i];
    if (header->type == CONTROL_LOAD_HASH || header->type == CONTROL_LOAD_PATH)
        give_room(of, connection);
    connection->trusted = true;
    unsigned char byte = sum;
    if (connection_answer(of, connection, SUBLET_OK, &byte, header->type == CONTROL_CANCEL ? 0 : 1, NULL, 0))
        connection_resume(of, connection);
}

void request_stream_hello(struct supervisor *of, struct connection *connection)
{
    struct stream_hello hello;
    memcpy(&hello, connection->small, sizeof(hello));
    if (stream_hello_check(&hello) != SUBLET_OK) {
        connection_close(of, connection);
        return;
    }
    must(hello.role > 0 && hello.role < STREAM_ROLE_END);
    must(hello.role != STREAM_CALLS || (hello.worker < CONTROL_WORKERS_MAX && hello.in_bytes <= STREAM_PAYLOAD_MAX));
    connection->trusted = true;
    if (hello.role == STREAM_CONTROL)
        connection_resume(of, connection);
    else
        connection_linger(of, connection);
}

void workers_remove_client(struct workers *workers, uint32_t client)
{
    (void)workers;
    (void)client;
    __builtin_trap();
}

void workers_remove_stream(struct workers *workers, uint32_t worker, uint32_t stream)
{
    (void)workers;
    (void)worker;
    (void)stream;
    __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fds[2];
    if (size < 2)
        return 0;
    if (supervisor.options == NULL) {
        supervisor.options = &options;
        supervisor.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    }
    bool tcp = (data[0] & 1) != 0;
    size_t piece = 1 + data[1];
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    connection_accept(&supervisor, fds[0], tcp);
    struct connection *connection = &supervisor.connections[0];
    must(connection->state == CONNECTION_GREETING);
    for (size_t at = 2; at < size; at += piece) {
        size_t here = size - at < piece ? size - at : piece;
        if (send(fds[1], data + at, here, MSG_NOSIGNAL) < 0)
            break;
        connection_event(&supervisor, connection, EPOLLIN);
        char answers[4096];
        while (recv(fds[1], answers, sizeof(answers), MSG_DONTWAIT) > 0) {
        }
    }
    close(fds[1]);
    connection_event(&supervisor, connection, EPOLLIN | EPOLLHUP);
    if (connection->state != CONNECTION_FREE)
        connection_close(&supervisor, connection);
    return 0;
}
