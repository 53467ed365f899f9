/**
 * sublet-starter: starts executors inside their cgroups and sandboxes, and is their parent.
 *
 * The agent (TypeScript) starts it when nobody listens on <run_dir>/starter.sock; it outlives the agent, so that guests
 * go on while an agent restarts, and tells the next one what runs (LIST). One per run directory: it holds a lock on
 * <run_dir>/starter.lock, which also names its pid. When it dies, all guests die (PDEATHSIG): in doubt the guest dies.
 * SIGTERM ends all guests, then itself. Requests and answers are described in message.h, request.h and guests.c.
 */
#include "launch/starter.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "launch/log.h"
#include "launch/notify.h"
#include "launch/pilot.h"

enum { EXIT_USAGE = 2, EXIT_LOCKED = 3 };

static struct starter starter; /* large, and there is one */

static const char usage[] =
    "usage: sublet-starter [--run-dir DIR] [--ready-timeout-ms N] [--stop-timeout-ms N] [--client-timeout-ms N]\n"
    "                      [--ro-path PATH]... [--pilot]\n"
    "  --run-dir DIR          where starter.sock and starter.lock are (/run/sublet)\n"
    "  --ready-timeout-ms N   an executor that is not ready by then is ended (5000)\n"
    "  --stop-timeout-ms N    an executor that is not gone by then is reported as such (5000)\n"
    "  --client-timeout-ms N  a client that is slower with a frame is dropped (5000)\n"
    "  --ro-path PATH         shown read-only to all guests, at most 16 times\n"
    "  --pilot                as an ordinary user: guests are this user's, without cgroups and namespaces; ends with\n"
    "                         its client\n";

static bool parse_options(int count, char **arguments)
{
    static const struct option options[] = {
        {"run-dir", required_argument, NULL, 'd'},
        {"ready-timeout-ms", required_argument, NULL, 'r'},
        {"stop-timeout-ms", required_argument, NULL, 's'},
        {"client-timeout-ms", required_argument, NULL, 'c'},
        {"ro-path", required_argument, NULL, 'p'},
        {"pilot", no_argument, NULL, 'P'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *run_dir = "/run/sublet";
    uint64_t ready_ms = 5000, stop_ms = 5000, client_ms = 5000;
    bool ok = true;
    int option;
    while (ok && (option = getopt_long(count, arguments, "", options, NULL)) != -1) {
        if (option == 'd')
            run_dir = optarg;
        else if (option == 'p' && starter.read_only_count < READ_ONLY_MAX && optarg[0] == '/' && optarg[1] != '\0')
            starter.read_only[starter.read_only_count++] = optarg;
        else if (option == 'r')
            ok = parse_number(optarg, 600000, &ready_ms) && ready_ms > 0;
        else if (option == 's')
            ok = parse_number(optarg, 600000, &stop_ms) && stop_ms > 0;
        else if (option == 'c')
            ok = parse_number(optarg, 600000, &client_ms) && client_ms > 0;
        else if (option == 'P')
            starter.pilot = true;
        else
            ok = false;
    }
    size_t size = strlen(run_dir);
    /* Room for /starter.sock in a socket's address. */
    if (!ok || optind != count || run_dir[0] != '/' || size < 2 || size > sizeof(starter.run_dir) - 16)
        return false;
    memcpy(starter.run_dir, run_dir, size + 1);
    starter.ready_timeout_ns = ready_ms * 1000000;
    starter.stop_timeout_ns = stop_ms * 1000000;
    starter.client_timeout_ns = client_ms * 1000000;
    return true;
}

/** stdin and stdout are /dev/null, for guests too; whatever else was inherited is closed. */
static bool clean_descriptors(void)
{
    int null_fd = open("/dev/null", O_RDWR);
    if (null_fd < 0)
        return false;
    for (int fd = 0; fd < 3; fd++)
        if ((fd < 2 || fcntl(fd, F_GETFD) < 0) && fd != null_fd && dup2(null_fd, fd) < 0)
            return false;
    if (syscall(SYS_close_range, 3, ~0U, 0) != 0)
        for (int fd = 3; fd < (int)sysconf(_SC_OPEN_MAX); fd++)
            close(fd);
    return true;
}

/** The lock's file stays when the starter ends: removing it would let two starters hold two locks of one name. */
static int take_lock(void)
{
    char path[sizeof(starter.run_dir) + 16], text[32];
    snprintf(path, sizeof(path), "%s/starter.lock", starter.run_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        log_event(LOG_LEVEL_ERROR, "cannot open %s: %s", path, strerror(errno));
        return EXIT_FAILURE;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        log_event(LOG_LEVEL_INFO, "another starter serves %s", starter.run_dir);
        return EXIT_LOCKED;
    }
    int size = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)size, 0) != size)
        log_event(LOG_LEVEL_WARN, "cannot write %s: %s", path, strerror(errno));
    return 0; /* the descriptor stays open, and with it the lock */
}

static bool open_socket(struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof(address->sun_path), "%.90s/starter.sock", starter.run_dir);
    starter.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (starter.listen_fd < 0 || (unlink(address->sun_path) != 0 && errno != ENOENT))
        return false;
    umask(0177);
    if (bind(starter.listen_fd, (struct sockaddr *)address, sizeof(*address)) != 0)
        return false;
    umask(077);
    return listen(starter.listen_fd, CLIENTS_MAX) == 0;
}

static bool open_loop(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    if (!starter.pilot)
        sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    starter.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    starter.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        starter.clients[i].fd = -1;
    return starter.epoll_fd >= 0 && starter.signal_fd >= 0 && sigprocmask(SIG_SETMASK, &signals, NULL) == 0 &&
           server_watch(&starter, starter.signal_fd, EPOLLIN, WATCH_SIGNAL, 0) &&
           server_watch(&starter, starter.listen_fd, EPOLLIN, WATCH_LISTEN, 0);
}

int main(int count, char **arguments)
{
    struct sockaddr_un address;
    if (!parse_options(count, arguments)) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (!clean_descriptors() || chdir("/") != 0)
        return EXIT_FAILURE;
    setsid(); /* fails when it leads a session already */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* may be inherited as ignored, which would reap by itself */
    if (starter.pilot && !pilot_begin()) {
        log_event(LOG_LEVEL_ERROR, "cannot become the parent of what guests leave: %s", strerror(errno));
        return EXIT_FAILURE;
    }
    int locked = take_lock();
    if (locked != 0)
        return locked;
    if (!filter_build(&starter.filter, false) || !filter_build(&starter.fabric_filter, true)) {
        log_event(LOG_LEVEL_ERROR, "cannot build the system call filter: %s", strerror(errno));
        return EXIT_FAILURE;
    }
    if (!code_begin(&starter)) {
        log_event(LOG_LEVEL_ERROR, "cannot make the page of figures: %s", strerror(errno));
        return EXIT_FAILURE;
    }
    if (!open_socket(&address) || !open_loop()) {
        log_event(LOG_LEVEL_ERROR, "cannot listen on %s: %s", address.sun_path, strerror(errno));
        return EXIT_FAILURE;
    }
    log_event(LOG_LEVEL_INFO, "listening on %s%s", address.sun_path,
              starter.pilot ? ", as a pilot: guests have this user's rights, no cgroups and no namespaces" : "");
    notify_manager("READY=1");
    int status = server_run(&starter);
    unlink(address.sun_path);
    return status;
}
