/**
 * What the library reads from its node's agent: leases and refusals, answers to renewals, notices that a lease ends or
 * is wanted back, answers that nobody waits for, frames that are none. Leases lead to an executor that says as little
 * as it likes. What the session's thread does, the user does here.
 */
#define HOSTILE_AGENT
#include "hostile_executor.h"

#include "client/region.h"

#define LEASES_MAX 4u

static sublet_lease *leases[LEASES_MAX];
static sublet_region *regions[LEASES_MAX];

sublet_status __wrap_background_start(struct sublet_session *of);

sublet_status __wrap_background_start(struct sublet_session *of)
{
    (void)of;
    return SUBLET_OK;
}

static void way_came(struct connection *connection)
{
    uint32_t how = take(1);
    bool agent = connection->family == AF_UNIX;
    region_bytes = (how & 32) != 0 ? UINT64_MAX : 0;
    if ((how & 15) == 0)
        babble(connection);
    else if ((how & 15) == 1)
        hang_up(connection);
    else if ((how & 15) != 2 && !agent)
        say_welcome(connection);
}

static const struct connection *agent_connection(void)
{
    for (uint32_t i = 0; i < connected; i++)
        if (session->agent.fd >= 0 && connections[i].client_fd == session->agent.fd)
            return &connections[i];
    return NULL;
}

static char *text(void)
{
    static char texts[][100] = {
        "a",    "b",
        "c",    "127.0.0.1:1",
        "",     "no address",
        "::::", "more than a lease's number may have, and more than a node's name of sixty-four bytes",
    };
    return texts[take(1) % 8];
}

static void lease_make(Sublet__V1__Lease *granted)
{
    uint32_t how = take(1);
    sublet__v1__lease__init(granted);
    granted->id = text();
    granted->node = text();
    granted->state = (Sublet__V1__LeaseState)(how & 15);
    granted->reason = (Sublet__V1__Reason)((how & 16) != 0 ? take(4) : take(1) % 20);
    granted->term_ms = (how & 32) != 0 ? UINT64_MAX - take(1) : take(2);
    granted->remaining_ms = (how & 64) != 0 ? UINT64_MAX - take(1) : take(2);
}

static void say_frame(const struct connection *to, const Sublet__V1__LocalResponse *response)
{
    unsigned char frame[2048];
    size_t size = sublet__v1__local_response__get_packed_size(response);
    uint32_t length = (uint32_t)size, cut = take(1);
    must(size + sizeof(length) <= sizeof(frame));
    memcpy(frame, &length, sizeof(length));
    sublet__v1__local_response__pack(response, frame + sizeof(length));
    if (size > 0)
        bend(frame + (cut == 255 ? 0 : sizeof(length)), size);
    say(to, frame, cut == 254 ? size / 2 : size + sizeof(length));
}

/** Of the request that waits longest, of another, of none. */
static uint32_t number_take(void)
{
    uint32_t how = take(1);
    const struct agent_request *request = session->agent.requests;
    while ((how & 1) == 0 && request != NULL && request->next != NULL)
        request = request->next;
    return how >= 224 || request == NULL ? how % 8 : request->id;
}

static void say_something(void)
{
    static uint8_t token[CONTROL_TOKEN_BYTES + 1];
    const struct connection *to = agent_connection();
    Sublet__V1__LocalResponse response = SUBLET__V1__LOCAL_RESPONSE__INIT;
    Sublet__V1__LocalLeased leased = SUBLET__V1__LOCAL_LEASED__INIT;
    Sublet__V1__Lease granted;
    Sublet__V1__Endpoint endpoint = SUBLET__V1__ENDPOINT__INIT;
    Sublet__V1__LocalRevoked revoked = SUBLET__V1__LOCAL_REVOKED__INIT;
    Sublet__V1__LocalDraining draining = SUBLET__V1__LOCAL_DRAINING__INIT;
    Sublet__V1__LocalHookDone other = SUBLET__V1__LOCAL_HOOK_DONE__INIT;
    uint32_t how = take(1);
    if (to == NULL)
        return;
    lease_make(&granted);
    response.id = number_take();
    response.code = (how & 24) == 24 ? take(1) % 20 : 0;
    response.message = text();
    switch (how & 7) {
    case 0:
    case 1:
        endpoint.tcp_address = (how & 32) != 0 ? text() : (char *)(uintptr_t) "127.0.0.1:1";
        endpoint.token.data = token;
        endpoint.token.len = (how & 192) == 192 ? take(1) % sizeof(token) : CONTROL_TOKEN_BYTES;
        leased.lease = (how & 192) == 64 ? NULL : &granted;
        leased.endpoint = (how & 192) == 128 ? NULL : &endpoint;
        response.leased = &leased;
        response.body_case = SUBLET__V1__LOCAL_RESPONSE__BODY_LEASED;
        break;
    case 2:
    case 3:
        response.lease = &granted;
        response.body_case = SUBLET__V1__LOCAL_RESPONSE__BODY_LEASE;
        break;
    case 4:
        revoked.lease_id = granted.id;
        revoked.state = granted.state;
        revoked.reason = granted.reason;
        response.id = (how & 32) != 0 ? response.id : 0;
        response.revoked = &revoked;
        response.body_case = SUBLET__V1__LOCAL_RESPONSE__BODY_REVOKED;
        break;
    case 5:
        draining.lease_id = granted.id;
        draining.remaining_ms = granted.remaining_ms;
        draining.reason = granted.reason;
        response.id = (how & 32) != 0 ? response.id : 0;
        response.draining = &draining;
        response.body_case = SUBLET__V1__LOCAL_RESPONSE__BODY_DRAINING;
        break;
    case 6:
        response.hook_done = &other;
        response.body_case = SUBLET__V1__LOCAL_RESPONSE__BODY_HOOK_DONE;
        break;
    default:
        break;
    }
    say_frame(to, &response);
}

static void way_acts(uint32_t what)
{
    const struct connection *agent;
    if (what != 7) {
        say_something();
        return;
    }
    agent = agent_connection();
    if (agent != NULL)
        babble(agent);
}

/** What is due: as background.c's thread does it. */
static void turn(void)
{
    pthread_mutex_lock(&session->lock);
    uint64_t now = now_ns();
    if (session->agent.fd < 0 && session->leases != NULL && now >= session->agent.retry_ns)
        (void)agent_connect(session);
    (void)leases_tick(session, now);
    (void)calls_tick(session);
    struct pollfd entry = {.fd = session->agent.fd, .events = POLLIN};
    if (entry.fd >= 0 && __real_poll(&entry, 1, 0) > 0)
        agent_ready(session, entry.revents);
    pthread_mutex_unlock(&session->lock);
}

static void release(uint32_t at)
{
    sublet_lease_release(leases[at]);
    sublet_region_free(regions[at]);
    leases[at] = NULL;
    regions[at] = NULL;
}

static void describe(uint32_t at)
{
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    if (leases[at] != NULL)
        must(sublet_lease_info_get(leases[at], &info) == SUBLET_OK);
    else if (regions[at] != NULL)
        must(sublet_region_info_get(regions[at], &info) == SUBLET_OK);
    must(memchr(info.id, 0, sizeof(info.id)) != NULL && memchr(info.node, 0, sizeof(info.node)) != NULL);
    must(memchr(info.reason, 0, sizeof(info.reason)) != NULL && memchr(info.path, 0, sizeof(info.path)) != NULL);
}

static void more(uint32_t what)
{
    sublet_lease_options options = SUBLET_LEASE_OPTIONS_INIT;
    uint32_t at = take(1) % LEASES_MAX;
    uint64_t word = 0;
    switch (what / 12 % 8) {
    case 0:
    case 1:
        release(at);
        options.in_bytes = options.out_bytes = 1 + take(1);
        (void)sublet_lease_acquire(session, &options, &leases[at]);
        return;
    case 2:
        release(at);
        (void)sublet_region_alloc(session, 1 + take(1), NULL, &regions[at]);
        return;
    case 3:
        release(at);
        return;
    case 4:
        describe(at);
        return;
    case 5:
        clock_ns += (uint64_t)take(2) * 1000000;
        return;
    case 6:
        if (regions[at] != NULL)
            (void)sublet_region_get(regions[at], 0, &word, 1);
        return;
    default:
        turn();
    }
}

/** The session releases what was not. */
static void last(void)
{
    turn();
    memset(leases, 0, sizeof(leases));
    memset(regions, 0, sizeof(regions));
    region_bytes = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    region_bytes = 0;
    session_run(data, size, "", "none", more, last);
    return 0;
}
