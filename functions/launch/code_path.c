/** Libraries that are read from where they lie (code.h): which may be, by whom, and who waits for them. */
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "launch/code_channel.h"
#include "launch/code_store.h"
#include "launch/log.h"
#include "launch/starter.h"

/** A reader is ended then, and none begins for a while: the file system is slow, or hangs. */
#define READER_NS     UINT64_C(5000000000)
#define READ_AGAIN_NS UINT64_C(60000000000)

/** The folder that a path lies below; NULL: none of those that are listed. */
static const char *prefix_of(const struct code_cache *cache, const char *path)
{
    for (size_t i = 0; i < cache->prefix_count; i++) {
        size_t size = strlen(cache->prefixes[i]);
        if (strncmp(path, cache->prefixes[i], size) == 0 && path[size] == '/')
            return cache->prefixes[i];
    }
    return NULL;
}

static struct code_helper *reader_of(struct code_cache *cache, uid_t owner)
{
    for (size_t i = 0; i < CODE_READERS_MAX; i++)
        if (cache->readers[i].pid != 0 && cache->entries[cache->readers[i].entry].owner == owner)
            return &cache->readers[i];
    return NULL;
}

static bool begin_reader(struct starter *starter, struct guest *guest, const struct code_ask *ask, const char *path)
{
    struct code_cache *cache = &starter->code;
    struct code_copy copy = {.from = -1, .prefix = prefix_of(cache, path), .size = ask->size};
    if (copy.prefix == NULL || guest->owner == 0) /* whose rights a guest does not get, whatever for */
        return false;
    copy.name = path + strlen(copy.prefix) + 1;
    memcpy(copy.hash, ask->hash, sizeof(copy.hash));
    for (size_t i = 0; i < CODE_READERS_MAX; i++)
        if (cache->readers[i].pid == 0)
            return code_begin_copy(starter, &cache->readers[i], guest, &copy, READER_NS);
    return false;
}

bool code_path_wait(struct starter *starter, struct guest *guest, const struct code_ask *ask, const char *path)
{
    struct code_cache *cache = &starter->code;
    struct code_helper *reader = reader_of(cache, guest->owner);
    if (guest->code.waits || cache->read_again_ns > monotonic_ns())
        return false;
    if (reader != NULL) { /* one at a time; for several leases of one library one will do */
        const struct code_entry *entry = &cache->entries[reader->entry];
        if (reader->end_ns == UINT64_MAX || entry->size != ask->size ||
            memcmp(entry->hash, ask->hash, SHA256_BYTES) != 0)
            return false;
    } else if (!begin_reader(starter, guest, ask, path))
        return false;
    guest->code.waits = true;
    guest->code.wanted = *ask;
    return true;
}

/** Tells all who wait for a library of this entry's owner and content that it is kept, or has not come. */
static void tell(struct starter *starter, const struct code_entry *of, bool kept)
{
    for (size_t i = 0; i < GUESTS_MAX; i++) {
        struct guest *guest = &starter->guests[i];
        struct code_ask *wanted = &guest->code.wanted;
        if (guest->state == GUEST_FREE || !guest->code.waits || guest->owner != of->owner || wanted->size != of->size ||
            memcmp(wanted->hash, of->hash, SHA256_BYTES) != 0)
            continue;
        guest->code.waits = false;
        int fd = kept ? code_open_again(of->fd) : -1;
        if (fd < 0) {
            code_miss(starter, guest, wanted);
            continue;
        }
        starter->code.figures->paths++;
        code_answer(guest, CODE_PATH, wanted->id, SUBLET_OK, fd);
        close(fd);
    }
}

void code_paths_on_exit(struct starter *starter, pid_t pid, bool right)
{
    struct code_cache *cache = &starter->code;
    for (size_t i = 0; i < CODE_READERS_MAX; i++) {
        if (cache->readers[i].pid != pid)
            continue;
        struct code_entry *entry = &cache->entries[cache->readers[i].entry], was = *entry;
        cache->readers[i].pid = 0;
        entry->filling = false;
        if (right && code_keep(cache, entry))
            tell(starter, entry, true);
        else {
            cache->figures->unread++;
            code_forget(entry);
            tell(starter, &was, false);
        }
        return;
    }
}

void code_paths_on_time(struct starter *starter, uint64_t now)
{
    struct code_cache *cache = &starter->code;
    for (size_t i = 0; i < CODE_READERS_MAX; i++) {
        struct code_helper *reader = &cache->readers[i];
        if (reader->pid == 0 || reader->end_ns > now)
            continue;
        log_event(LOG_LEVEL_WARN, "a library of uid %d was not read from its path in time: none is for a minute",
                  (int)cache->entries[reader->entry].owner);
        code_kill_helper(reader); /* one that a server holds in the kernel stays: its place is taken until then */
        reader->end_ns = UINT64_MAX;
        cache->read_again_ns = now + READ_AGAIN_NS;
        tell(starter, &cache->entries[reader->entry], false);
    }
}

void code_paths_end(struct starter *starter, uint64_t guest)
{
    struct code_cache *cache = &starter->code;
    for (size_t i = 0; i < CODE_READERS_MAX; i++)
        if (cache->readers[i].pid != 0 && (guest == 0 || cache->readers[i].guest == guest))
            code_kill_helper(&cache->readers[i]);
}

bool code_path_is_reader(const struct starter *starter, pid_t pid)
{
    for (size_t i = 0; i < CODE_READERS_MAX; i++)
        if (starter->code.readers[i].pid == pid)
            return true;
    return false;
}

void code_paths_set(struct starter *starter, struct waiter waiter)
{
    struct code_cache *cache = &starter->code;
    const struct message *message = &starter->message;
    bool ok = message->count <= 2 + CODE_PREFIXES_MAX;
    for (size_t i = 2; i < message->count && ok; i++)
        ok = strcmp(message->lines[i].key, "path") == 0 &&
             code_path_check(message->lines[i].value, strlen(message->lines[i].value));
    if (!ok) {
        server_answer_error(starter, waiter, "PATHS takes up to 16 path=, folders without a slash at their end");
        return;
    }
    code_paths_end(starter, 0);
    cache->path_keeper = waiter.client;
    cache->prefix_count = message->count - 2;
    for (size_t i = 0; i < cache->prefix_count; i++)
        strcpy(cache->prefixes[i], message->lines[i + 2].value);
    text_begin(&starter->text);
    text_add(&starter->text, "id=%llu\nok=1\n", (unsigned long long)waiter.id);
    server_send(starter, waiter.client);
}
