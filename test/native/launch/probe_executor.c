/**
 * An executor for tests: keeps the descriptor contract and then does what it is told. One command a line on its unix
 * socket, one answer per connection. A lease named mute... is never ready, one named quit... ends at once.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fds.h"
#include "wire/code.h"

enum { BYTES = 1 << 16 };
static char first_cgroup[BYTES], config[BYTES], answer[BYTES];

static void read_all(int fd, char *into)
{
    size_t size = 0;
    ssize_t got;
    while (size < BYTES - 1 && (got = read(fd, into + size, BYTES - 1 - size)) > 0)
        size += (size_t)got;
    into[size] = '\0';
}

static void read_path(const char *path, char *into)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        snprintf(into, BYTES, "errno %d", errno);
        return;
    }
    read_all(fd, into);
    close(fd);
}

/** Before main: the first instructions that are ours. */
__attribute__((constructor)) static void remember_cgroup(void)
{
    read_path("/proc/self/cgroup", first_cgroup);
}

static void list(const char *path)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    size_t size = 0;
    if (directory == NULL) {
        snprintf(answer, BYTES, "errno %d", errno);
        return;
    }
    answer[0] = '\0';
    while ((entry = readdir(directory)) != NULL && size < BYTES - 300)
        size += (size_t)snprintf(answer + size, BYTES - size, "%s ", entry->d_name);
    closedir(directory);
}

static void forks(int wanted)
{
    pid_t *children = calloc((size_t)wanted, sizeof(*children));
    int count = 0, error = 0;
    while (count < wanted && (children[count] = fork()) > 0)
        count++;
    error = errno;
    if (count < wanted && children[count] == 0)
        for (;;)
            pause();
    for (int i = 0; i < count; i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
    free(children);
    snprintf(answer, BYTES, "%d %s", count, count < wanted ? strerror(error) : "all");
}

static void call(const char *text)
{
    long number = 0, arguments[6] = {0};
    sscanf(text, "%li %li %li %li %li %li %li", &number, &arguments[0], &arguments[1], &arguments[2], &arguments[3],
           &arguments[4], &arguments[5]);
    errno = 0;
    long result = syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
    snprintf(answer, BYTES, "%ld errno %d", result, result < 0 ? errno : 0);
}

static void peek(const char *text)
{
    int pid = 0;
    unsigned long address = 0;
    char path[64], byte;
    sscanf(text, "%d %lx", &pid, &address);
    struct iovec here = {&byte, 1}, there = {(void *)address, 1};
    ssize_t got = process_vm_readv(pid, &here, 1, &there, 1, 0);
    int error = got < 0 ? errno : 0;
    snprintf(path, sizeof(path), "/proc/%d/mem", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    snprintf(answer, BYTES, "readv %d open %d", error, fd < 0 ? errno : 0);
}

static void create(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    snprintf(answer, BYTES, "errno %d", fd < 0 ? errno : 0);
    if (fd >= 0)
        close(fd);
}

/** Fills a file until it cannot grow; says how many KiB fitted. */
static void fill(const char *path)
{
    static char zeros[1024];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), count = 0;
    while (fd >= 0 && count < 1 << 20 && write(fd, zeros, sizeof(zeros)) == (ssize_t)sizeof(zeros))
        count++;
    snprintf(answer, BYTES, "%d", count);
    if (fd >= 0)
        close(fd);
    unlink(path);
}

static void grow(unsigned long bytes)
{
    volatile char *memory = malloc(bytes);
    for (unsigned long i = 0; memory != NULL && i < bytes; i += 4096)
        memory[i] = 1;
    snprintf(answer, BYTES, "%s", memory == NULL ? "refused" : "got it");
}

/** Grandchildren that outlive their parents, as daemons do. */
static void daemons(int count)
{
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (child == 0) {
            setsid();
            close_range(3, ~0U, 0); /* or the connection would stay open as long as they live */
            if (fork() == 0)
                for (;;)
                    pause();
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    snprintf(answer, BYTES, "ok");
}

/** OPERATION ID SIZE HEX [BYTES]: asks for code, or sends the first bytes of such a frame. */
static void ask(const char *text)
{
    struct code_ask frame = {.magic = CODE_MAGIC};
    unsigned long size = 0, bytes = sizeof(frame);
    char hex[2 * SHA256_BYTES + 1] = "";
    sscanf(text, "%u %u %lu %64s %lu", &frame.operation, &frame.id, &size, hex, &bytes);
    frame.size = size;
    for (size_t i = 0; i < SHA256_BYTES; i++)
        sscanf(hex + 2 * i, "%2hhx", &frame.hash[i]);
    ssize_t written = write(CODE_ASK_FD, &frame, bytes);
    snprintf(answer, BYTES, "%zd errno %d", written, written < 0 ? errno : 0);
}

/** ID SIZE HEX BYTES PATH: asks for code by its path as well; of the frame and it, the first bytes (0: all). */
static void ask_path(const char *text)
{
    struct {
        struct code_ask ask;
        char path[1024];
    } frame = {.ask = {.magic = CODE_MAGIC, .operation = CODE_PATH}};
    unsigned long size = 0, bytes = 0;
    char hex[2 * SHA256_BYTES + 1] = "";
    sscanf(text, "%u %lu %64s %lu %1000s", &frame.ask.id, &size, hex, &bytes, frame.path);
    frame.ask.size = size;
    frame.ask.path_bytes = (uint32_t)strlen(frame.path);
    for (size_t i = 0; i < SHA256_BYTES; i++)
        sscanf(hex + 2 * i, "%2hhx", &frame.ask.hash[i]);
    if (bytes == 0)
        bytes = sizeof(frame.ask) + frame.ask.path_bytes;
    ssize_t written = write(CODE_ASK_FD, &frame, bytes);
    snprintf(answer, BYTES, "%zd errno %d", written, written < 0 ? errno : 0);
}

static int room = -1;

/** The next answer about code: operation, status and whether a descriptor came, which is kept. */
static void take(void)
{
    struct code_answer frame;
    size_t count = 0;
    int fd = -1;
    sublet_status status = fds_receive(CODE_ANSWER_FD, &frame, sizeof(frame), &fd, 1, &count, now_ns() + 1000000000);
    if (status != SUBLET_OK) {
        snprintf(answer, BYTES, "nothing: %s", sublet_status_text((int)status));
        return;
    }
    snprintf(answer, BYTES, "%u of %u: %u%s", frame.operation, frame.id, frame.status, count == 1 ? " with room" : "");
    if (count == 1)
        room = fd;
}

/** BYTE SEALED: fills what came with the last answer. */
static void fill_room(const char *text)
{
    int byte = 0, sealed = 0;
    struct stat info = {0};
    sscanf(text, "%d %d", &byte, &sealed);
    fstat(room, &info);
    char *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, room, 0);
    if (bytes == MAP_FAILED) {
        snprintf(answer, BYTES, "errno %d", errno);
        return;
    }
    memset(bytes, byte, (size_t)info.st_size);
    munmap(bytes, (size_t)info.st_size);
    int grown = ftruncate(room, info.st_size + 1), shrunk = ftruncate(room, 0);
    if (sealed && fcntl(room, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        snprintf(answer, BYTES, "errno %d", errno);
    else
        snprintf(answer, BYTES, "filled%s", grown == 0 || shrunk == 0 ? ", and its size can change" : "");
}

/** Tries to give the starter a descriptor. */
static void pass(void)
{
    sublet_status status = fds_send(CODE_ANSWER_FD, "x", 1, &(int){0}, 1, now_ns());
    snprintf(answer, BYTES, "%s", sublet_status_text((int)status));
}

/** How many of so many questions fit before the pipe is full. */
static void flood(int wanted)
{
    struct code_ask frame = {.magic = CODE_MAGIC, .operation = CODE_GET, .size = 4096};
    int written = 0;
    fcntl(CODE_ASK_FD, F_SETFL, O_NONBLOCK);
    while (written < wanted && write(CODE_ASK_FD, &frame, sizeof(frame)) == (ssize_t)sizeof(frame))
        written++;
    snprintf(answer, BYTES, "%d", written);
}

static void obey_about_code(const char *word, const char *argument)
{
    if (strcmp(word, "code-ask") == 0)
        ask(argument);
    else if (strcmp(word, "code-path") == 0)
        ask_path(argument);
    else if (strcmp(word, "code-take") == 0)
        take();
    else if (strcmp(word, "code-fill") == 0)
        fill_room(argument);
    else if (strcmp(word, "code-pass") == 0)
        pass();
    else if (strcmp(word, "code-flood") == 0)
        flood(atoi(argument));
}

static void obey(char *line)
{
    char *argument = strchr(line, ' ');
    if (argument != NULL)
        *argument++ = '\0';
    else
        argument = line + strlen(line);
    answer[0] = '\0';
    if (strcmp(line, "config") == 0)
        memcpy(answer, config, BYTES);
    else if (strcmp(line, "cgroup") == 0)
        memcpy(answer, first_cgroup, BYTES);
    else if (strcmp(line, "file") == 0)
        read_path(argument, answer);
    else if (strcmp(line, "list") == 0)
        list(argument);
    else if (strcmp(line, "forks") == 0)
        forks(atoi(argument));
    else if (strcmp(line, "call") == 0)
        call(argument);
    else if (strcmp(line, "peek") == 0)
        peek(argument);
    else if (strcmp(line, "create") == 0)
        create(argument);
    else if (strcmp(line, "fill") == 0)
        fill(argument);
    else if (strcmp(line, "grow") == 0)
        grow(strtoul(argument, NULL, 10));
    else if (strcmp(line, "daemons") == 0)
        daemons(atoi(argument));
    else if (strcmp(line, "hostname") == 0)
        gethostname(answer, BYTES);
    else if (strcmp(line, "pid") == 0)
        snprintf(answer, BYTES, "%d %d %lx", (int)getpid(), (int)getppid(), (unsigned long)answer);
    else if (strcmp(line, "ids") == 0)
        snprintf(answer, BYTES, "%d %d groups %d", (int)getuid(), (int)getgid(), getgroups(0, NULL));
    else if (strcmp(line, "tcp") == 0)
        snprintf(answer, BYTES, "%d", accept(4, NULL, NULL) >= 0);
    else if (strcmp(line, "greet") == 0)
        snprintf(answer, BYTES, "%zd", write(6, "C", 1));
    else if (strncmp(line, "code-", 5) == 0)
        obey_about_code(line, argument);
    else if (strcmp(line, "exit") == 0)
        _exit(atoi(argument));
    else
        snprintf(answer, BYTES, "unknown command");
}

int main(void)
{
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    if (getenv("SUBLET_PREPARED") != NULL && write(6, "W", 1) != 1)
        return 1;
    read_all(5, config);
    close(5);
    if (strstr(config, "\nlease=quit") != NULL)
        return 7;
    while (strstr(config, "\nlease=mute") != NULL)
        pause();
    if (write(6, "R", 1) != 1)
        return 1;
    if (strstr(config, "\nsays_client=1\n") == NULL)
        close(6);
    for (;;) {
        char line[4096];
        int fd = accept4(3, NULL, NULL, SOCK_CLOEXEC);
        ssize_t size = fd < 0 ? 0 : read(fd, line, sizeof(line) - 1);
        if (size > 0) {
            line[size] = '\0';
            line[strcspn(line, "\n")] = '\0';
            obey(line);
            (void)!write(fd, answer, strlen(answer));
        }
        if (fd >= 0)
            close(fd);
    }
}
