#include "launch/kept.h"

#include <stdlib.h>
#include <string.h>

#include "launch/starter.h"

struct kept {
    struct message_copy copy; /* the answer has the lease's token */
    uint64_t keeper;
    const char *lease, *answer;
    struct asked whose;
};

static void let_go(struct kept **place)
{
    message_copy_free(&(*place)->copy);
    free(*place);
    *place = NULL;
}

static bool read_keys(struct kept *kept)
{
    const struct message *message = &kept->copy.message;
    kept->lease = message_get(message, "lease");
    kept->answer = message_get(message, "answer");
    kept->whose.ask = message_get(message, "ask");
    return message->count == 8 && lease_is_valid(kept->lease) && voucher_hex(kept->answer, VOUCHER_ANSWER_MAX) &&
           voucher_hex(kept->whose.ask, VOUCHER_ASK_MAX) &&
           parse_number(message_get(message, "owner"), UINT32_MAX, &kept->whose.uid) &&
           parse_number(message_get(message, "owner_gid"), UINT32_MAX, &kept->whose.gid) &&
           parse_number(message_get(message, "job"), UINT32_MAX, &kept->whose.job);
}

static struct kept **place_for(struct starter *starter, const char *lease)
{
    struct kept **place = NULL;
    for (size_t i = 0; i < KEPT_MAX; i++) {
        if (starter->kept[i] == NULL)
            place = &starter->kept[i];
        else if (strcmp(starter->kept[i]->lease, lease) == 0)
            return NULL;
    }
    return place;
}

void kept_take(struct starter *starter, struct waiter waiter)
{
    struct kept *kept = calloc(1, sizeof(*kept)), **place = NULL;
    const char *why = "out of memory";
    if (kept != NULL && message_copy(&starter->message, &kept->copy)) {
        why = "KEEP takes lease=, owner=, owner_gid=, job=, ask= and answer= (hex)";
        if (read_keys(kept)) {
            why = "there is an answer with this lease=, or there are too many";
            place = place_for(starter, kept->lease);
        }
    }
    if (place != NULL) {
        kept->keeper = waiter.client;
        *place = kept;
        server_answer_ok(starter, waiter);
        return;
    }
    if (kept != NULL)
        let_go(&kept);
    server_answer_error(starter, waiter, why);
}

void kept_forget(struct starter *starter, struct waiter waiter)
{
    const char *lease = message_get(&starter->message, "lease");
    int found = 0;
    if (starter->message.count != 3 || !lease_is_valid(lease)) {
        server_answer_error(starter, waiter, "FORGET takes lease=");
        return;
    }
    for (size_t i = 0; i < KEPT_MAX; i++)
        if (starter->kept[i] != NULL && starter->kept[i]->keeper == waiter.client &&
            strcmp(starter->kept[i]->lease, lease) == 0) {
            let_go(&starter->kept[i]);
            found = 1;
        }
    text_begin(&starter->text);
    text_add(&starter->text, "id=%llu\nok=1\nkept=%d\n", (unsigned long long)waiter.id, found);
    server_send(starter, waiter.client);
}

bool kept_redeem(struct starter *starter, const struct asked *asked, struct waiter waiter)
{
    for (size_t i = 0; i < KEPT_MAX; i++) {
        struct kept *kept = starter->kept[i];
        if (kept == NULL || kept->whose.uid != asked->uid || kept->whose.gid != asked->gid ||
            kept->whose.job != asked->job || strcmp(kept->whose.ask, asked->ask) != 0)
            continue;
        text_begin(&starter->text);
        text_add(&starter->text, "id=%llu\nok=1\nlease=%s\nanswer=%s\n", (unsigned long long)waiter.id, kept->lease,
                 kept->answer);
        let_go(&starter->kept[i]);
        server_send(starter, waiter.client);
        return true;
    }
    return false;
}

void kept_on_client_gone(struct starter *starter, uint64_t client)
{
    for (size_t i = 0; i < KEPT_MAX; i++)
        if (starter->kept[i] != NULL && starter->kept[i]->keeper == client)
            let_go(&starter->kept[i]);
}
