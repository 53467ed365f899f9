#include "executor/workers.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fds.h"

#define PROBE_NS UINT64_C(5000000000)

static void *shared_pages(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

/** In the child: undoes what only the supervisor wants. */
static void become_child(pid_t parent)
{
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static sublet_status fork_worker(struct workers *workers, uint32_t number)
{
    struct worker_slot *slot = &workers->slots[number];
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) != 0)
        return SUBLET_ERR_SYSTEM;
    atomic_store(&slot->page->current, 0);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        fds_close(sockets, 2);
        return SUBLET_ERR_SYSTEM;
    }
    if (pid == 0) {
        become_child(parent);
        close(sockets[0]);
        for (uint32_t i = 0; i < workers->options->workers; i++)
            if (workers->slots[i].socket >= 0)
                close(workers->slots[i].socket);
        close(workers->options->listen_fd);
        struct worker_start start = {
            .number = number,
            .core = workers->options->cores[number],
            .socket = sockets[1],
            .wake_fd = slot->wake_fd,
            .spin_ns = workers->options->spin_ns,
            .page = slot->page,
            .table = workers->table,
            .rings = slot->rings,
            .library_fds = workers->library_fds,
        };
        worker_run(&start);
    }
    close(sockets[1]);
    if (slot->socket >= 0)
        close(slot->socket);
    slot->socket = sockets[0];
    slot->pid = pid;
    return SUBLET_OK;
}

static void tell(struct worker_slot *slot, enum worker_message_kind kind, uint32_t index, int fd)
{
    struct worker_message message = {.kind = kind, .index = index};
    uint64_t one = 1;
    /* A full queue means a worker that has not looked for long; it is ended, and its successor inherits all. */
    if (fds_send(slot->socket, &message, sizeof(message), &fd, fd >= 0 ? 1 : 0, now_ns()) != SUBLET_OK)
        kill(slot->pid, SIGKILL);
    atomic_fetch_add(&slot->page->messages, 1);
    (void)!write(slot->wake_fd, &one, sizeof(one));
}

sublet_status workers_start(struct workers *workers, const struct executor_options *options)
{
    memset(workers, 0, sizeof(*workers));
    workers->options = options;
    for (uint32_t i = 0; i < LIBRARIES_MAX; i++)
        workers->library_fds[i] = -1;
    for (uint32_t i = 0; i < CONTROL_WORKERS_MAX; i++)
        workers->slots[i].socket = workers->slots[i].wake_fd = -1;
    workers->table = shared_pages(sizeof(*workers->table));
    if (workers->table == NULL)
        return SUBLET_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < options->workers; i++) {
        struct worker_slot *slot = &workers->slots[i];
        slot->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        slot->page = shared_pages(sizeof(*slot->page));
        if (slot->wake_fd < 0 || slot->page == NULL)
            return SUBLET_ERR_NO_MEMORY;
        sublet_status status = fork_worker(workers, i);
        if (status != SUBLET_OK)
            return status;
    }
    return SUBLET_OK;
}

sublet_status workers_add_client(struct workers *workers, uint32_t client, const struct control_hello *hello,
                                 int *fds_out)
{
    uint32_t made = 0;
    sublet_status status = SUBLET_OK;
    for (; made < workers->options->workers; made++) {
        struct worker_slot *slot = &workers->slots[made];
        status = ring_create(hello->slots, hello->in_bytes, hello->out_bytes, slot->wake_fd, &slot->rings[client],
                             &fds_out[made * 2]);
        if (status != SUBLET_OK)
            goto unwind;
        fds_out[made * 2 + 1] = slot->wake_fd;
        tell(slot, WORKER_RING, client, fds_out[made * 2]);
    }
    return SUBLET_OK;
unwind:
    while (made-- > 0) {
        close(fds_out[made * 2]);
        tell(&workers->slots[made], WORKER_CLOSE, client, -1);
        ring_unmap(&workers->slots[made].rings[client]);
    }
    return status;
}

/** The call a worker says it serves. It is user code that says so: everything is bounded, nothing believed. */
static bool current_call(const struct worker_slot *slot, uint32_t *client, uint32_t *ring_slot, uint32_t *sequence)
{
    uint64_t current = atomic_load(&slot->page->current);
    *client = (uint32_t)(current >> 40) & 0xffff;
    *ring_slot = (uint32_t)(current >> 32) & 0xff;
    *sequence = (uint32_t)current;
    return current >> 63 != 0 && *client < CLIENTS_MAX && slot->rings[*client].base != NULL &&
           *ring_slot < slot->rings[*client].header.slots;
}

/** Ends a worker, answers the call it was in, forks its successor. */
static sublet_status replace(struct workers *workers, uint32_t number, sublet_status answer)
{
    struct worker_slot *slot = &workers->slots[number];
    uint32_t client, ring_slot, sequence;
    if (slot->pid > 0) {
        kill(slot->pid, SIGKILL);
        while (waitpid(slot->pid, NULL, 0) < 0 && errno == EINTR) {
        }
        slot->pid = 0;
    }
    if (current_call(slot, &client, &ring_slot, &sequence)) {
        struct ring *ring = &slot->rings[client];
        /* Announced but not yet claimed: nothing ran, the successor will take it. */
        if ((ring_pending(ring) >> ring_slot & 1) == 0) {
            atomic_fetch_add(&slot->page->failures, 1);
            ring_answer(ring, ring_slot, sequence, answer, 0);
        }
    }
    return fork_worker(workers, number);
}

/** Stops a worker and looks whether it is in the given call: only then may it be ended. */
static bool stopped_in(struct worker_slot *slot, uint32_t client, uint32_t ring_slot, uint32_t sequence, bool any)
{
    uint32_t in_client, in_slot, in_sequence;
    int state;
    kill(slot->pid, SIGSTOP);
    while (waitpid(slot->pid, &state, WUNTRACED) < 0 && errno == EINTR) {
    }
    if (!WIFSTOPPED(state)) {
        slot->pid = 0; /* died by itself meanwhile */
        return true;
    }
    bool in = current_call(slot, &in_client, &in_slot, &in_sequence) && in_client == client &&
              (any || (in_slot == ring_slot && in_sequence == sequence));
    if (!in)
        kill(slot->pid, SIGCONT);
    return in;
}

void workers_remove_client(struct workers *workers, uint32_t client)
{
    for (uint32_t i = 0; i < workers->options->workers; i++) {
        struct worker_slot *slot = &workers->slots[i];
        uint32_t in_client, in_slot, in_sequence;
        if (slot->rings[client].base == NULL)
            continue;
        bool ours = current_call(slot, &in_client, &in_slot, &in_sequence) && in_client == client &&
                    stopped_in(slot, client, 0, 0, true);
        ring_unmap(&slot->rings[client]);
        if (!ours)
            tell(slot, WORKER_CLOSE, client, -1);
        else if (replace(workers, i, SUBLET_ERR_LOST) != SUBLET_OK)
            fprintf(stderr, "sublet-executor: cannot fork a worker: %m\n");
    }
}

/** Runs dlopen (and dlsym) of user code where it can do no harm. */
static sublet_status probe(int fd, const char *name)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        return SUBLET_ERR_SYSTEM;
    if (pid == 0) {
        const char *why = NULL;
        become_child(parent);
        void *library = library_open(fd, &why);
        if (library == NULL)
            fprintf(stderr, "sublet-executor: library refused: %s\n", why != NULL ? why : "unknown");
        _exit(library == NULL ? SUBLET_ERR_INVALID
                              : (name != NULL && dlsym(library, name) == NULL ? SUBLET_ERR_NOT_FOUND : SUBLET_OK));
    }
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd entry = {.fd = pidfd, .events = POLLIN};
    uint64_t end_ns = now_ns() + PROBE_NS;
    int ready;
    do
        ready = pidfd < 0 ? 0 : poll(&entry, 1, left_ms(end_ns));
    while (ready < 0 && errno == EINTR);
    if (ready <= 0)
        kill(pid, SIGKILL);
    int state = 0;
    while (waitpid(pid, &state, 0) < 0 && errno == EINTR) {
    }
    if (pidfd >= 0)
        close(pidfd);
    if (ready <= 0)
        return SUBLET_ERR_TIMEOUT;
    return WIFEXITED(state) ? (sublet_status)WEXITSTATUS(state) : SUBLET_ERR_CRASHED;
}

sublet_status workers_add_library(struct workers *workers, const void *bytes, size_t size, uint32_t *library_out)
{
    if (workers->libraries >= LIBRARIES_MAX)
        return SUBLET_ERR_BUSY;
    int fd = memfd_create("sublet-library", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return SUBLET_ERR_SYSTEM;
    sublet_status status = SUBLET_ERR_SYSTEM;
    for (size_t done = 0; done < size;) {
        ssize_t written = write(fd, (const char *)bytes + done, size - done);
        if (written < 0 && errno != EINTR)
            goto fail;
        done += written > 0 ? (size_t)written : 0;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        goto fail;
    status = probe(fd, NULL);
    if (status != SUBLET_OK)
        goto fail;
    workers->library_fds[workers->libraries] = fd;
    for (uint32_t i = 0; i < workers->options->workers; i++)
        tell(&workers->slots[i], WORKER_LIBRARY, workers->libraries, fd);
    *library_out = workers->libraries++;
    return SUBLET_OK;
fail:
    close(fd);
    return status;
}

sublet_status workers_add_function(struct workers *workers, uint32_t library, const char *name, uint32_t *function_out)
{
    struct function_table *table = workers->table;
    if (library >= workers->libraries)
        return SUBLET_ERR_NOT_FOUND;
    /* The table is writable by workers: our own count would be theirs. Bound it. */
    uint32_t count = atomic_load(&table->count);
    if (count >= FUNCTIONS_MAX)
        return SUBLET_ERR_BUSY;
    sublet_status status = probe(workers->library_fds[library], name);
    if (status != SUBLET_OK)
        return status;
    table->entries[count].library = library;
    snprintf(table->entries[count].name, sizeof(table->entries[count].name), "%s", name);
    atomic_store(&table->count, count + 1);
    *function_out = count;
    return SUBLET_OK;
}

sublet_status workers_cancel(struct workers *workers, uint32_t client, const struct control_cancel *cancel)
{
    if (cancel->worker >= workers->options->workers)
        return SUBLET_ERR_INVALID;
    struct worker_slot *slot = &workers->slots[cancel->worker];
    struct ring *ring = &slot->rings[client];
    if (ring->base == NULL || cancel->slot >= ring->header.slots)
        return SUBLET_ERR_INVALID;
    if (ring_claim(ring, cancel->slot)) {
        ring_answer(ring, cancel->slot, cancel->sequence, SUBLET_ERR_TIMEOUT, 0);
        return SUBLET_OK;
    }
    if (stopped_in(slot, client, cancel->slot, cancel->sequence, false))
        return replace(workers, cancel->worker, SUBLET_ERR_TIMEOUT);
    return SUBLET_OK;
}

sublet_status workers_reap(struct workers *workers)
{
    for (uint32_t i = 0; i < workers->options->workers; i++) {
        struct worker_slot *slot = &workers->slots[i];
        if (slot->pid > 0 && waitpid(slot->pid, NULL, WNOHANG) != slot->pid)
            continue;
        slot->pid = 0;
        sublet_status status = replace(workers, i, SUBLET_ERR_CRASHED);
        if (status != SUBLET_OK)
            return status;
    }
    return SUBLET_OK;
}
