#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *const controllers[CONTROLLERS] = {"pids", "memory", "freezer"};

/** cgroup v2 alone: one hierarchy with all controllers. */
static bool unified(void)
{
    return access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
}

uint64_t driver_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

_Noreturn static void give_up(const char *what)
{
    fprintf(stderr, "driver: %s: %s\n", what, strerror(errno));
    exit(1);
}

bool driver_can_run(void)
{
    for (size_t i = 0; i < CONTROLLERS; i++) {
        char path[NAME_BYTES];
        snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/cgroup.procs", unified() ? "." : controllers[i]);
        if (geteuid() == 0 && access(path, W_OK) == 0)
            continue;
        fprintf(stderr, "skipped: needs root and cgroup v2 or the v1 controllers pids, memory and freezer\n");
        return false;
    }
    return true;
}

static void write_number(const char *folder, const char *file, long number)
{
    char path[2 * NAME_BYTES], text[32];
    snprintf(path, sizeof(path), "%s/%s", folder, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC), size = snprintf(text, sizeof(text), "%ld", number);
    if (fd < 0 || write(fd, text, (size_t)size) != size)
        give_up(path);
    close(fd);
}

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        give_up(path);
    close(fd);
}

static void make_unified_group(struct driver *driver)
{
    write_text("/sys/fs/cgroup/cgroup.subtree_control", "+pids +memory");
    snprintf(driver->groups[0], NAME_BYTES, "/sys/fs/cgroup/sublet_launch_test_%d", (int)getpid());
    if (mkdir(driver->groups[0], 0755) != 0)
        give_up(driver->groups[0]);
    driver->group_count = 1;
    driver->unified = true;
    write_number(driver->groups[0], "pids.max", PIDS_LIMIT);
    write_number(driver->groups[0], "memory.max", MEMORY_LIMIT);
}

static void make_groups(struct driver *driver)
{
    if (unified()) {
        make_unified_group(driver);
        return;
    }
    for (size_t i = 0; i < CONTROLLERS; i++) {
        snprintf(driver->groups[i], NAME_BYTES, "/sys/fs/cgroup/%s/sublet_launch_test_%d", controllers[i],
                 (int)getpid());
        if (mkdir(driver->groups[i], 0755) != 0)
            give_up(driver->groups[i]);
        driver->group_count = i + 1;
    }
    write_number(driver->groups[0], "pids.max", PIDS_LIMIT);
    write_number(driver->groups[1], "memory.limit_in_bytes", MEMORY_LIMIT);
}

void driver_start_starter(struct driver *driver, const char *option)
{
    driver->starter = fork();
    if (driver->starter < 0)
        give_up("fork");
    if (driver->starter == 0) {
        char *const arguments[] = {(char *)"sublet-starter", (char *)"--run-dir", driver->run_dir, (char *)option,
                                   NULL};
        const gid_t groups[] = {4, 27}; /* as an agent may have them; guests must not */
        if (setgroups(2, groups) != 0)
            _exit(125);
        if (getenv("VERBOSE") == NULL && freopen("/dev/null", "w", stderr) == NULL)
            _exit(126);
        execv(STARTER_PATH, arguments);
        _exit(127);
    }
    uint64_t end = driver_now_us() + 10000000;
    do {
        driver->socket = driver_connect(driver);
    } while (driver->socket < 0 && driver_now_us() < end && poll(NULL, 0, 1) == 0);
    if (driver->socket < 0)
        give_up("connect to the starter");
}

void driver_begin(struct driver *driver, const char *option)
{
    memset(driver, 0, sizeof(*driver));
    snprintf(driver->run_dir, NAME_BYTES, "/tmp/sublet_launch_XXXXXX");
    if (mkdtemp(driver->run_dir) == NULL)
        give_up("mkdtemp");
    make_groups(driver);
    driver_start_starter(driver, option);
}

int driver_connect(const struct driver *driver)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/starter.sock", driver->run_dir);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

bool driver_send(int fd, const char *text)
{
    uint32_t size = (uint32_t)strlen(text);
    unsigned char head[4] = {(unsigned char)size, (unsigned char)(size >> 8), (unsigned char)(size >> 16),
                             (unsigned char)(size >> 24)};
    return send(fd, head, 4, MSG_NOSIGNAL) == 4 && send(fd, text, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static bool receive_exactly(int fd, void *into, size_t size, int timeout_ms)
{
    size_t done = 0;
    while (done < size) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, timeout_ms) != 1)
            return false;
        ssize_t got = recv(fd, (char *)into + done, size - done, 0);
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

bool driver_receive(struct driver *driver, int timeout_ms)
{
    unsigned char head[4];
    driver->text[0] = '\0';
    if (!receive_exactly(driver->socket, head, 4, timeout_ms))
        return false;
    uint32_t size = head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 24;
    if (size < 1 || size >= TEXT_BYTES || !receive_exactly(driver->socket, driver->text, size, timeout_ms))
        return false;
    driver->text[size] = '\0';
    return true;
}

const char *driver_field(const char *text, const char *key)
{
    static char value[TEXT_BYTES];
    size_t size = strlen(key);
    for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, size) != 0 || line[size] != '=')
            continue;
        snprintf(value, sizeof(value), "%.*s", (int)strcspn(line + size + 1, "\n"), line + size + 1);
        return value;
    }
    return "";
}

bool driver_ask(struct driver *driver, const char *text, unsigned id)
{
    if (!driver_send(driver->socket, text))
        return false;
    while (driver_receive(driver, 10000)) {
        if (strcmp(driver_field(driver->text, "verb"), "EXITED") == 0)
            memcpy(driver->notice, driver->text, sizeof(driver->notice));
        else if (strtoul(driver_field(driver->text, "id"), NULL, 10) == id)
            return true;
    }
    return false;
}

const char *driver_probe_path(void)
{
    return PROBE_PATH;
}

const char *driver_start_text(const struct driver *driver, const char *lease, unsigned id, const char *more)
{
    static char text[TEXT_BYTES];
    char groups[CONTROLLERS * (NAME_BYTES + 8)];
    size_t size = 0;
    for (size_t i = 0; i < driver->group_count; i++)
        size += (size_t)snprintf(groups + size, sizeof(groups) - size, "cgroup=%s\n", driver->groups[i]);
    snprintf(text, sizeof(text),
             "verb=START\nid=%u\nlease=%s\nuid=%d\ngid=%d\n%sunix=%s/%s.sock\n"
             "tcp=127.0.0.1:0\nkind=function\ncores=0\nowner=0\nmemory=%d\npids=%d\n"
             "token=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\nspin_us=50\n"
             "meta={\"lease\":\"%s\"}\nexecutor=%s\n%s",
             id, lease, GUEST_UID, GUEST_UID, groups, driver->run_dir, lease, MEMORY_LIMIT, PIDS_LIMIT, lease,
             PROBE_PATH, more);
    return text;
}

pid_t driver_guest(struct driver *driver, const char *lease)
{
    if (!driver_ask(driver, driver_start_text(driver, lease, 1000, ""), 1000) ||
        strcmp(driver_field(driver->text, "ok"), "1") != 0) {
        fprintf(stderr, "START %s: %s\n", lease, driver->text);
        return -1;
    }
    return (pid_t)strtol(driver_field(driver->text, "pid"), NULL, 10);
}

const char *driver_tell(const struct driver *driver, const char *lease, const char *format, ...)
{
    static char answer[TEXT_BYTES];
    char command[512];
    va_list arguments;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = 10};
    size_t size = 0;
    ssize_t got;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    va_start(arguments, format);
    vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    snprintf(address.sun_path, sizeof(address.sun_path), "%.60s/%.40s.sock", driver->run_dir, lease);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    answer[0] = '\0';
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        send(fd, command, strlen(command), MSG_NOSIGNAL) > 0)
        while (size < sizeof(answer) - 1 && (got = recv(fd, answer + size, sizeof(answer) - 1 - size, 0)) > 0)
            size += (size_t)got;
    answer[size] = '\0';
    close(fd);
    return answer;
}

int driver_processes(const struct driver *driver)
{
    char path[2 * NAME_BYTES], text[4096];
    snprintf(path, sizeof(path), "%s/cgroup.procs", driver->groups[0]);
    int fd = open(path, O_RDONLY | O_CLOEXEC), count = 0;
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text));
    close(fd);
    for (ssize_t i = 0; i < size; i++)
        count += text[i] == '\n';
    return size < 0 ? -1 : count;
}

bool driver_until(bool (*condition)(void *), void *argument)
{
    uint64_t end = driver_now_us() + 10000000;
    while (!condition(argument)) {
        if (driver_now_us() > end)
            return false;
        poll(NULL, 0, 1);
    }
    return true;
}

bool driver_gone(void *pid)
{
    return kill(*(pid_t *)pid, 0) != 0 && errno == ESRCH;
}

bool driver_empty(void *driver)
{
    return driver_processes(driver) == 0;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static int count_sockets(const struct driver *driver)
{
    char command[2 * NAME_BYTES];
    snprintf(command, sizeof(command), "find %s -name '*.sock' | wc -l", driver->run_dir);
    FILE *pipe = popen(command, "r");
    int count = -1;
    if (pipe == NULL || fscanf(pipe, "%d", &count) != 1)
        count = -1;
    if (pipe != NULL)
        pclose(pipe);
    return count;
}

bool driver_end(struct driver *driver)
{
    bool clean = true;
    int status = 0;
    close(driver->socket);
    if (driver->starter > 0) {
        kill(driver->starter, SIGTERM);
        if (waitpid(driver->starter, &status, 0) != driver->starter || status != 0) {
            fprintf(stderr, "the starter ended with status %d\n", status);
            clean = false;
        }
        if (count_sockets(driver) != 0) {
            fprintf(stderr, "sockets are left in %s\n", driver->run_dir);
            clean = false;
        }
    }
    if (!driver_until(driver_empty, driver)) {
        fprintf(stderr, "%d processes are left\n", driver_processes(driver));
        clean = false;
    }
    for (size_t i = 0; i < driver->group_count; i++)
        if (rmdir(driver->groups[i]) != 0) {
            fprintf(stderr, "%s: %s\n", driver->groups[i], strerror(errno));
            clean = false;
        }
    return nftw(driver->run_dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0 && clean;
}
