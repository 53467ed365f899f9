/** What is kept, and for how long; code.h says for whom. */
#include "launch/code_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "launch/starter.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

#define SEALS_OF_SIZE (F_SEAL_SHRINK | F_SEAL_GROW)
#define SEALS         (SEALS_OF_SIZE | F_SEAL_WRITE)
#define LOOK_NS       UINT64_C(5000000000)
#define FREE_HERE_MAX UINT64_C(2097152)

int code_memfd(uint64_t size)
{
    int fd = memfd_create("sublet-code", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = memfd_create("sublet-code", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && ftruncate(fd, (off_t)size) == 0 && fcntl(fd, F_ADD_SEALS, SEALS_OF_SIZE) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

bool code_is_sealed(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & SEALS) == SEALS;
}

int code_open_again(int fd)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

void code_free(const int *fds, size_t count, uint64_t bytes)
{
    int gate[2] = {-1, -1};
    pid_t pid = -1;
    if (bytes > FREE_HERE_MAX && pipe2(gate, O_CLOEXEC) == 0 && (pid = fork()) == 0) {
        char none;
        close(gate[1]);
        (void)!read(gate[0], &none, 1); /* until they are closed over there */
        _exit(0);
    }
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    for (int i = 0; i < 2; i++)
        if (gate[i] >= 0)
            close(gate[i]);
}

/** Looks at every place, whoever's it is. */
struct code_entry *code_find(struct code_cache *cache, uid_t owner, const uint8_t *hash)
{
    struct code_entry *found = NULL;
    for (size_t i = 0; i < CODE_ENTRIES_MAX; i++) {
        struct code_entry *entry = &cache->entries[i];
        if (entry->state == CODE_KEPT && entry->owner == owner && memcmp(entry->hash, hash, SHA256_BYTES) == 0)
            found = entry;
    }
    return found;
}

void code_forget(struct code_entry *entry)
{
    code_free(&entry->fd, 1, entry->bytes);
    *entry = (struct code_entry){.fd = -1};
}

/**
 * Has somebody else it open or mapped? A lease of the kernel's that excludes all others is had only when nobody has.
 * A kernel that has none for memfds: as long as its owner has guests.
 */
static bool in_use(const struct starter *starter, const struct code_entry *entry)
{
    if (fcntl(entry->fd, F_SETLEASE, F_WRLCK) == 0) {
        fcntl(entry->fd, F_SETLEASE, F_UNLCK);
        return false;
    }
    if (errno == EAGAIN)
        return true;
    for (size_t i = 0; i < GUESTS_MAX; i++)
        if (starter->guests[i].state != GUEST_FREE && starter->guests[i].owner == entry->owner)
            return true;
    return false;
}

struct code_share code_share(const struct code_cache *cache, const uid_t *owner)
{
    struct code_share share = {0};
    for (size_t i = 0; i < CODE_ENTRIES_MAX; i++) {
        const struct code_entry *entry = &cache->entries[i];
        if (entry->state == CODE_FREE || (owner != NULL && entry->owner != *owner))
            continue;
        share.bytes += entry->bytes;
        share.entries++;
    }
    return share;
}

/** Throws out what was not used for longest, of one owner or of all; false when there is nothing that would help. */
static bool evict(struct starter *starter, const uid_t *owner)
{
    struct code_cache *cache = &starter->code;
    struct code_entry *oldest = NULL;
    for (size_t i = 0; i < CODE_ENTRIES_MAX; i++) {
        struct code_entry *entry = &cache->entries[i];
        if (entry->state == CODE_KEPT && (owner == NULL || entry->owner == *owner) &&
            (oldest == NULL || entry->used < oldest->used) && !in_use(starter, entry))
            oldest = entry;
    }
    if (oldest == NULL)
        return false;
    code_forget(oldest);
    cache->figures->evicted++;
    return true;
}

uint64_t code_half(uint64_t value)
{
    return (value + 1) / 2;
}

struct code_entry *code_make_room(struct starter *starter, uid_t owner, uint64_t bytes)
{
    struct code_cache *cache = &starter->code;
    if (bytes > code_half(cache->max_bytes) || cache->max_entries == 0)
        return NULL;
    for (;;) {
        struct code_share own = code_share(cache, &owner), all = code_share(cache, NULL);
        const uid_t *whose = NULL;
        if (own.bytes + bytes > code_half(cache->max_bytes) || own.entries >= code_half(cache->max_entries))
            whose = &owner;
        else if (all.bytes + bytes <= cache->max_bytes && all.entries < cache->max_entries)
            break;
        if (!evict(starter, whose))
            return NULL;
    }
    for (size_t i = 0; i < CODE_ENTRIES_MAX; i++)
        if (cache->entries[i].state == CODE_FREE)
            return &cache->entries[i];
    return NULL;
}

bool code_keep(struct code_cache *cache, struct code_entry *entry)
{
    bool wanted = entry->state == CODE_FILLING && code_find(cache, entry->owner, entry->hash) == NULL;
    int fd = wanted && code_is_sealed(entry->fd) ? code_open_again(entry->fd) : -1;
    if (fd < 0)
        return false;
    close(entry->fd); /* opened by memfd_create: the kernel's leases do not count such */
    entry->fd = fd;
    entry->state = CODE_KEPT;
    entry->used = ++cache->clock;
    return true;
}

void code_drop_kept(struct starter *starter)
{
    struct code_cache *cache = &starter->code;
    int fds[CODE_ENTRIES_MAX];
    size_t count = 0;
    uint64_t bytes = 0;
    for (size_t i = 0; i < CODE_ENTRIES_MAX; i++) {
        struct code_entry *entry = &cache->entries[i];
        if (entry->state == CODE_FREE)
            continue;
        if (entry->filling || in_use(starter, entry)) { /* a helper's goes with the helper */
            entry->state = CODE_DROPPED;
            cache->look_ns = monotonic_ns() + LOOK_NS;
            continue;
        }
        fds[count++] = entry->fd;
        bytes += entry->bytes;
        *entry = (struct code_entry){.fd = -1};
    }
    code_free(fds, count, bytes);
}

void code_fit(struct starter *starter)
{
    struct code_cache *cache = &starter->code;
    for (;;) {
        struct code_share all = code_share(cache, NULL);
        if ((all.bytes <= cache->max_bytes && all.entries <= cache->max_entries) || !evict(starter, NULL))
            return;
    }
}

void code_look(struct starter *starter, uint64_t now)
{
    struct code_cache *cache = &starter->code;
    cache->look_ns = 0;
    for (size_t i = 0; i < CODE_ENTRIES_MAX; i++) {
        struct code_entry *entry = &cache->entries[i];
        if (entry->state != CODE_DROPPED)
            continue;
        if (entry->filling || in_use(starter, entry))
            cache->look_ns = now + LOOK_NS;
        else
            code_forget(entry);
    }
}

bool code_figures_open(struct code_cache *cache)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    cache->figures_fd = code_memfd(size);
    if (cache->figures_fd < 0)
        return false;
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, cache->figures_fd, 0);
    cache->figures = page == MAP_FAILED ? NULL : page;
    return cache->figures != NULL;
}

void code_show(struct starter *starter)
{
    struct code_share all = code_share(&starter->code, NULL);
    starter->code.figures->bytes = all.bytes;
    starter->code.figures->entries = all.entries;
}
