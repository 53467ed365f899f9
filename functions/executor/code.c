#include "executor/code.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_kind(int fd, mode_t kind)
{
    struct stat info;
    return fstat(fd, &info) == 0 && (info.st_mode & S_IFMT) == kind && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
           fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0;
}

void code_open(struct code *code)
{
    const char *value = getenv(CODE_ENVIRONMENT);
    bool given = value != NULL;
    bool hears_paths = given && strcmp(value, CODE_VALUE_PATHS) == 0;
    unsetenv(CODE_ENVIRONMENT);
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE); /* children begin with an empty mask */
    code->open = given && sigprocmask(SIG_BLOCK, &pipe, NULL) == 0 && is_kind(CODE_ASK_FD, S_IFIFO) &&
                 is_kind(CODE_ANSWER_FD, S_IFSOCK);
    code->paths = code->open && hears_paths;
}

static bool ask(struct code *code, enum code_operation operation, uint32_t id, const uint8_t *hash, uint64_t size)
{
    struct code_ask frame = {.magic = CODE_MAGIC, .operation = operation, .id = id, .size = size};
    memcpy(frame.hash, hash, sizeof(frame.hash));
    return code->open && write(CODE_ASK_FD, &frame, sizeof(frame)) == (ssize_t)sizeof(frame);
}

bool code_get(struct code *code, const struct control_code *wanted, const char *path, uint32_t path_bytes,
              uint32_t *id_out)
{
    struct {
        struct code_ask ask;
        char path[CONTROL_PATH_MAX];
    } frame;
    uint32_t id = code->last_id + 1 != 0 ? code->last_id + 1 : 1;
    size_t bytes = sizeof(frame.ask) + path_bytes;
    frame.ask = (struct code_ask){.magic = CODE_MAGIC,
                                  .operation = path_bytes > 0 ? CODE_PATH : CODE_GET,
                                  .id = id,
                                  .path_bytes = path_bytes,
                                  .size = wanted->size};
    memcpy(frame.ask.hash, wanted->hash, sizeof(frame.ask.hash));
    memcpy(frame.path, path, path_bytes);
    if (!code->open || write(CODE_ASK_FD, &frame, bytes) != (ssize_t)bytes)
        return false;
    *id_out = code->last_id = id;
    return true;
}

void code_offer(struct code *code, uint32_t id, const uint8_t *hash, uint64_t size)
{
    (void)ask(code, CODE_OFFER, id, hash, size); /* a full pipe: then it is not kept */
}

void code_tried(struct code *code, const uint8_t *hash, uint64_t size)
{
    (void)ask(code, CODE_TRIED, 0, hash, size);
}

void code_drop(struct code *code, uint32_t id, const uint8_t *hash, uint64_t size)
{
    (void)ask(code, CODE_DROP, id, hash, size);
}

static int taken_fd(struct msghdr *message)
{
    int fd = -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    return fd;
}

bool code_next(struct code *code, struct code_news *out)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = &out->answer, .iov_len = sizeof(out->answer)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_LEN(sizeof(int))}; /* one */
    if (!code->open)
        return false;
    ssize_t got = recvmsg(CODE_ANSWER_FD, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    out->fd = got > 0 ? taken_fd(&message) : -1;
    if (got == (ssize_t)sizeof(out->answer) && code_answer_check(&out->answer) == SUBLET_OK)
        return true;
    if (out->fd >= 0)
        close(out->fd);
    code->open = false;
    close(CODE_ASK_FD);
    close(CODE_ANSWER_FD);
    return false;
}
