#include "launch/voucher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/starter.h"

enum { PORT_DIGITS = 5 };

struct voucher {
    struct message_copy copy;
    struct start_request request;
    const char *ask;
    char *answer;
    uint64_t port_at;
    uint64_t keeper;
    gid_t owner_gid;
    bool any_job;
    uint64_t job;
};

bool voucher_hex(const char *text, size_t most)
{
    size_t size = text == NULL ? 0 : strlen(text);
    return size >= 2 && size <= most && size % 2 == 0 && strspn(text, "0123456789abcdef") == size;
}

/** In place of the job's number in a voucher's meta, which is known when it is redeemed. */
static const char job_mark[] = "$JOB";

void voucher_free(struct voucher *voucher)
{
    if (voucher == NULL)
        return;
    message_copy_free(&voucher->copy);
    free(voucher);
}

/** The voucher's own keys. */
static bool read_own_keys(struct voucher *voucher, char why[ERROR_BYTES])
{
    const struct message *message = &voucher->copy.message;
    const char *job = message_get(message, "job"), *gid = message_get(message, "owner_gid");
    const char *answer = message_get(message, "answer"), *port_at = message_get(message, "port_at");
    bool waits = message_get(message, "pool") != NULL;
    uint64_t number = 0;
    voucher->ask = message_get(message, "ask");
    voucher->any_job = job != NULL && strcmp(job, "any") == 0;
    if (!voucher_hex(voucher->ask, VOUCHER_ASK_MAX) || !voucher_hex(answer, VOUCHER_ANSWER_MAX) ||
        !parse_number(gid, UINT32_MAX, &number) ||
        !(voucher->any_job || parse_number(job, UINT32_MAX, &voucher->job)) || waits != (port_at == NULL) ||
        !(waits || (parse_number(port_at, VOUCHER_ANSWER_MAX, &voucher->port_at) &&
                    2 * (voucher->port_at + PORT_DIGITS) <= strlen(answer)))) {
        snprintf(
            why, ERROR_BYTES,
            "VOUCH takes ask= and answer= (hex), owner_gid=, job=NUMBER or any, port_at= without pool=, and a START");
        return false;
    }
    voucher->owner_gid = (gid_t)number;
    voucher->answer = voucher->copy.bytes + (answer - voucher->copy.bytes);
    return true;
}

/** Where a voucher belongs: with its guest, or with those that have none. NULL: nowhere. */
static struct voucher **place_of(struct starter *starter, const struct voucher *voucher, char why[ERROR_BYTES])
{
    const struct start_request *request = &voucher->request;
    if (request->pool != NULL) {
        struct guest *guest = guests_prepared(starter, request->pool, request->uid);
        snprintf(why, ERROR_BYTES, "no guest of yours that is prepared and not vouched for has this pool= and uid=");
        return guest != NULL && guest->keeper == voucher->keeper && guest->voucher == NULL ? &guest->voucher : NULL;
    }
    for (size_t i = 0; i < VOUCHERS_MAX; i++)
        if (starter->vouchers[i] == NULL)
            return &starter->vouchers[i];
    snprintf(why, ERROR_BYTES, "there are %d vouchers without a guest already", VOUCHERS_MAX);
    return NULL;
}

void voucher_take(struct starter *starter, struct waiter waiter)
{
    static const char *const own[] = {"ask", "answer", "owner_gid", "job", "port_at", NULL};
    char why[ERROR_BYTES] = "out of memory";
    struct voucher *voucher = calloc(1, sizeof(*voucher)), **place = NULL;
    if (voucher != NULL && message_copy(&starter->message, &voucher->copy)) {
        voucher->keeper = waiter.client;
        bool ok = read_own_keys(voucher, why);
        message_drop(&voucher->copy.message, own); /* what is left is a START */
        if (ok && request_start(&voucher->copy.message, &voucher->request, starter->pilot, why))
            place = place_of(starter, voucher, why);
    }
    if (place == NULL) {
        voucher_free(voucher);
        server_answer_error(starter, waiter, why);
        return;
    }
    *place = voucher;
    server_answer_ok(starter, waiter);
}

static void drop(struct voucher **place, uint64_t keeper, const char *lease)
{
    if (*place == NULL || (*place)->keeper != keeper || (lease != NULL && strcmp((*place)->request.lease, lease) != 0))
        return;
    voucher_free(*place);
    *place = NULL;
}

/** lease: NULL for all. */
static void drop_of(struct starter *starter, uint64_t keeper, const char *lease)
{
    for (size_t i = 0; i < VOUCHERS_MAX; i++)
        drop(&starter->vouchers[i], keeper, lease);
    for (size_t i = 0; i < GUESTS_MAX; i++)
        drop(&starter->guests[i].voucher, keeper, lease);
    awaited_drop(starter, keeper, lease);
}

void voucher_on_client_gone(struct starter *starter, uint64_t client)
{
    drop_of(starter, client, NULL);
    kept_on_client_gone(starter, client);
}

void voucher_drop(struct starter *starter, struct waiter waiter)
{
    const char *lease = message_get(&starter->message, "lease");
    if (starter->message.count != (lease == NULL ? 2 : 3)) {
        server_answer_error(starter, waiter, "UNVOUCH takes lease=, or nothing");
        return;
    }
    drop_of(starter, waiter.client, lease);
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

static bool is_for(const struct voucher *voucher, const struct asked *asked)
{
    return voucher != NULL && voucher->request.owner_uid == asked->uid && voucher->owner_gid == asked->gid &&
           (voucher->any_job || voucher->job == asked->job) && strcmp(voucher->ask, asked->ask) == 0;
}

/** Takes a voucher out of its place, and its guest, if it has one; one with a guest before one without. */
static struct voucher *take_voucher(struct starter *starter, const struct asked *asked, struct guest **guest_out)
{
    for (size_t i = 0; i < GUESTS_MAX + VOUCHERS_MAX; i++) {
        struct guest *guest = i < GUESTS_MAX ? &starter->guests[i] : NULL;
        struct voucher **place = guest != NULL ? &guest->voucher : &starter->vouchers[i - GUESTS_MAX];
        struct voucher *voucher = guest == NULL || guest->state == GUEST_PREPARED ? *place : NULL;
        if (!is_for(voucher, asked))
            continue;
        *place = NULL;
        *guest_out = guest;
        return voucher;
    }
    return NULL;
}

static void put_port(const struct voucher *voucher, uint16_t port)
{
    char digits[PORT_DIGITS + 1];
    snprintf(digits, sizeof(digits), "%05u", port);
    for (size_t i = 0; i < PORT_DIGITS; i++) { /* in hex an ASCII digit is a 3 and the digit */
        voucher->answer[2 * (voucher->port_at + i)] = '3';
        voucher->answer[2 * (voucher->port_at + i) + 1] = digits[i];
    }
}

/** The lease's guest, which has its order; NULL: `why` says why there is none. */
static struct guest *hand_out(struct starter *starter, const struct voucher *voucher, struct guest *prepared,
                              char why[ERROR_BYTES])
{
    if (prepared != NULL)
        return guests_bind(starter, &voucher->request, prepared, why) ? prepared : NULL;
    struct guest *guest = guests_begin(starter, &voucher->request, false, why);
    if (guest != NULL) {
        put_port(voucher, guest->port);
        return guest;
    }
    text_begin(&starter->text);
    text_add(&starter->text, "verb=EXITED\nlease=%s\nstatus=0\n", voucher->request.lease);
    server_send(starter, voucher->keeper);
    return NULL;
}

static bool read_asked(const struct message *message, struct asked *asked)
{
    asked->ask = message_get(message, "ask");
    return message->count == 6 && voucher_hex(asked->ask, VOUCHER_ASK_MAX) &&
           parse_number(message_get(message, "uid"), UINT32_MAX, &asked->uid) &&
           parse_number(message_get(message, "gid"), UINT32_MAX, &asked->gid) &&
           parse_number(message_get(message, "job"), UINT32_MAX, &asked->job);
}

void voucher_redeem(struct starter *starter, struct waiter waiter)
{
    struct asked asked;
    struct guest *prepared = NULL, *guest = NULL;
    char why[ERROR_BYTES] = "", meta[META_MAX];
    if (!read_asked(&starter->message, &asked)) {
        server_answer_error(starter, waiter, "REDEEM takes uid=, gid=, job= and ask=");
        return;
    }
    struct voucher *voucher = take_voucher(starter, &asked, &prepared);
    if (voucher == NULL && kept_redeem(starter, &asked, waiter))
        return;
    if (voucher != NULL && meta_of(voucher, asked.job, meta)) {
        voucher->request.meta = meta;
        guest = hand_out(starter, voucher, prepared, why);
    }
    if (guest != NULL)
        guests_tell_redeemed(starter, guest, voucher->keeper, asked.job);
    if (guest != NULL && guest->state == GUEST_STARTING) { /* else its keeper was lost by that */
        text_begin(&starter->text);
        text_add(&starter->text, "id=%llu\nok=1\nlease=%s\nanswer=%s\n", (unsigned long long)waiter.id, guest->lease,
                 voucher->answer);
        server_send(starter, waiter.client);
    } else
        server_answer_error(starter, waiter, why[0] != '\0' ? why : "none");
    voucher_free(voucher);
}
