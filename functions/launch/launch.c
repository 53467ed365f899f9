/** Opens what an executor is given (two listening sockets, configuration, ready pipe) and starts its process. */
#include "launch/starter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "launch/fabric.h"
#include "launch/log.h"
#include "launch/root.h"
#include "wire/stats_layout.h"

enum { BACKLOG = 128 };

void launch_remove_socket(const char *path)
{
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISSOCK(info.st_mode) && unlink(path) != 0)
        log_event(LOG_LEVEL_WARN, "cannot remove %s: %s", path, strerror(errno));
}

/** Only the owner connects: another user could make the supervisor wait by what he sends along. */
static bool give_socket(const char *path, uid_t owner)
{
    return chown(path, owner, (gid_t)-1) == 0;
}

static int listen_unix(const char *path, uid_t owner, char why[ERROR_BYTES])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    launch_remove_socket(path); /* left by a starter that was killed */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        snprintf(why, ERROR_BYTES, "bind %s: %s", path, strerror(errno));
        goto fail;
    }
    if (chmod(path, 0600) != 0 || !give_socket(path, owner) || listen(fd, BACKLOG) != 0) {
        snprintf(why, ERROR_BYTES, "listen on %s: %s", path, strerror(errno));
        unlink(path);
        goto fail;
    }
    return fd;
fail:
    if (fd >= 0)
        close(fd);
    return -1;
}

int launch_listen(const struct sockaddr_in *wanted, uint16_t *port_out, char why[ERROR_BYTES])
{
    struct sockaddr_in address = *wanted;
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        char host[INET_ADDRSTRLEN] = "";
        int error = errno;
        inet_ntop(AF_INET, &wanted->sin_addr, host, sizeof(host));
        snprintf(why, ERROR_BYTES, "listen on tcp %s: %s", host, strerror(error));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *port_out = ntohs(address.sin_port);
    return fd;
}

/** A descriptor of its own of one that launch_listen() made. */
static int take_listener(int listener, uint16_t *port_out, char why[ERROR_BYTES])
{
    struct sockaddr_in address = {0};
    socklen_t size = sizeof(address);
    int fd = fcntl(listener, F_DUPFD_CLOEXEC, 3);
    if (fd < 0 || getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        snprintf(why, ERROR_BYTES, "its socket: %s", strerror(errno));
    *port_out = ntohs(address.sin_port);
    return fd;
}

/** The executor's configuration; small enough for a pipe to take at once. */
static bool write_config(int fd, const struct start_request *request)
{
    char text[4096];
    int size =
        snprintf(text, sizeof(text), "kind=%s\nlease=%s\ncores=%s\nowner=%s\nmemory=%llu\ntoken=%s\nspin_us=%s\n",
                 request->kind, request->lease, request->cores, request->owner,
                 (unsigned long long)request->memory_bytes, request->token, request->spin_us);
    if (request->slots_max != NULL)
        size += snprintf(text + size, sizeof(text) - (size_t)size, "slots_max=%s\n", request->slots_max);
    if (request->fabric != NULL)
        size += snprintf(text + size, sizeof(text) - (size_t)size, "fabric=%s\n", request->fabric);
    if (request->awaited)
        size += snprintf(text + size, sizeof(text) - (size_t)size, "says_client=1\n");
    bool ok = write(fd, text, (size_t)size) == size;
    explicit_bzero(text, sizeof(text));
    return ok;
}

/** Memory of a fixed size for the executor to count in; its pages are the guest's, which touches them first. */
static int make_stats(void)
{
    int fd = memfd_create("sublet-stats", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && ftruncate(fd, STATS_TOTAL_BYTES) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/** Sets the size of a prepared guest's /tmp, whose mount only the guest sees: by way of its root. */
static bool resize_tmp(pid_t pid, uint64_t memory_bytes)
{
    char path[64], bytes[32];
    snprintf(path, sizeof(path), "/proc/%d/root/tmp", (int)pid);
    snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)root_tmp_bytes(memory_bytes));
    int fd = (int)syscall(SYS_fspick, AT_FDCWD, path, FSPICK_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = syscall(SYS_fsconfig, fd, FSCONFIG_SET_STRING, "size", bytes, 0) == 0 &&
              syscall(SYS_fsconfig, fd, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) == 0;
    close(fd);
    return ok;
}

/** Memory that an adapter is to reach is locked: as much as the lease has. Less is no error, then there is no fabric.
 */
static void limit_locked(pid_t pid, const struct start_request *request)
{
    struct rlimit limit = {.rlim_cur = request->memory_bytes, .rlim_max = request->memory_bytes};
    if (fabric_is_known(request->fabric) && prlimit(pid, RLIMIT_MEMLOCK, &limit, NULL) != 0)
        log_event(LOG_LEVEL_WARN, "lease %s: cannot set how much it may lock: %s", request->lease, strerror(errno));
}

bool launch_bind(const struct start_request *request, struct guest *guest, char why[ERROR_BYTES])
{
    const char *failed = NULL;
    limit_locked(guest->pid, request);
    if (!resize_tmp(guest->pid, request->memory_bytes))
        failed = "resize /tmp";
    else if (!give_socket(guest->unix_path, request->owner_uid) || rename(guest->unix_path, request->unix_path) != 0)
        failed = request->unix_path;
    else if (memcpy(guest->unix_path, request->unix_path, sizeof(guest->unix_path)),
             !write_config(guest->config_fd, request))
        failed = "pipe";
    if (failed != NULL)
        snprintf(why, ERROR_BYTES, "%.120s: %s", failed, strerror(errno));
    close(guest->config_fd);
    guest->config_fd = -1;
    return failed == NULL;
}

/** Where the executor lies, without links, so that it can be shown at the same place to the guest. */
static bool resolve_executor(const struct starter *starter, const char *executor, char path[PATH_MAX],
                             char folder[PATH_MAX], char why[ERROR_BYTES])
{
    if (realpath(executor, path) == NULL || access(path, X_OK) != 0) {
        snprintf(why, ERROR_BYTES, "executor %.200s: %s", executor, strerror(errno));
        return false;
    }
    size_t run_size = strlen(starter->run_dir);
    strcpy(folder, path);
    *strrchr(folder, '/') = '\0';
    if (folder[0] == '\0' ||
        (strncmp(folder, starter->run_dir, run_size) == 0 && (folder[run_size] == '/' || folder[run_size] == '\0'))) {
        snprintf(why, ERROR_BYTES, "executor: must lie in a folder other than / and the run directory");
        return false;
    }
    if (strncmp(folder, "/usr/", 5) == 0)
        folder[0] = '\0'; /* shown anyway */
    return true;
}

bool launch_guest(struct starter *starter, const struct start_request *asked, struct guest *guest, bool prepared,
                  char why[ERROR_BYTES])
{
    struct start_request request = *asked;
    char path[PATH_MAX], folder[PATH_MAX];
    const char *read_only[READ_ONLY_MAX + 1];
    int unix_fd = -1, tcp_fd = -1, config[2] = {-1, -1}, ready[2] = {-1, -1}, ask_fd = -1, answer_fd = -1;
    bool ok = false;
    if (!resolve_executor(starter, asked->executor, path, folder, why))
        return false;
    request.executor = path;
    size_t count = starter->read_only_count;
    memcpy(read_only, starter->read_only, count * sizeof(read_only[0]));
    if (folder[0] != '\0')
        read_only[count++] = folder;
    if ((unix_fd = listen_unix(request.unix_path, request.owner_uid, why)) < 0)
        return false;
    if ((tcp_fd = request.tcp_fd < 0 ? launch_listen(&request.tcp, &guest->port, why)
                                     : take_listener(request.tcp_fd, &guest->port, why)) < 0)
        goto done;
    if (pipe2(config, O_CLOEXEC) != 0 || pipe2(ready, O_CLOEXEC) != 0 || fcntl(ready[0], F_SETFL, O_NONBLOCK) != 0 ||
        (!prepared && !write_config(config[1], &request))) {
        snprintf(why, ERROR_BYTES, "pipe: %s", strerror(errno));
        goto done;
    }
    if ((guest->stats_fd = make_stats()) < 0) {
        snprintf(why, ERROR_BYTES, "memfd: %s", strerror(errno));
        goto done;
    }
    if (!request.is_region && !code_channel_open(starter, guest, &ask_fd, &answer_fd)) {
        snprintf(why, ERROR_BYTES, "channel for code: %s", strerror(errno));
        goto done;
    }
    struct child_plan plan = {.request = &request,
                              .filter = fabric_is_known(request.fabric) ? &starter->fabric_filter : &starter->filter,
                              .mount_point = starter->run_dir,
                              .read_only = read_only,
                              .read_only_count = count,
                              .unix_fd = unix_fd,
                              .tcp_fd = tcp_fd,
                              .config_fd = config[0],
                              .ready_fd = ready[1],
                              .stats_fd = guest->stats_fd,
                              .code_ask_fd = ask_fd,
                              .code_answer_fd = answer_fd,
                              .prepared = prepared,
                              .pilot = starter->pilot};
    if (!server_watch(starter, ready[0], EPOLLIN, WATCH_READY, guest->serial)) {
        snprintf(why, ERROR_BYTES, "epoll: %s", strerror(errno));
        goto done;
    }
    if ((guest->pid = child_start(&plan, why)) < 0)
        goto done;
    guest->ready_fd = ready[0];
    ready[0] = -1;
    if (prepared) {
        guest->config_fd = config[1];
        config[1] = -1;
    }
    ok = true;
done:
    if (!ok) {
        launch_remove_socket(request.unix_path);
        if (guest->stats_fd >= 0)
            close(guest->stats_fd);
        guest->stats_fd = -1;
        code_channel_close(starter, guest);
    }
    const int all[] = {unix_fd, tcp_fd, config[0], config[1], ready[0], ready[1], ask_fd, answer_fd};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i] >= 0)
            close(all[i]);
    return ok;
}
