#include "launch/code.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/code_channel.h"
#include "launch/code_store.h"
#include "launch/starter.h"

#define HELPER_NS UINT64_C(10000000000)

struct guest *code_find_guest(struct starter *starter, uint64_t serial)
{
    for (size_t i = 0; i < GUESTS_MAX; i++)
        if (starter->guests[i].state != GUEST_FREE && starter->guests[i].serial == serial)
            return &starter->guests[i];
    return NULL;
}

void code_miss(struct starter *starter, struct guest *guest, const struct code_ask *ask)
{
    struct code_cache *cache = &starter->code;
    int fd = -1;
    cache->figures->misses++;
    if (code_find(cache, guest->owner, ask->hash) == NULL && ask->size <= code_half(cache->max_bytes) &&
        code_offer_find(guest, ask->id) == NULL)
        fd = code_offer_begin(guest, ask);
    code_answer(guest, CODE_GET, ask->id, SUBLET_ERR_HASH, fd);
}

/** `path` is of a CODE_PATH; NULL: a CODE_GET. */
static void answer_get(struct starter *starter, struct guest *guest, const struct code_ask *ask, const char *path)
{
    struct code_cache *cache = &starter->code;
    struct code_entry *entry = code_find(cache, guest->owner, ask->hash);
    int fd = -1;
    if (cache->max_bytes == 0 || cache->max_entries == 0) {
        code_answer(guest, CODE_GET, ask->id, SUBLET_ERR_HASH, -1);
        return;
    }
    if (entry != NULL && entry->size == ask->size && (entry->tried || path != NULL) &&
        (fd = code_open_again(entry->fd)) >= 0) {
        cache->figures->hits++;
        entry->used = ++cache->clock;
        code_answer(guest, entry->tried ? CODE_GET : CODE_PATH, ask->id, SUBLET_OK, fd);
        close(fd);
    } else if (entry != NULL || path == NULL || !code_path_wait(starter, guest, ask, path))
        code_miss(starter, guest, ask);
}

/** Is a library of this guest's owner being copied? One at a time: others shall have their turn. */
static bool owner_has_helper(const struct code_cache *cache, uid_t owner)
{
    for (size_t i = 0; i < CODE_HELPERS_MAX; i++)
        if (cache->helpers[i].pid != 0 && cache->entries[cache->helpers[i].entry].owner == owner)
            return true;
    return false;
}

static void end_offer(struct starter *starter, struct guest *guest, struct code_offer *offer, sublet_status status)
{
    uint32_t id = offer->id;
    code_offer_drop(offer);
    if (status == SUBLET_OK)
        starter->code.figures->kept++;
    else
        starter->code.figures->refused++;
    code_answer(guest, CODE_OFFER, id, status, -1);
}

bool code_begin_copy(struct starter *starter, struct code_helper *helper, const struct guest *guest,
                     struct code_copy *copy, uint64_t limit_ns)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), bytes = (copy->size + page - 1) / page * page;
    struct code_entry *entry = code_make_room(starter, guest->owner, bytes);
    pid_t pid = -1;
    copy->to = entry == NULL ? -1 : code_memfd(copy->size);
    copy->owner = guest->owner;
    copy->uid = guest->uid;
    copy->gid = guest->gid;
    copy->guest = guest->pid;
    copy->pilot = starter->pilot;
    if (copy->to >= 0)
        pid = code_copy_start(copy);
    if (pid < 0) {
        if (copy->to >= 0)
            close(copy->to);
        return false;
    }
    *entry = (struct code_entry){.state = CODE_FILLING,
                                 .filling = true,
                                 .fd = copy->to,
                                 .owner = guest->owner,
                                 .bytes = bytes,
                                 .size = copy->size};
    memcpy(entry->hash, copy->hash, sizeof(entry->hash));
    *helper = (struct code_helper){.pid = pid,
                                   .guest = guest->serial,
                                   .entry = (uint32_t)(entry - starter->code.entries),
                                   .end_ns = monotonic_ns() + limit_ns};
    return true;
}

/** Forks the helper for one offer. */
static void begin_helper(struct starter *starter, struct code_helper *helper, struct guest *guest,
                         struct code_offer *offer)
{
    struct code_copy copy = {.from = offer->fd, .size = offer->size};
    memcpy(copy.hash, offer->hash, sizeof(copy.hash));
    if (code_begin_copy(starter, helper, guest, &copy, HELPER_NS))
        helper->offer = offer->id;
    else
        end_offer(starter, guest, offer, SUBLET_ERR_BUSY);
}

/** Gives a helper to the first offer that may have one; false when there is none. */
static bool serve_one_offer(struct starter *starter, struct code_helper *helper)
{
    for (size_t g = 0; g < GUESTS_MAX; g++) {
        struct guest *guest = &starter->guests[g];
        if (guest->state == GUEST_FREE || owner_has_helper(&starter->code, guest->owner))
            continue;
        for (size_t i = 0; i < CODE_OFFERS_MAX; i++) {
            struct code_offer *offer = &guest->code.offers[i];
            if (offer->fd < 0 || !offer->ready)
                continue;
            struct code_entry *entry = code_find(&starter->code, guest->owner, offer->hash);
            if (entry != NULL) {
                uint32_t id = offer->id;
                entry->tried = true;
                code_offer_drop(offer);
                code_answer(guest, CODE_OFFER, id, SUBLET_OK, -1); /* another lease was faster */
            } else
                begin_helper(starter, helper, guest, offer);
            return true;
        }
    }
    return false;
}

static void serve_offers(struct starter *starter)
{
    for (size_t i = 0; i < CODE_HELPERS_MAX; i++)
        while (starter->code.helpers[i].pid == 0 && serve_one_offer(starter, &starter->code.helpers[i])) {
        }
}

static void take_drop(struct guest *guest, const struct code_ask *ask)
{
    struct code_offer *offer = code_offer_find(guest, ask->id);
    if (offer != NULL && !offer->ready)
        code_offer_drop(offer);
}

static void answer_offer(struct starter *starter, struct guest *guest, const struct code_ask *ask)
{
    struct code_offer *offer = code_offer_find(guest, ask->id);
    if (offer == NULL || offer->ready || offer->size != ask->size || memcmp(offer->hash, ask->hash, SHA256_BYTES) != 0)
        code_answer(guest, CODE_OFFER, ask->id, SUBLET_ERR_INVALID, -1);
    else if (!code_is_sealed(offer->fd))
        end_offer(starter, guest, offer, SUBLET_ERR_INVALID);
    else {
        offer->ready = true;
        serve_offers(starter);
    }
}

static void take_tried(struct starter *starter, const struct guest *guest, const struct code_ask *ask)
{
    struct code_entry *entry = code_find(&starter->code, guest->owner, ask->hash);
    if (entry != NULL)
        entry->tried = true;
}

void code_kill_helper(const struct code_helper *helper)
{
    cpu_set_t all;
    struct sched_param none = {0};
    if (sched_getaffinity(0, sizeof(all), &all) == 0)
        sched_setaffinity(helper->pid, sizeof(all), &all);
    sched_setscheduler(helper->pid, SCHED_OTHER, &none);
    kill(helper->pid, SIGKILL);
}

void code_channel_close(struct starter *starter, struct guest *guest)
{
    struct code_channel *channel = &guest->code;
    for (size_t i = 0; i < CODE_HELPERS_MAX; i++)
        if (starter->code.helpers[i].pid != 0 && starter->code.helpers[i].guest == guest->serial)
            code_kill_helper(&starter->code.helpers[i]);
    code_paths_end(starter, guest->serial);
    code_offers_drop(channel);
    if (channel->ask_fd >= 0) {
        epoll_ctl(starter->epoll_fd, EPOLL_CTL_DEL, channel->ask_fd, NULL); /* a child may still hold a copy */
        close(channel->ask_fd);
        close(channel->answer_fd);
    }
    code_channel_none(channel);
}

void code_on_ask(struct starter *starter, uint64_t serial)
{
    struct guest *guest = code_find_guest(starter, serial);
    struct code_ask ask;
    char path[CONTROL_PATH_MAX + 1];
    if (guest == NULL || guest->code.ask_fd < 0)
        return;
    enum code_heard heard = code_hear(starter, guest, &ask, path);
    if (heard == CODE_BROKEN)
        code_channel_close(starter, guest);
    else if (heard == CODE_NOTHING || (guest->state != GUEST_STARTING && guest->state != GUEST_READY))
        return; /* or it is nobody's yet, or ending */
    else if (ask.operation == CODE_GET)
        answer_get(starter, guest, &ask, NULL);
    else if (ask.operation == CODE_PATH)
        answer_get(starter, guest, &ask, path);
    else if (ask.operation == CODE_OFFER)
        answer_offer(starter, guest, &ask);
    else if (ask.operation == CODE_TRIED)
        take_tried(starter, guest, &ask);
    else
        take_drop(guest, &ask);
}

bool code_is_helper(const struct starter *starter, pid_t pid)
{
    for (size_t i = 0; i < CODE_HELPERS_MAX; i++)
        if (starter->code.helpers[i].pid == pid)
            return true;
    return code_path_is_reader(starter, pid);
}

void code_on_exit(struct starter *starter, pid_t pid, int status)
{
    struct code_cache *cache = &starter->code;
    bool right = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    code_paths_on_exit(starter, pid, right);
    for (size_t i = 0; i < CODE_HELPERS_MAX; i++) {
        struct code_helper ended = cache->helpers[i];
        if (ended.pid != pid)
            continue;
        cache->helpers[i].pid = 0;
        struct code_entry *entry = &cache->entries[ended.entry];
        entry->filling = false;
        bool kept = right && code_keep(cache, entry);
        entry->tried = kept;
        if (!kept)
            code_forget(entry);
        struct guest *guest = code_find_guest(starter, ended.guest);
        struct code_offer *offer = guest == NULL ? NULL : code_offer_find(guest, ended.offer);
        if (offer != NULL && offer->ready)
            end_offer(starter, guest, offer, kept ? SUBLET_OK : SUBLET_ERR_INVALID);
        serve_offers(starter);
        return;
    }
}

/** Nothing is kept, found or copied any more. */
static void drop_all(struct starter *starter)
{
    for (size_t i = 0; i < CODE_HELPERS_MAX; i++)
        if (starter->code.helpers[i].pid != 0)
            code_kill_helper(&starter->code.helpers[i]);
    code_paths_end(starter, 0);
    code_drop_kept(starter);
    for (size_t g = 0; g < GUESTS_MAX; g++)
        if (starter->guests[g].state != GUEST_FREE)
            code_offers_drop(&starter->guests[g].code);
}

void code_set(struct starter *starter, struct waiter waiter)
{
    struct code_cache *cache = &starter->code;
    const struct message *message = &starter->message;
    const char *drop = message_get(message, "drop");
    uint64_t bytes = 0, entries = 0;
    if (message->count != (drop == NULL ? 4 : 5) || (drop != NULL && strcmp(drop, "1") != 0) ||
        !parse_number(message_get(message, "max_bytes"), UINT64_C(1) << 40, &bytes) ||
        !parse_number(message_get(message, "max_entries"), CODE_ENTRIES_MAX, &entries)) {
        server_answer_error(starter, waiter, "CODE takes max_bytes=, max_entries= (up to 256) and drop=1");
        return;
    }
    cache->keeper = waiter.client;
    cache->max_bytes = bytes;
    cache->max_entries = entries;
    if (drop != NULL)
        drop_all(starter);
    code_fit(starter);
    text_begin(&starter->text);
    text_add(&starter->text, "id=%llu\nok=1\nfigures=/proc/%d/fd/%d\n", (unsigned long long)waiter.id, (int)getpid(),
             cache->figures_fd);
    code_show(starter);
    server_send(starter, waiter.client);
}

void code_on_client_gone(struct starter *starter, uint64_t client)
{
    struct code_cache *cache = &starter->code;
    if (cache->path_keeper == client)
        cache->path_keeper = cache->prefix_count = 0;
    if (cache->keeper != client)
        return;
    cache->keeper = cache->max_bytes = cache->max_entries = 0;
    drop_all(starter);
}

void code_on_time(struct starter *starter, uint64_t now)
{
    struct code_cache *cache = &starter->code;
    for (size_t i = 0; i < CODE_HELPERS_MAX; i++)
        if (cache->helpers[i].pid != 0 && cache->helpers[i].end_ns <= now) {
            code_kill_helper(&cache->helpers[i]);
            cache->helpers[i].end_ns = UINT64_MAX;
        }
    code_paths_on_time(starter, now);
    if (cache->look_ns != 0 && cache->look_ns <= now)
        code_look(starter, now);
    for (size_t i = 0; i < GUESTS_MAX; i++) {
        struct guest *guest = &starter->guests[i];
        uint64_t at;
        if (guest->state != GUEST_FREE && code_is_late(&guest->code, &at) && at <= now)
            code_listen(starter, guest, true);
    }
    code_show(starter);
}

uint64_t code_next_ns(const struct starter *starter)
{
    const struct code_cache *cache = &starter->code;
    uint64_t next = cache->look_ns != 0 ? cache->look_ns : UINT64_MAX;
    for (size_t i = 0; i < CODE_HELPERS_MAX; i++)
        if (cache->helpers[i].pid != 0 && cache->helpers[i].end_ns < next)
            next = cache->helpers[i].end_ns;
    for (size_t i = 0; i < CODE_READERS_MAX; i++)
        if (cache->readers[i].pid != 0 && cache->readers[i].end_ns < next)
            next = cache->readers[i].end_ns;
    for (size_t i = 0; i < GUESTS_MAX; i++) {
        const struct guest *guest = &starter->guests[i];
        uint64_t at;
        if (guest->state != GUEST_FREE && code_is_late(&guest->code, &at) && at < next)
            next = at;
    }
    return next;
}

bool code_begin(struct starter *starter)
{
    signal(SIGIO, SIG_IGN); /* what the kernel would say of a lease that somebody breaks */
    for (size_t i = 0; i < CODE_ENTRIES_MAX; i++)
        starter->code.entries[i].fd = -1;
    return code_figures_open(&starter->code);
}
