/**
 * The USDT probes (base/probes.h) fire, with the arguments that they promise: each is set as a uprobe of the kernel,
 * from nothing but the note in its file, as perf and bpftrace do it, while calls run. Needs root and a kernel that has
 * uprobes.
 *
 * The notes are told to a tracefs that only this process has mounted. They are read through perf's descriptors, so that
 * nothing stays switched on whatever becomes of this process.
 */
#include "fixture.h"

#include <ctype.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PROBES_MAX 32
#define CORES_MAX  1024
#define HITS_MAX   4096
#define ARGS_MAX   3
#define RING_PAGES 64u
#define TEXT_BYTES 16
#define PATH_MOST  512
#define CALLS      40u
#define SLOTS      4u

/** A probe of a file, and what the kernel calls it. */
struct probe {
    char name[32];
    bool text; /* its first argument is a string */
    uint16_t id;
    uint32_t args;
    struct {
        uint32_t at, bytes; /* in a record */
    } arg[ARGS_MAX];
};

struct hit {
    uint64_t time_ns;
    const struct probe *probe;
    pid_t pid;
    uint64_t arg[ARGS_MAX];
    char text[TEXT_BYTES];
};

static char tracing[64]; /* where tracefs is; "": nowhere */
static char group[32];
static struct probe probes[PROBES_MAX];
static uint32_t probe_count;
static struct perf_event_mmap_page *rings[CORES_MAX];
static int fds[PROBES_MAX * CORES_MAX];
static uint32_t fd_count;
static struct hit hits[HITS_MAX];
static uint32_t hit_count;

static bool write_line(const char *file, const char *text)
{
    char path[PATH_MOST];
    snprintf(path, sizeof(path), "%s/%s", tracing, file);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return done;
}

/** NULL when it is mounted, else why not. */
static const char *mount_tracing(void)
{
    if (geteuid() != 0)
        return "only root may set uprobes";
    strcpy(tracing, "/tmp/sublet-probes-XXXXXX");
    char *folder = mkdtemp(tracing);
    assert_non_null(folder);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", tracing, "tracefs", 0, NULL) != 0) {
        rmdir(tracing);
        tracing[0] = '\0';
        return "tracefs cannot be mounted";
    }
    char path[PATH_MOST];
    snprintf(path, sizeof(path), "%s/uprobe_events", tracing);
    return access(path, W_OK) == 0 ? NULL : "this kernel has no uprobes";
}

/** "8(%rbx)" and its like, as uprobe_events wants it: "+8(%bx)". */
static void place_of(const char *operand, char *out, size_t size)
{
    static const char *const wide = "abcds"; /* of rax, rbx, rcx, rdx; rsi, rsp */
    char registers[16];
    const char *percent = strchr(operand, '%'), *open = strchr(operand, '(');
    if (operand[0] == '$') {
        snprintf(out, size, "\\%s", operand + 1);
        return;
    }
    if (percent == NULL || strchr(operand, ',') != NULL || (open != NULL && open > percent))
        fail_msg("a place that the kernel cannot be told: %s", operand);
    size_t length = 0;
    while (isalnum((unsigned char)percent[1 + length]))
        length++;
    assert_true(length < sizeof(registers));
    memcpy(registers, percent + 1, length);
    registers[length] = '\0';
    const char *name = registers;
    if (name[0] == 'r' && isdigit((unsigned char)name[1])) /* r8d, r8w, r8b: all of r8 */
        registers[isdigit((unsigned char)name[2]) ? 3 : 2] = '\0';
    else if (name[0] == 'r' || name[0] == 'e')
        name++;
    else if (length == 2 && name[1] == 'l' && strchr(wide, name[0]) != NULL)
        registers[1] = 'x';
    if (open == NULL)
        snprintf(out, size, "%%%s", name);
    else
        snprintf(out, size, "%+ld(%%%s)", open == operand ? 0 : strtol(operand, NULL, 0), name);
}

/** Its arguments as fetch arguments of the kernel; returns how many. `words`: as the note has them. */
static uint32_t fetches(const char *words, bool text, char *out, size_t size)
{
    char copy[256], *rest = copy, place[64];
    uint32_t count = 0;
    snprintf(copy, sizeof(copy), "%s", words);
    out[0] = '\0';
    for (char *word; (word = strsep(&rest, " ")) != NULL; count++) {
        char *at = strchr(word, '@');
        assert_non_null(at);
        long bytes = strtol(word, NULL, 10);
        place_of(at + 1, place, sizeof(place));
        size_t used = strlen(out);
        if (text && count == 0)
            snprintf(out + used, size - used, " arg%u=+0(%s):string", count, place);
        else
            snprintf(out + used, size - used, " arg%u=%s:%c%ld", count, place, bytes < 0 ? 's' : 'u',
                     (bytes < 0 ? -bytes : bytes) * 8);
    }
    return count;
}

/** What the kernel made of a line: the number of its records, and where the arguments are in these. */
static void read_format(struct probe *probe, const char *event)
{
    char path[PATH_MOST], line[256];
    snprintf(path, sizeof(path), "%s/events/%s/%s/format", tracing, group, event);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        const char *name = strstr(line, " arg"), *at = strstr(line, "offset:"), *bytes = strstr(line, "size:");
        if (strncmp(line, "ID: ", 4) == 0)
            probe->id = (uint16_t)strtoul(line + 4, NULL, 10);
        if (name == NULL || at == NULL || bytes == NULL)
            continue;
        unsigned long number = strtoul(name + 4, NULL, 10);
        assert_true(number < probe->args);
        probe->arg[number].at = (uint32_t)strtoul(at + 7, NULL, 10);
        probe->arg[number].bytes = (uint32_t)strtoul(bytes + 5, NULL, 10);
    }
    fclose(file);
    assert_true(probe->id != 0);
}

static void add_probe(const char *file, uint64_t offset, const char *name, const char *words)
{
    char event[64], arguments[512], line[PATH_MAX + 1024];
    assert_true(probe_count < PROBES_MAX);
    struct probe *probe = &probes[probe_count];
    *probe = (struct probe){.text = strcmp(name, "client_start") == 0 || strcmp(name, "client_end") == 0};
    snprintf(probe->name, sizeof(probe->name), "%s", name);
    probe->args = fetches(words, probe->text, arguments, sizeof(arguments));
    assert_true(probe->args > 0 && probe->args <= ARGS_MAX);
    snprintf(event, sizeof(event), "%s_%u", name, probe_count);
    snprintf(line, sizeof(line), "p:%s/%s %s:0x%llx%s", group, event, file, (unsigned long long)offset, arguments);
    if (!write_line("uprobe_events", line))
        fail_msg("the kernel does not take %s: %s", line, strerror(errno));
    probe_count++;
    read_format(probe, event);
}

static const Elf64_Shdr *section(const unsigned char *elf, const char *name)
{
    const Elf64_Ehdr *head = (const void *)elf;
    const Elf64_Shdr *sections = (const void *)(elf + head->e_shoff);
    for (uint32_t i = 0; i < head->e_shnum; i++)
        if (strcmp((const char *)elf + sections[head->e_shstrndx].sh_offset + sections[i].sh_name, name) == 0)
            return &sections[i];
    return NULL;
}

static uint64_t file_offset(const unsigned char *elf, uint64_t address)
{
    const Elf64_Ehdr *head = (const void *)elf;
    const Elf64_Phdr *parts = (const void *)(elf + head->e_phoff);
    for (uint32_t i = 0; i < head->e_phnum; i++)
        if (parts[i].p_type == PT_LOAD && address >= parts[i].p_vaddr && address - parts[i].p_vaddr < parts[i].p_filesz)
            return address - parts[i].p_vaddr + parts[i].p_offset;
    fail_msg("no part of the file has address %llx", (unsigned long long)address);
    return 0;
}

/** Sets a uprobe for every note of our provider. */
static void add_probes(const char *name)
{
    char file[PATH_MAX];
    struct stat info;
    assert_non_null(realpath(name, file));
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &info) == 0);
    const unsigned char *elf = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_true(elf != MAP_FAILED);
    close(fd);
    const Elf64_Shdr *notes = section(elf, ".note.stapsdt"), *base = section(elf, ".stapsdt.base");
    assert_true(notes != NULL && base != NULL);
    for (uint64_t at = notes->sh_offset, end = at + notes->sh_size; at + sizeof(Elf64_Nhdr) < end;) {
        const Elf64_Nhdr *head = (const void *)(elf + at);
        uint64_t places[3]; /* of the probe, of .stapsdt.base when that was written, of its semaphore */
        const unsigned char *body = elf + at + sizeof(*head) + ((head->n_namesz + 3) & ~3u);
        memcpy(places, body, sizeof(places));
        const char *provider = (const char *)body + sizeof(places), *probe = provider + strlen(provider) + 1;
        if (strcmp(provider, "sublet") == 0)
            add_probe(file, file_offset(elf, places[0] + (base->sh_addr - places[1])), probe,
                      probe + strlen(probe) + 1);
        at += sizeof(*head) + ((head->n_namesz + 3) & ~3u) + ((head->n_descsz + 3) & ~3u);
    }
    munmap((void *)(uintptr_t)elf, (size_t)info.st_size);
}

/** All of them on all cores, into one ring for each core. */
static void listen_to_probes(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    long cores = sysconf(_SC_NPROCESSORS_CONF);
    for (uint32_t core = 0; core < cores && core < CORES_MAX; core++) {
        int first = -1;
        for (uint32_t i = 0; i < probe_count; i++) {
            struct perf_event_attr wish = {.type = PERF_TYPE_TRACEPOINT,
                                           .size = sizeof(wish),
                                           .config = probes[i].id,
                                           .sample_period = 1,
                                           .sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_RAW,
                                           .use_clockid = 1,
                                           .clockid = CLOCK_MONOTONIC};
            int fd = (int)syscall(SYS_perf_event_open, &wish, -1, core, -1, PERF_FLAG_FD_CLOEXEC);
            if (fd < 0 && errno == ENODEV)
                break; /* this core is not there */
            if (fd < 0)
                fail_msg("cannot listen to %s: %s", probes[i].name, strerror(errno));
            fds[fd_count++] = fd;
            if (first >= 0) {
                assert_int_equal(ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, first), 0);
                continue;
            }
            first = fd;
            void *ring = mmap(NULL, (1 + RING_PAGES) * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            assert_true(ring != MAP_FAILED);
            rings[core] = ring;
        }
    }
}

static void take_sample(const unsigned char *body)
{
    struct {
        uint32_t pid, tid;
        uint64_t time_ns;
        uint32_t raw_bytes;
    } head;
    uint16_t id;
    memcpy(&head, body, 20);
    const unsigned char *raw = body + 20;
    memcpy(&id, raw, sizeof(id));
    for (uint32_t i = 0; i < probe_count; i++) {
        if (probes[i].id != id)
            continue;
        assert_true(hit_count < HITS_MAX);
        struct hit *hit = &hits[hit_count++];
        *hit = (struct hit){.time_ns = head.time_ns, .probe = &probes[i], .pid = (pid_t)head.pid};
        for (uint32_t arg = 0; arg < probes[i].args; arg++) {
            uint32_t at = probes[i].arg[arg].at, bytes = probes[i].arg[arg].bytes;
            assert_true(at + bytes <= head.raw_bytes && bytes <= sizeof(uint64_t));
            memcpy(&hit->arg[arg], raw + at, bytes);
        }
        if (probes[i].text) /* the argument says where the string is */
            snprintf(hit->text, sizeof(hit->text), "%s", (const char *)raw + (hit->arg[0] & 0xffff));
    }
}

static int by_time(const void *one, const void *other)
{
    const struct hit *a = one, *b = other;
    return a->time_ns < b->time_ns ? -1 : a->time_ns > b->time_ns;
}

/** Takes what has been heard since. */
static void take_hits(void)
{
    static unsigned char record[65536];
    size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = RING_PAGES * page;
    for (uint32_t core = 0; core < CORES_MAX; core++) {
        struct perf_event_mmap_page *ring = rings[core];
        if (ring == NULL)
            continue;
        const unsigned char *data = (const unsigned char *)ring + page;
        uint64_t head = atomic_load_explicit((_Atomic uint64_t *)&ring->data_head, memory_order_acquire);
        uint64_t tail = ring->data_tail;
        while (tail < head) {
            struct perf_event_header event;
            for (size_t i = 0; i < sizeof(event); i++)
                record[i] = data[(tail + i) % bytes];
            memcpy(&event, record, sizeof(event));
            for (size_t i = sizeof(event); i < event.size; i++)
                record[i] = data[(tail + i) % bytes];
            assert_int_not_equal(event.type, PERF_RECORD_LOST);
            if (event.type == PERF_RECORD_SAMPLE)
                take_sample(record + sizeof(event));
            tail += event.size;
        }
        atomic_store_explicit((_Atomic uint64_t *)&ring->data_tail, tail, memory_order_release);
    }
    qsort(hits, hit_count, sizeof(hits[0]), by_time);
}

static bool is_child_of(pid_t pid, pid_t parent)
{
    char path[64], text[256] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    (void)!read(fd, text, sizeof(text) - 1);
    close(fd);
    const char *end = strrchr(text, ')');
    return end != NULL && strtol(end + 4, NULL, 10) == parent;
}

/** The next hit of a probe from `*at` on, in this process (worker false) or in a worker of the executor. */
static const struct hit *next_hit(uint32_t *at, const char *name, const struct executor *executor)
{
    while (*at < hit_count) {
        const struct hit *hit = &hits[(*at)++];
        if (strcmp(hit->probe->name, name) == 0 &&
            (executor == NULL ? hit->pid == getpid() : is_child_of(hit->pid, executor->pid)))
            return hit;
    }
    return NULL;
}

static int start(void **state)
{
    (void)fixture_start(state);
    hit_count = 0;
    take_hits();
    hit_count = 0;
    return 0;
}

static sublet_status call(struct fixture *fixture, sublet_lease *lease, const char *name, const void *in,
                          size_t in_bytes, size_t *bytes_out)
{
    static unsigned char out[4096];
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.lease = lease;
    options.timeout_ms = 20000;
    return sublet_invoke(fixture->session, function_of(fixture, name), in, in_bytes, out, sizeof(out), bytes_out,
                         &options);
}

static void calls_are_told(struct fixture *fixture, bool over_tcp)
{
    struct executor *executor = fixture_function(fixture, "0", over_tcp);
    sublet_lease *lease = lease_of(fixture, 1, SLOTS);
    static unsigned char in[4096];
    uint32_t at = 0, started = 0, ended = 0, begun = 0, done = 0, echo = UINT32_MAX;
    const struct hit *hit;
    for (uint32_t i = 0; i < CALLS; i++) {
        size_t bytes = 0;
        if (i % 4 == 3)
            assert_int_equal(call(fixture, lease, "refuse", in, 5 + i, &bytes), SUBLET_ERR_FUNCTION);
        else
            assert_int_equal(call(fixture, lease, "echo", in, 64 * i + 1, &bytes), SUBLET_OK);
    }
    take_hits();
    while ((hit = next_hit(&at, "call_start", executor)) != NULL) {
        bool refuses = started % 4 == 3;
        echo = started == 0 ? (uint32_t)hit->arg[0] : echo;
        assert_true((hit->arg[0] != echo) == refuses && hit->arg[0] < 256);
        assert_int_equal(hit->arg[1], refuses ? 5 + started : 64 * started + 1);
        started++;
    }
    for (at = 0; (hit = next_hit(&at, "call_end", executor)) != NULL; ended++) {
        bool refuses = ended % 4 == 3;
        assert_true((hit->arg[0] != echo) == refuses);
        assert_int_equal(hit->arg[1], refuses ? SUBLET_ERR_FUNCTION : SUBLET_OK);
        assert_int_equal(hit->arg[2], refuses ? 0 : 64 * ended + 1);
    }
    for (at = 0; (hit = next_hit(&at, "client_start", NULL)) != NULL; begun++) {
        bool refuses = begun % 4 == 3;
        assert_string_equal(hit->text, refuses ? "refuse" : "echo");
        assert_int_equal(hit->arg[1], refuses ? 5 + begun : 64 * begun + 1);
    }
    for (at = 0; (hit = next_hit(&at, "client_end", NULL)) != NULL; done++) {
        bool refuses = done % 4 == 3;
        assert_string_equal(hit->text, refuses ? "refuse" : "echo");
        assert_int_equal(hit->arg[1], refuses ? SUBLET_ERR_FUNCTION : SUBLET_OK);
    }
    assert_int_equal(started, CALLS);
    assert_int_equal(ended, CALLS);
    assert_int_equal(begun, CALLS);
    assert_int_equal(done, CALLS);
    sublet_lease_release(lease);
}

static const char *missing; /* why nothing can be shown here */

#define SKIP_WITHOUT_UPROBES()                                                                                         \
    do {                                                                                                               \
        if (missing != NULL) {                                                                                         \
            print_message("skipped: %s\n", missing);                                                                   \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

static void calls_over_a_ring_are_told(void **state)
{
    SKIP_WITHOUT_UPROBES();
    calls_are_told(*state, false);
}

static void calls_over_tcp_are_told(void **state)
{
    SKIP_WITHOUT_UPROBES();
    calls_are_told(*state, true);
}

/** Both sides sleep when nothing comes; each tells of it twice, before and after. */
static void sleeps_are_told(void **state)
{
    SKIP_WITHOUT_UPROBES();
    struct fixture *fixture = *state;
    fixture->spin_us = 10;
    struct executor *executor = fixture_function(fixture, "0", false);
    sublet_lease *lease = lease_of(fixture, 1, SLOTS);
    uint32_t at = 0, naps = 0, ms = 60;
    const struct hit *hit, *woken, *begun;
    size_t bytes;
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(call(fixture, lease, "nap", &ms, sizeof(ms), &bytes), SUBLET_OK);
        nanosleep(&(struct timespec){.tv_nsec = 60000000}, NULL); /* the worker sleeps, too */
    }
    take_hits();
    while ((hit = next_hit(&at, "client_sleep", NULL)) != NULL) {
        woken = next_hit(&at, "client_wake", NULL);
        assert_non_null(woken);
        assert_true(hit->arg[0] < SLOTS && woken->arg[0] == hit->arg[0]);
        naps++;
    }
    assert_true(naps >= 3);
    naps = 0;
    for (at = 0; (hit = next_hit(&at, "worker_sleep", executor)) != NULL; naps++) {
        assert_int_equal(hit->arg[0], 0); /* the number of the only worker */
        woken = next_hit(&at, "worker_wake", executor);
        if (woken != NULL)
            assert_int_equal(woken->arg[0], 0);
    }
    assert_true(naps >= 2);
    /* Between two calls it slept, and the next one woke it. */
    at = 0;
    assert_non_null(next_hit(&at, "call_end", executor));
    assert_non_null(next_hit(&at, "worker_sleep", executor));
    woken = next_hit(&at, "worker_wake", executor);
    begun = next_hit(&at, "call_start", executor);
    assert_true(woken != NULL && begun != NULL && woken->time_ns <= begun->time_ns);
    sublet_lease_release(lease);
}

static int switch_on(void **state)
{
    Dl_info library;
    (void)state;
#if !defined(__x86_64__)
    missing = "the names of registers are known for x86-64 only";
    return 0;
#endif
    missing = mount_tracing();
    if (missing != NULL)
        return 0;
    snprintf(group, sizeof(group), "sublet_test_%d", getpid());
    sublet_status (*in_library)(const sublet_options *, sublet_session **) = sublet_open;
    void *address;
    memcpy(&address, &in_library, sizeof(address));
    assert_true(dladdr(address, &library) != 0);
    add_probes(EXECUTOR);
    add_probes(library.dli_fname);
    listen_to_probes();
    return 0;
}

static int switch_off(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < fd_count; i++)
        close(fds[i]);
    for (uint32_t core = 0; core < CORES_MAX; core++)
        if (rings[core] != NULL)
            munmap(rings[core], (1 + RING_PAGES) * (size_t)sysconf(_SC_PAGESIZE));
    if (tracing[0] == '\0')
        return 0;
    if (probe_count > 0) {
        char line[64];
        snprintf(line, sizeof(line), "-:%s/", group);
        if (!write_line("uprobe_events", line))
            return 1;
    }
    return umount(tracing) != 0 || rmdir(tracing) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(calls_over_a_ring_are_told, start, fixture_stop),
        cmocka_unit_test_setup_teardown(calls_over_tcp_are_told, start, fixture_stop),
        cmocka_unit_test_setup_teardown(sleeps_are_told, start, fixture_stop),
    };
    return cmocka_run_group_tests(tests, switch_on, switch_off);
}
