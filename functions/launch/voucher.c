#include "launch/voucher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/starter.h"

enum { ASK_MAX = 2048, ANSWER_MAX = 8192 };

struct voucher {
    char *bytes; /* what the lines of the message point into; it has the lease's token */
    size_t size;
    struct message message;
    struct start_request request;
    const char *ask, *answer;
    gid_t owner_gid;
    bool any_job;
    uint64_t job;
};

/** In place of the job's number in a voucher's meta, which is known when it is redeemed. */
static const char job_mark[] = "$JOB";

void voucher_free(struct voucher *voucher)
{
    if (voucher == NULL)
        return;
    explicit_bzero(voucher->bytes, voucher->size);
    free(voucher->bytes);
    free(voucher);
}

static bool is_hex(const char *text, size_t most)
{
    size_t size = text == NULL ? 0 : strlen(text);
    return size >= 2 && size <= most && size % 2 == 0 && strspn(text, "0123456789abcdef") == size;
}

/** The voucher's own keys go into it; the lines of a START stay. */
static bool take_own_keys(struct voucher *voucher, char why[ERROR_BYTES])
{
    struct message *message = &voucher->message;
    const char *job = message_get(message, "job"), *gid = message_get(message, "owner_gid");
    uint64_t number = 0;
    voucher->ask = message_get(message, "ask");
    voucher->answer = message_get(message, "answer");
    voucher->any_job = job != NULL && strcmp(job, "any") == 0;
    bool ok = is_hex(voucher->ask, ASK_MAX) && is_hex(voucher->answer, ANSWER_MAX) &&
              (voucher->any_job || parse_number(job, UINT32_MAX, &voucher->job)) &&
              parse_number(gid, UINT32_MAX, &number);
    voucher->owner_gid = (gid_t)number;
    if (!ok) {
        snprintf(why, ERROR_BYTES, "VOUCH takes ask= and answer= (hex), owner_gid=, job=NUMBER or any, and a START");
        return false;
    }
    size_t kept = 0;
    for (size_t i = 0; i < message->count; i++) {
        static const char *const own[] = {"ask", "answer", "owner_gid", "job"};
        size_t k = 0;
        while (k < sizeof(own) / sizeof(own[0]) && strcmp(own[k], message->lines[i].key) != 0)
            k++;
        if (k == sizeof(own) / sizeof(own[0]))
            message->lines[kept++] = message->lines[i];
    }
    message->count = kept;
    return true;
}

/** The message of the frame, to keep. NULL: out of memory. */
static struct voucher *copy_of(const struct message *message)
{
    struct voucher *voucher = calloc(1, sizeof(*voucher));
    for (size_t i = 0; voucher != NULL && i < message->count; i++)
        voucher->size += strlen(message->lines[i].key) + strlen(message->lines[i].value) + 2;
    char *at = voucher == NULL ? NULL : malloc(voucher->size);
    if (at == NULL) {
        free(voucher);
        return NULL;
    }
    voucher->bytes = at;
    for (size_t i = 0; i < message->count; i++) {
        struct line *line = &voucher->message.lines[i];
        line->key = strcpy(at, message->lines[i].key);
        at += strlen(at) + 1;
        line->value = strcpy(at, message->lines[i].value);
        at += strlen(at) + 1;
    }
    voucher->message.count = message->count;
    return voucher;
}

void voucher_take(struct starter *starter, struct waiter waiter)
{
    char why[ERROR_BYTES] = "out of memory";
    struct voucher *voucher = copy_of(&starter->message);
    struct guest *guest = NULL;
    bool ok = voucher != NULL && take_own_keys(voucher, why) &&
              request_start(&voucher->message, &voucher->request, starter->pilot, why);
    if (ok && voucher->request.pool != NULL)
        guest = guests_prepared(starter, voucher->request.pool, voucher->request.uid);
    if (ok && (guest == NULL || guest->keeper != waiter.client || guest->voucher != NULL)) {
        snprintf(why, sizeof(why), "no guest of yours that is prepared and not vouched for has this pool= and uid=");
        ok = false;
    }
    if (!ok) {
        voucher_free(voucher);
        server_answer_error(starter, waiter, why);
        return;
    }
    guest->voucher = voucher;
    server_answer_ok(starter, waiter);
}

void voucher_drop_all(struct starter *starter, struct waiter waiter)
{
    if (starter->message.count != 2) {
        server_answer_error(starter, waiter, "UNVOUCH takes nothing");
        return;
    }
    for (size_t i = 0; i < GUESTS_MAX; i++) {
        struct guest *guest = &starter->guests[i];
        if (guest->state == GUEST_FREE || guest->keeper != waiter.client)
            continue;
        voucher_free(guest->voucher);
        guest->voucher = NULL;
    }
    server_answer_ok(starter, waiter);
}

/** The voucher's meta with the number of the job. */
static bool meta_of(const struct voucher *voucher, uint64_t job, char meta[META_MAX])
{
    const char *all = voucher->request.meta, *mark = strstr(all, job_mark);
    int size = mark == NULL ? snprintf(meta, META_MAX, "%s", all)
                            : snprintf(meta, META_MAX, "%.*s%llu%s", (int)(mark - all), all, (unsigned long long)job,
                                       mark + sizeof(job_mark) - 1);
    return size >= 0 && size < META_MAX;
}

static struct guest *find(struct starter *starter, uint64_t uid, uint64_t gid, uint64_t job, const char *ask)
{
    for (size_t i = 0; i < GUESTS_MAX; i++) {
        struct guest *guest = &starter->guests[i];
        const struct voucher *voucher = guest->state == GUEST_PREPARED ? guest->voucher : NULL;
        if (voucher != NULL && voucher->request.owner_uid == uid && voucher->owner_gid == gid &&
            (voucher->any_job || voucher->job == job) && strcmp(voucher->ask, ask) == 0)
            return guest;
    }
    return NULL;
}

void voucher_redeem(struct starter *starter, struct waiter waiter)
{
    const struct message *message = &starter->message;
    const char *ask = message_get(message, "ask");
    uint64_t uid = 0, gid = 0, job = 0;
    char why[ERROR_BYTES] = "", meta[META_MAX];
    if (message->count != 6 || !is_hex(ask, ASK_MAX) || !parse_number(message_get(message, "uid"), UINT32_MAX, &uid) ||
        !parse_number(message_get(message, "gid"), UINT32_MAX, &gid) ||
        !parse_number(message_get(message, "job"), UINT32_MAX, &job)) {
        server_answer_error(starter, waiter, "REDEEM takes uid=, gid=, job= and ask=");
        return;
    }
    struct guest *guest = find(starter, uid, gid, job, ask);
    if (guest == NULL || !meta_of(guest->voucher, job, meta)) {
        server_answer_error(starter, waiter, "none");
        return;
    }
    struct voucher *voucher = guest->voucher;
    uint64_t keeper = guest->keeper;
    guest->voucher = NULL;
    voucher->request.meta = meta;
    if (!guests_bind(starter, &voucher->request, guest, why)) {
        server_answer_error(starter, waiter, why);
        voucher_free(voucher);
        return;
    }
    guest->asker = (struct waiter){.client = keeper}; /* lost by this notice, its guest ends like any other's */
    guests_tell_redeemed(starter, guest, voucher->request.pool, job);
    if (guest->state != GUEST_STARTING)
        server_answer_error(starter, waiter, "none");
    else {
        text_begin(&starter->text);
        text_add(&starter->text, "id=%llu\nok=1\nlease=%s\nanswer=%s\n", (unsigned long long)waiter.id, guest->lease,
                 voucher->answer);
        server_send(starter, waiter.client);
    }
    voucher_free(voucher);
}
