/*
 * LOAD_HASH and LOAD_PATH: a library that is here already, or that the node has or can read, is not sent. What the
 * starter hands out was loaded once by an executor of the same owner, and its content was checked by the starter: it
 * needs no probe. One that crashes all the same as it is loaded ends its worker, as a function that crashes does. What
 * it has read from a path, and nobody has loaded yet, is probed as a LOAD is, and the starter is told.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fds.h"
#include "executor/library.h"
#include "executor/supervisor.h"

static void answer_number(struct supervisor *supervisor, struct connection *connection, sublet_status status,
                          uint32_t number)
{
    connection->code_id = 0;
    if (connection_answer(supervisor, connection, status, &number, status == SUBLET_OK ? sizeof(number) : 0, NULL, 0))
        connection_resume(supervisor, connection);
}

/** One of this executor's libraries whose content the starter has checked. */
static bool find_checked(const struct supervisor *supervisor, const struct control_code *wanted, uint32_t *number_out)
{
    for (uint32_t i = 0; i < supervisor->workers.libraries; i++) {
        const struct code_known *known = &supervisor->known[i];
        if (known->checked && memcmp(known->hash, wanted->hash, sizeof(known->hash)) == 0) {
            *number_out = i;
            return true;
        }
    }
    return false;
}

void request_load_hash(struct supervisor *supervisor, struct connection *connection)
{
    uint32_t number = 0, path_bytes = connection->header.size - (uint32_t)sizeof(connection->wanted);
    const char *path = (const char *)connection->small + sizeof(connection->wanted);
    connection_drop_room(supervisor, connection);
    memcpy(&connection->wanted, connection->small, sizeof(connection->wanted));
    if (!supervisor->code.paths || !code_path_check(path, path_bytes))
        path_bytes = 0; /* then its content alone is asked for */
    if (connection->wanted.size < CONTROL_LIBRARY_MIN || connection->wanted.size > CONTROL_BODY_MAX)
        answer_number(supervisor, connection, SUBLET_ERR_INVALID, 0);
    else if (find_checked(supervisor, &connection->wanted, &number))
        answer_number(supervisor, connection, SUBLET_OK, number);
    else if (code_get(&supervisor->code, &connection->wanted, path, path_bytes, &connection->code_id))
        connection_wait(supervisor, connection, CONNECTION_WAITING, now_ns() + CODE_WAIT_NS);
    else
        answer_number(supervisor, connection, SUBLET_ERR_HASH, 0);
}

void request_code_late(struct supervisor *supervisor, struct connection *connection)
{
    answer_number(supervisor, connection, SUBLET_ERR_HASH, 0);
}

static struct connection *by_code(struct supervisor *supervisor, uint32_t id)
{
    for (uint32_t i = 0; i < supervisor->connection_end; i++)
        if (supervisor->connections[i].state == CONNECTION_WAITING && supervisor->connections[i].code_id == id)
            return &supervisor->connections[i];
    return NULL;
}

/** Of this size, and in the state that it was said to have? */
static bool is_library(int fd, uint64_t size, int seals)
{
    struct stat info;
    int has = fcntl(fd, F_GET_SEALS);
    return fstat(fd, &info) == 0 && (uint64_t)info.st_size == size && has >= 0 && (has & seals) == seals;
}

static sublet_status add_checked(struct supervisor *supervisor, const struct connection *connection, int fd,
                                 uint32_t *number_out)
{
    sublet_status status = workers_add_library(&supervisor->workers, fd, number_out);
    if (status != SUBLET_OK)
        return status;
    struct code_known *known = &supervisor->known[*number_out];
    *known = (struct code_known){.checked = true};
    memcpy(known->hash, connection->wanted.hash, sizeof(known->hash));
    return SUBLET_OK;
}

/** The node has it. Takes the descriptor. */
static void take_library(struct supervisor *supervisor, struct connection *connection, int fd, bool tried)
{
    uint32_t number = 0;
    sublet_status status = SUBLET_ERR_HASH;
    bool fits = is_library(fd, connection->wanted.size, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
    if (fits && !tried) {
        connection->code_id = 0;
        connection->library_fd = fd;
        request_probe(supervisor, connection, fd, NULL);
        return;
    }
    if (fits)
        status = add_checked(supervisor, connection, fd, &number);
    if (status != SUBLET_OK)
        close(fd);
    answer_number(supervisor, connection, status, number);
}

void request_path_probed(struct supervisor *supervisor, struct connection *connection, sublet_status status)
{
    uint32_t number = 0;
    if (status == SUBLET_OK)
        status = add_checked(supervisor, connection, connection->library_fd, &number);
    if (status == SUBLET_OK) {
        connection->library_fd = -1;
        code_tried(&supervisor->code, connection->wanted.hash, connection->wanted.size);
    }
    answer_number(supervisor, connection, status, number);
}

static void answered(struct supervisor *supervisor, const struct code_news *news)
{
    struct connection *connection = by_code(supervisor, news->answer.id);
    if (connection == NULL) {
        if (news->fd >= 0)
            close(news->fd); /* its client has been told to send it */
    } else if (news->answer.status == SUBLET_OK && news->fd >= 0)
        take_library(supervisor, connection, news->fd, news->answer.operation == CODE_GET);
    else {
        if (news->fd >= 0 && is_library(news->fd, connection->wanted.size, F_SEAL_SHRINK | F_SEAL_GROW)) {
            connection->room_fd = news->fd;
            connection->room_id = news->answer.id;
        } else if (news->fd >= 0)
            close(news->fd);
        answer_number(supervisor, connection, SUBLET_ERR_HASH, 0);
    }
}

/** What was offered is kept: its hash is known to be right. */
static void offered(struct supervisor *supervisor, const struct code_answer *answer)
{
    for (uint32_t i = 0; i < supervisor->workers.libraries && answer->status == SUBLET_OK; i++)
        if (supervisor->known[i].offer == answer->id && answer->id != 0)
            supervisor->known[i].checked = true;
}

void request_code_news(struct supervisor *supervisor)
{
    struct code_news news;
    while (code_next(&supervisor->code, &news)) {
        if (news.answer.operation == CODE_GET || news.answer.operation == CODE_PATH)
            answered(supervisor, &news);
        else {
            if (news.fd >= 0)
                close(news.fd);
            offered(supervisor, &news.answer);
        }
    }
}

void request_code_loaded(struct supervisor *supervisor, struct connection *connection, uint32_t library)
{
    if (connection->room_id == 0 || connection->room_fd >= 0)
        return; /* what was loaded was not filled into what the starter gave */
    struct code_known *known = &supervisor->known[library];
    code_offer(&supervisor->code, connection->room_id, connection->wanted.hash, connection->wanted.size);
    if (!known->checked) {
        known->offer = connection->room_id;
        memcpy(known->hash, connection->wanted.hash, sizeof(known->hash));
    }
    connection->room_id = 0;
}
