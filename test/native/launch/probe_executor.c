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
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

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
    else if (strcmp(line, "exit") == 0)
        _exit(atoi(argument));
    else
        snprintf(answer, BYTES, "unknown command");
}

int main(void)
{
    signal(SIGXFSZ, SIG_IGN);
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
