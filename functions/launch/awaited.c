#include "launch/awaited.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "launch/starter.h"

/** One that has no guest yet. */
struct awaited {
    struct message_copy copy; /* it has the lease's token */
    struct start_request request;
    uint64_t serial, keeper, job;
};

static void let_go(struct starter *starter, struct awaited **place)
{
    struct awaited *awaited = *place;
    if (awaited->request.tcp_fd >= 0) {
        epoll_ctl(starter->epoll_fd, EPOLL_CTL_DEL, awaited->request.tcp_fd, NULL);
        close(awaited->request.tcp_fd);
    }
    message_copy_free(&awaited->copy);
    free(awaited);
    *place = NULL;
}

static void answer_port(struct starter *starter, struct waiter waiter, uint16_t port)
{
    text_begin(&starter->text);
    text_add(&starter->text, "id=%llu\nok=1\nport=%u\n", (unsigned long long)waiter.id, port);
    server_send(starter, waiter.client);
}

static bool with_guest(struct starter *starter, const struct start_request *request, uint64_t job, struct waiter waiter,
                       char why[ERROR_BYTES])
{
    struct guest *guest = guests_prepared(starter, request->pool, request->uid);
    if (guest == NULL || guest->keeper != waiter.client || guest->voucher != NULL) {
        snprintf(why, ERROR_BYTES, "no guest of yours that is prepared and not vouched for has this pool= and uid=");
        return false;
    }
    why[0] = '\0';
    if (!guests_bind(starter, request, guest, why))
        return false;
    guests_expect(guest, waiter.client, job, false);
    answer_port(starter, waiter, guest->port);
    return true;
}

static bool without_guest(struct starter *starter, const struct start_request *request, uint64_t job,
                          struct waiter waiter, char why[ERROR_BYTES])
{
    struct awaited **place = NULL, *awaited;
    uint16_t port = 0;
    for (size_t i = 0; i < AWAITED_MAX && place == NULL; i++)
        if (starter->awaited[i] == NULL)
            place = &starter->awaited[i];
    if (place == NULL) {
        snprintf(why, ERROR_BYTES, "there are %d that are awaited without a guest already", AWAITED_MAX);
        return false;
    }
    snprintf(why, ERROR_BYTES, "out of memory");
    if ((awaited = *place = calloc(1, sizeof(*awaited))) == NULL)
        return false;
    awaited->request.tcp_fd = -1;
    awaited->serial = ++starter->next_serial;
    awaited->keeper = waiter.client;
    awaited->job = job;
    bool ok = message_copy(&starter->message, &awaited->copy) &&
              request_start(&awaited->copy.message, &awaited->request, starter->pilot, why) &&
              (awaited->request.tcp_fd = launch_listen(&request->tcp, &port, why)) >= 0;
    if (ok && !server_watch(starter, awaited->request.tcp_fd, EPOLLIN, WATCH_AWAITED, awaited->serial)) {
        snprintf(why, ERROR_BYTES, "its socket cannot be watched");
        ok = false;
    }
    awaited->request.awaited = true;
    if (ok)
        answer_port(starter, waiter, port);
    else
        let_go(starter, place);
    return ok;
}

void awaited_take(struct starter *starter, struct waiter waiter)
{
    static const char *const own[] = {"job", NULL};
    struct start_request request;
    uint64_t job = 0;
    char why[ERROR_BYTES] = "AWAIT takes job= and a START of functions";
    bool ok = parse_number(message_get(&starter->message, "job"), UINT32_MAX, &job);
    message_drop(&starter->message, own);
    if (ok)
        ok = request_start(&starter->message, &request, starter->pilot, why) && !request.is_region;
    request.awaited = true;
    if (ok)
        ok = request.pool != NULL ? with_guest(starter, &request, job, waiter, why)
                                  : without_guest(starter, &request, job, waiter, why);
    if (!ok)
        server_answer_error(starter, waiter, why);
}

static void start(struct starter *starter, struct awaited **place)
{
    struct awaited *awaited = *place;
    uint64_t keeper = awaited->keeper;
    char why[ERROR_BYTES] = "", lease[LEASE_MAX + 1];
    memcpy(lease, awaited->request.lease, sizeof(lease));
    struct guest *guest = guests_begin(starter, &awaited->request, false, why);
    if (guest != NULL)
        guests_expect(guest, keeper, awaited->job, true);
    let_go(starter, place);
    if (guest != NULL)
        return;
    text_begin(&starter->text);
    text_add(&starter->text, "verb=EXITED\nlease=%s\nstatus=0\n", lease);
    server_send(starter, keeper);
}

void awaited_on_call(struct starter *starter, uint64_t serial)
{
    for (size_t i = 0; i < AWAITED_MAX; i++)
        if (starter->awaited[i] != NULL && starter->awaited[i]->serial == serial) {
            start(starter, &starter->awaited[i]);
            return;
        }
}

void awaited_drop(struct starter *starter, uint64_t keeper, const char *lease)
{
    for (size_t i = 0; i < AWAITED_MAX; i++) {
        const struct awaited *awaited = starter->awaited[i];
        if (awaited != NULL && awaited->keeper == keeper &&
            (lease == NULL || strcmp(awaited->request.lease, lease) == 0))
            let_go(starter, &starter->awaited[i]);
    }
    guests_unexpect(starter, keeper, lease);
}
