#include "client/lease.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fds.h"
#include "client/buffer.h"
#include "client/calls.h"
#include "client/error.h"
#include "client/library.h"
#include "client/link.h"
#include "client/region.h"
#include "client/session.h"

#define RETRY_NS     UINT64_C(200000000)  /* a renewal that failed is tried again after this */
#define RELEASE_NS   UINT64_C(2000000000) /* how long a release waits for the agent */
#define NAMES_MAX    64u

#define DRAIN_MS_MAX UINT64_C(86400000)    /* no budget is longer than a day */
#define TERM_MS_MAX  UINT64_C(31536000000) /* no term longer than a year */

static const char *reason_text(Sublet__V1__Reason reason)
{
    static const char *const texts[] = {
        [SUBLET__V1__REASON__REASON_UNSPECIFIED] = "ended by the agent",
        [SUBLET__V1__REASON__REASON_RELEASED] = "released",
        [SUBLET__V1__REASON__REASON_TERM_ENDED] = "not renewed in time",
        [SUBLET__V1__REASON__REASON_BATCH_JOB] = "a batch job needs the capacity",
        [SUBLET__V1__REASON__REASON_ADMIN] = "ended by an administrator or its owner",
        [SUBLET__V1__REASON__REASON_EXECUTOR_LOST] = "its executor ended",
        [SUBLET__V1__REASON__REASON_AGENT_RESTART] = "the agent could not take it over after a restart",
        [SUBLET__V1__REASON__REASON_NO_CORES] = "not enough spare cores",
        [SUBLET__V1__REASON__REASON_NO_MEMORY] = "not enough spare memory",
        [SUBLET__V1__REASON__REASON_CLOSED] = "the node lends nothing now",
        [SUBLET__V1__REASON__REASON_START_FAILED] = "the executor could not be started",
        [SUBLET__V1__REASON__REASON_GUARD] = "a batch job suffered",
        [SUBLET__V1__REASON__REASON_QUOTA] = "the account has used its quota of the day",
    };
    size_t count = sizeof(texts) / sizeof(texts[0]);
    return (size_t)reason < count ? texts[reason] : texts[0];
}

static void set_term(struct sublet_lease *lease, uint64_t remaining_ms, uint64_t term_ms)
{
    uint64_t left_ms = remaining_ms != 0 ? remaining_ms : term_ms, now = now_ns();
    uint64_t left_ns = (left_ms < TERM_MS_MAX ? left_ms : TERM_MS_MAX) * 1000000;
    lease->ends_ns = now + left_ns;
    lease->renew_ns = now + left_ns / 3;
}

static void drain(struct sublet_lease *lease, uint64_t remaining_ms, Sublet__V1__Reason reason)
{
    lease->state = SUBLET_LEASE_DRAINING;
    lease->ends_ns = now_ns() + (remaining_ms < DRAIN_MS_MAX ? remaining_ms : DRAIN_MS_MAX) * 1000000;
    lease->renew_ns = UINT64_MAX;
    snprintf(lease->reason, sizeof(lease->reason), "%s", reason_text(reason));
    lease->noticed = true;
    region_leaving(lease->link, true);
}

void lease_end(struct sublet_lease *lease, sublet_lease_state state, const char *reason, sublet_status status)
{
    if (lease->state == SUBLET_LEASE_ACTIVE)
        snprintf(lease->reason, sizeof(lease->reason), "%s", reason);
    if (lease_lives(lease))
        lease->state = state; /* one that drained has its reason */
    if (lease->link != NULL && atomic_load(&lease->link->lost) == 0)
        link_lost(lease->link, status);
}

static struct sublet_lease *find(struct sublet_session *session, const char *id)
{
    struct sublet_lease *lease = session->leases;
    while (lease != NULL && (lease->imported || strcmp(lease->id, id) != 0))
        lease = lease->next;
    return lease;
}

void lease_revoked(struct sublet_session *session, const Sublet__V1__LocalRevoked *notice)
{
    struct sublet_lease *lease = find(session, notice->lease_id);
    if (lease == NULL)
        return;
    bool expired = notice->state == SUBLET__V1__LEASE_STATE__LEASE_STATE_EXPIRED;
    bool known = lease->noticed && !lease_lives(lease);
    lease_end(lease, expired ? SUBLET_LEASE_EXPIRED : SUBLET_LEASE_REVOKED, "", SUBLET_ERR_REVOKED);
    if (!known) /* the executor's end may have been seen first: the agent knows why */
        snprintf(lease->reason, sizeof(lease->reason), "%s", reason_text(notice->reason));
    lease->noticed = true;
}

void lease_draining(struct sublet_session *session, const Sublet__V1__LocalDraining *notice)
{
    struct sublet_lease *lease = find(session, notice->lease_id);
    if (lease == NULL || !lease_lives(lease))
        return;
    lease->overtaken = lease->renewing;
    drain(lease, notice->remaining_ms, notice->reason);
}

void lease_renewed(struct sublet_session *session, const char *id, sublet_status status,
                   const Sublet__V1__LocalResponse *answer)
{
    struct sublet_lease *lease = find(session, id);
    if (lease == NULL)
        return;
    bool overtaken = lease->overtaken;
    lease->renewing = false;
    lease->overtaken = false;
    if (!lease_lives(lease))
        return;
    if (status == SUBLET_OK && answer->code == 0 && answer->body_case == SUBLET__V1__LOCAL_RESPONSE__BODY_LEASE) {
        if (answer->lease->state == SUBLET__V1__LEASE_STATE__LEASE_STATE_DRAINING)
            drain(lease, answer->lease->remaining_ms, answer->lease->reason);
        else if (!overtaken) { /* also one that drained when its agent began anew */
            lease->state = SUBLET_LEASE_ACTIVE;
            lease->reason[0] = '\0';
            lease->noticed = false;
            region_leaving(lease->link, false);
            set_term(lease, answer->lease->remaining_ms, answer->lease->term_ms);
        }
    } else if (answer != NULL && agent_status_of(answer->code) == SUBLET_ERR_NOT_FOUND)
        lease_end(lease, SUBLET_LEASE_EXPIRED, "the agent does not know it any more", SUBLET_ERR_REVOKED);
    else
        lease->renew_ns = now_ns() + RETRY_NS; /* usable until its term or its budget is over */
}

void leases_rebind(struct sublet_session *session)
{
    for (struct sublet_lease *lease = session->leases; lease != NULL; lease = lease->next) {
        lease->renew_ns = 0;
        lease->renewing = false;
    }
}

uint64_t leases_tick(struct sublet_session *session, uint64_t now)
{
    uint64_t next = UINT64_MAX;
    for (struct sublet_lease *lease = session->leases; lease != NULL; lease = lease->next) {
        if (!lease_lives(lease) || lease->imported)
            continue;
        if (now >= lease->ends_ns) {
            bool drained = lease->state == SUBLET_LEASE_DRAINING;
            lease_end(lease, drained ? SUBLET_LEASE_REVOKED : SUBLET_LEASE_EXPIRED, "not renewed in time",
                      SUBLET_ERR_REVOKED);
            continue;
        }
        if (!lease->renewing && now >= lease->renew_ns) {
            if (agent_renew(session, lease->id, lease->node) == SUBLET_OK)
                lease->renewing = true;
            else
                lease->renew_ns = now + RETRY_NS;
        }
        uint64_t due = lease->renewing || lease->renew_ns > lease->ends_ns ? lease->ends_ns : lease->renew_ns;
        if (due < next)
            next = due;
    }
    return next;
}

/** The names of a comma-separated list; they point into *copy_out. */
static sublet_status split_names(const char *list, char **copy_out, char **names, size_t *count_out)
{
    size_t count = 0;
    char *copy = strdup(list), *rest = copy;
    if (copy == NULL)
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    for (char *name; (name = strsep(&rest, ",")) != NULL;) {
        if (name[0] == '\0')
            continue;
        if (count == NAMES_MAX) {
            free(copy);
            return error_set(SUBLET_ERR_INVALID, "exclude_nodes names more than %u nodes", NAMES_MAX);
        }
        names[count++] = name;
    }
    *copy_out = copy;
    *count_out = count;
    return SUBLET_OK;
}

static sublet_status ask(struct sublet_session *session, const struct lease_wish *wish, uint64_t end_ns,
                         Sublet__V1__LocalResponse **answer_out)
{
    Sublet__V1__LocalRequest message = SUBLET__V1__LOCAL_REQUEST__INIT;
    Sublet__V1__LocalLease body = SUBLET__V1__LOCAL_LEASE__INIT;
    char *names[NAMES_MAX], *copy = NULL;
    if (wish->exclude_nodes != NULL) {
        sublet_status status = split_names(wish->exclude_nodes, &copy, names, &wish->request->n_exclude_nodes);
        if (status != SUBLET_OK)
            return status;
        wish->request->exclude_nodes = names;
    }
    const char *job = getenv("SLURM_JOB_ID");
    body.request = wish->request;
    body.job_id = job == NULL ? 0 : (uint32_t)strtoul(job, NULL, 10);
    message.lease = &body;
    message.body_case = SUBLET__V1__LOCAL_REQUEST__BODY_LEASE;
    pthread_mutex_lock(&session->lock);
    sublet_status status = agent_ask(session, &message, end_ns, answer_out);
    pthread_mutex_unlock(&session->lock);
    wish->request->exclude_nodes = NULL;
    wish->request->n_exclude_nodes = 0;
    free(copy);
    return status;
}

static bool usable(const Sublet__V1__LocalResponse *answer)
{
    if (answer->body_case != SUBLET__V1__LOCAL_RESPONSE__BODY_LEASED || answer->leased->lease == NULL ||
        answer->leased->endpoint == NULL)
        return false;
    size_t length = strlen(answer->leased->lease->id);
    return length > 0 && length < sizeof(((struct sublet_lease *)NULL)->id) &&
           answer->leased->endpoint->token.len == CONTROL_TOKEN_BYTES;
}

/** granted_out: there was a lease, if also nobody who serves it. */
static sublet_status take_once(struct sublet_session *session, const struct lease_wish *wish, uint64_t begin_ns,
                               bool *granted_out, struct sublet_lease **lease_out)
{
    uint64_t end_ns = begin_ns + session->timeout_ns;
    Sublet__V1__LocalResponse *answer;
    sublet_status status = ask(session, wish, end_ns, &answer);
    if (status != SUBLET_OK)
        return status;
    if (!usable(answer)) {
        agent_answer_free(answer);
        return error_set(SUBLET_ERR_INVALID, "the agent's answer makes no sense: is it of another version?");
    }
    const Sublet__V1__Lease *granted = answer->leased->lease;
    *granted_out = true;
    struct sublet_lease *lease = calloc(1, sizeof(*lease));
    if (lease == NULL) {
        agent_answer_free(answer);
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    }
    lease->session = session;
    lease->slots = wish->slots;
    lease->in_bytes = wish->in_bytes;
    lease->out_bytes = wish->out_bytes;
    snprintf(lease->id, sizeof(lease->id), "%s", granted->id);
    const char *address = answer->leased->endpoint->tcp_address;
    if (strlen(address) < sizeof(lease->tcp_address))
        memcpy(lease->tcp_address, address, strlen(address) + 1);
    set_term(lease, granted->remaining_ms, granted->term_ms);
    pthread_mutex_lock(&session->lock);
    lease->node = session_name(session, granted->node);
    struct sublet_lease **end = &session->leases;
    while (*end != NULL)
        end = &(*end)->next;
    *end = lease; /* from here on it is renewed, and a notice finds it */
    pthread_mutex_unlock(&session->lock);

    struct link *link;
    status = link_open(lease, answer->leased->endpoint, wish->region_bytes, end_ns, &link);
    agent_answer_free(answer);
    if (status != SUBLET_OK) {
        char why[256]; /* not what the agent says to its release: it may have heard of the end before us */
        snprintf(why, sizeof(why), "%s", sublet_last_error());
        lease_give_back(lease);
        return error_set(status, "%s", why);
    }
    pthread_mutex_lock(&session->lock);
    lease->link = link;
    if (!lease_lives(lease)) /* taken back meanwhile */
        link_lost(link, SUBLET_ERR_REVOKED);
    lease->request_ns = now_ns() - begin_ns;
    background_wake(session); /* to watch the executor */
    pthread_mutex_unlock(&session->lock);
    *lease_out = lease;
    return SUBLET_OK;
}

/**
 * A lease may be taken back in the moment between its grant and our first word to its executor; one that was granted
 * ahead on another node before our agent has heard of it. Then it is asked for once more.
 */
sublet_status lease_take(struct sublet_session *session, const struct lease_wish *wish, struct sublet_lease **lease_out)
{
    uint64_t begin_ns = now_ns();
    bool granted = false;
    sublet_status status = take_once(session, wish, begin_ns, &granted, lease_out);
    if (!granted || status != SUBLET_ERR_LOST)
        return status;
    char why[256]; /* says more than that nothing else was there */
    snprintf(why, sizeof(why), "%s", sublet_last_error());
    status = take_once(session, wish, begin_ns, &granted, lease_out);
    return status == SUBLET_ERR_BUSY ? error_set(SUBLET_ERR_LOST, "%s", why) : status;
}

void lease_give_back(struct sublet_lease *lease)
{
    struct sublet_session *session = lease->session;
    pthread_mutex_lock(&session->lock);
    if (lease->imported && import_keep(lease)) {
        pthread_mutex_unlock(&session->lock);
        return;
    }
    bool lived = lease_lives(lease);
    lease_end(lease, SUBLET_LEASE_RELEASED, "released", SUBLET_ERR_REVOKED);
    for (struct sublet_lease **at = &session->leases; *at != NULL; at = &(*at)->next)
        if (*at == lease) {
            *at = lease->next;
            break;
        }
    calls_forget_lease(session, lease);
    libraries_forget_lease(session, lease);
    if (lease->link != NULL) {
        lease->link->lease = NULL;
        link_unref(lease->link);
    }
    if (lived && !lease->imported && session->agent.fd >= 0) {
        Sublet__V1__LocalRequest message = SUBLET__V1__LOCAL_REQUEST__INIT;
        Sublet__V1__LocalRelease release = SUBLET__V1__LOCAL_RELEASE__INIT;
        Sublet__V1__LocalResponse *answer = NULL;
        release.lease_id = lease->id;
        release.node = (char *)(uintptr_t)lease->node;
        message.release = &release;
        message.body_case = SUBLET__V1__LOCAL_REQUEST__BODY_RELEASE;
        /* Waited for, so that the capacity is free for the next request. If it fails, the term or the connection
         * ends the lease. */
        if (agent_ask(session, &message, now_ns() + RELEASE_NS, &answer) == SUBLET_OK)
            agent_answer_free(answer);
    }
    pthread_mutex_unlock(&session->lock);
    free(lease);
}

sublet_status lease_describe(const struct sublet_lease *lease, sublet_lease_info *info)
{
    if (info == NULL || info->struct_bytes < sizeof(uint32_t) * 2)
        return error_set(SUBLET_ERR_INVALID, "set struct_bytes of the info to its size");
    sublet_lease_info all = {.struct_bytes = info->struct_bytes};
    pthread_mutex_lock(&lease->session->lock);
    all.state = lease->state;
    all.request_ns = lease->request_ns;
    snprintf(all.id, sizeof(all.id), "%s", lease->id);
    snprintf(all.node, sizeof(all.node), "%s", lease->node);
    snprintf(all.reason, sizeof(all.reason), "%s", lease->reason);
    all.reason_known = lease->noticed || lease->state != SUBLET_LEASE_REVOKED;
    uint64_t now = now_ns();
    if (lease->state == SUBLET_LEASE_DRAINING && lease->ends_ns > now)
        all.remaining_ms = (lease->ends_ns - now) / 1000000;
    if (lease->link != NULL) {
        all.workers = lease->link->workers;
        all.same_node = lease->link->same_node;
        snprintf(all.path, sizeof(all.path), "%s", link_path(lease->link));
        all.fabric_falls = atomic_load(&lease->link->falls);
        all.calls = lease->link->calls + buffers_answers(lease->session, lease->link);
    }
    pthread_mutex_unlock(&lease->session->lock);
    size_t size = info->struct_bytes < sizeof(all) ? info->struct_bytes : sizeof(all);
    memcpy(info, &all, size);
    return SUBLET_OK;
}

sublet_status sublet_lease_acquire(sublet_session *session, const sublet_lease_options *options,
                                   sublet_lease **lease_out)
{
    sublet_lease_options wanted = SUBLET_LEASE_OPTIONS_INIT;
    if (session == NULL || lease_out == NULL)
        return error_set(SUBLET_ERR_INVALID, "session and lease_out must not be NULL");
    if (options != NULL)
        memcpy(&wanted, options, options->struct_bytes < sizeof(wanted) ? options->struct_bytes : sizeof(wanted));
    uint32_t cores = wanted.cores == 0 ? 1 : wanted.cores;
    uint32_t slots = wanted.slots == 0 ? 4 : wanted.slots;
    uint64_t in_bytes = wanted.in_bytes == 0 ? 1 << 20 : wanted.in_bytes;
    uint64_t out_bytes = wanted.out_bytes == 0 ? 1 << 20 : wanted.out_bytes;
    uint64_t slot_bytes = in_bytes + out_bytes + RING_SLOT_ALIGN; /* or less */
    uint64_t memory = wanted.memory_bytes == 0 ? (UINT64_C(64) << 20) * cores : wanted.memory_bytes;
    if (cores > CONTROL_WORKERS_MAX || wanted.min_cores > cores)
        return error_set(SUBLET_ERR_INVALID,
                         "cores %u, min_cores %u: a lease has 1 to %u cores and min_cores is not more; take several "
                         "leases for more",
                         cores, wanted.min_cores, CONTROL_WORKERS_MAX);
    if (memory >
        INT64_MAX) /* a negative number of whoever counted; with the rings it would come round to a small one */
        return error_set(SUBLET_ERR_INVALID, "memory_bytes %" PRIu64 " is no size", memory);
    if (slots > RING_SLOTS_MAX || in_bytes > RING_BUFFER_MAX || out_bytes > RING_BUFFER_MAX)
        return error_set(SUBLET_ERR_INVALID, "slots must be 1 to %u, in_bytes and out_bytes up to %u", RING_SLOTS_MAX,
                         RING_BUFFER_MAX);
    Sublet__V1__LeaseRequest request = SUBLET__V1__LEASE_REQUEST__INIT;
    request.kind = SUBLET__V1__LEASE_KIND__LEASE_KIND_FUNCTION;
    request.cores = cores;
    request.min_cores = wanted.min_cores;
    request.memory_bytes = memory + cores * slots * slot_bytes; /* the rings are its memory, too */
    request.term_ms = wanted.term_ms;
    request.node = wanted.node == NULL ? request.node : (char *)(uintptr_t)wanted.node;
    struct lease_wish wish = {.request = &request,
                              .exclude_nodes = wanted.exclude_nodes,
                              .slots = slots,
                              .in_bytes = in_bytes,
                              .out_bytes = out_bytes};
    return lease_take(session, &wish, lease_out);
}

void sublet_lease_release(sublet_lease *lease)
{
    if (lease != NULL)
        lease_give_back(lease);
}

sublet_status sublet_lease_info_get(const sublet_lease *lease, sublet_lease_info *info)
{
    return lease == NULL ? error_set(SUBLET_ERR_INVALID, "lease must not be NULL") : lease_describe(lease, info);
}
