#include "fake_agent.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sublet/v1/local.pb-c.h"

#define PEERS_MAX  16
#define LEASES_MAX 2048
#define FRAME_MAX  65536u

struct peer {
    int fd;
    size_t bytes;
    unsigned char input[FRAME_MAX + 4];
};

struct held {
    struct grant grant;
    bool granted;
    bool ended;
    uint64_t budget_ms; /* 0: it does not drain */
    int holder;         /* number of the peer; -1 = none */
    uint32_t renewals;
};

struct fake_agent {
    pthread_t thread;
    pthread_mutex_t lock;
    char path[108];
    int listen_fd;
    int wake_fd;
    bool stop;
    bool silent;
    uint64_t asked_bytes;
    struct peer peers[PEERS_MAX];
    struct held leases[LEASES_MAX];
    uint32_t lease_count;
};

static void must(bool fine, const char *what)
{
    if (!fine) {
        perror(what);
        abort();
    }
}

static void wake(struct fake_agent *agent)
{
    uint64_t one = 1;
    must(write(agent->wake_fd, &one, sizeof(one)) == sizeof(one), "eventfd");
}

static void answer(struct peer *peer, Sublet__V1__LocalResponse *response)
{
    unsigned char frame[4 + 4096];
    uint32_t size = (uint32_t)sublet__v1__local_response__get_packed_size(response);
    must(size <= 4096, "frame");
    memcpy(frame, &size, 4);
    sublet__v1__local_response__pack(response, frame + 4);
    (void)!send(peer->fd, frame, 4 + size, MSG_NOSIGNAL);
}

static void refuse(struct peer *peer, uint32_t id, uint32_t code, const char *message)
{
    Sublet__V1__LocalResponse response = SUBLET__V1__LOCAL_RESPONSE__INIT;
    response.id = id;
    response.code = code;
    response.message = (char *)(uintptr_t)message;
    answer(peer, &response);
}

static struct held *find(struct fake_agent *agent, const char *id)
{
    for (uint32_t i = 0; i < agent->lease_count; i++)
        if (strcmp(agent->leases[i].grant.id, id) == 0)
            return &agent->leases[i];
    return NULL;
}

static void fill_lease(const struct held *held, Sublet__V1__Lease *lease)
{
    lease->id = (char *)(uintptr_t)held->grant.id;
    lease->node = (char *)(uintptr_t)held->grant.node;
    lease->state = SUBLET__V1__LEASE_STATE__LEASE_STATE_ACTIVE;
    lease->term_ms = lease->remaining_ms = held->grant.term_ms;
    if (held->budget_ms == 0)
        return;
    lease->state = SUBLET__V1__LEASE_STATE__LEASE_STATE_DRAINING;
    lease->reason = SUBLET__V1__REASON__REASON_ADMIN;
    lease->remaining_ms = held->budget_ms;
}

static bool excluded(const Sublet__V1__LeaseRequest *request, const char *node)
{
    for (size_t i = 0; i < request->n_exclude_nodes; i++)
        if (strcmp(request->exclude_nodes[i], node) == 0)
            return true;
    return false;
}

static void serve_lease(struct fake_agent *agent, struct peer *peer, const Sublet__V1__LocalRequest *request)
{
    struct held *held = NULL;
    agent->asked_bytes = request->lease->request->memory_bytes;
    for (uint32_t i = 0; i < agent->lease_count && held == NULL; i++)
        if (!agent->leases[i].granted && !agent->leases[i].ended &&
            !excluded(request->lease->request, agent->leases[i].grant.node))
            held = &agent->leases[i];
    if (held == NULL) {
        refuse(peer, request->id, 8, "no node lends that much now");
        return;
    }
    held->granted = true;
    held->holder = (int)(peer - agent->peers);
    Sublet__V1__LocalResponse response = SUBLET__V1__LOCAL_RESPONSE__INIT;
    Sublet__V1__LocalLeased leased = SUBLET__V1__LOCAL_LEASED__INIT;
    Sublet__V1__Lease lease = SUBLET__V1__LEASE__INIT;
    Sublet__V1__Endpoint endpoint = SUBLET__V1__ENDPOINT__INIT;
    fill_lease(held, &lease);
    endpoint.node = held->grant.node;
    endpoint.unix_path = held->grant.unix_path;
    endpoint.tcp_address = held->grant.tcp_address;
    endpoint.token.data = held->grant.token;
    endpoint.token.len = sizeof(held->grant.token);
    leased.lease = &lease;
    leased.endpoint = &endpoint;
    response.id = request->id;
    response.leased = &leased;
    response.body_case = SUBLET__V1__LOCAL_RESPONSE__BODY_LEASED;
    answer(peer, &response);
}

static void serve(struct fake_agent *agent, struct peer *peer, const Sublet__V1__LocalRequest *request)
{
    bool renews = request->body_case == SUBLET__V1__LOCAL_REQUEST__BODY_RENEW;
    if (agent->silent)
        return;
    if (request->body_case == SUBLET__V1__LOCAL_REQUEST__BODY_LEASE) {
        serve_lease(agent, peer, request);
        return;
    }
    if (!renews && request->body_case != SUBLET__V1__LOCAL_REQUEST__BODY_RELEASE) {
        refuse(peer, request->id, 3, "not a request of a client");
        return;
    }
    struct held *held = find(agent, renews ? request->renew->lease_id : request->release->lease_id);
    if (held == NULL || !held->granted || held->ended ||
        strcmp(held->grant.node, renews ? request->renew->node : request->release->node) != 0) {
        refuse(peer, request->id, 5, "no such lease");
        return;
    }
    Sublet__V1__LocalResponse response = SUBLET__V1__LOCAL_RESPONSE__INIT;
    Sublet__V1__Lease lease = SUBLET__V1__LEASE__INIT;
    if (renews) {
        held->renewals++;
        held->holder = (int)(peer - agent->peers);
    } else
        held->ended = true;
    fill_lease(held, &lease);
    response.id = request->id;
    response.lease = &lease;
    response.body_case = SUBLET__V1__LOCAL_RESPONSE__BODY_LEASE;
    answer(peer, &response);
}

/** Leases end with the connection that holds them, unless the agent itself has died. */
static void hang_up(struct fake_agent *agent, struct peer *peer, bool ends_leases)
{
    if (peer->fd < 0)
        return;
    close(peer->fd);
    peer->fd = -1;
    for (uint32_t i = 0; i < agent->lease_count; i++)
        if (agent->leases[i].holder == peer - agent->peers) {
            agent->leases[i].holder = -1;
            agent->leases[i].ended |= ends_leases;
        }
}

static void read_peer(struct fake_agent *agent, struct peer *peer)
{
    ssize_t got = recv(peer->fd, peer->input + peer->bytes, sizeof(peer->input) - peer->bytes, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        hang_up(agent, peer, true);
        return;
    }
    peer->bytes += (size_t)got;
    uint32_t size;
    while (peer->bytes >= 4 && (memcpy(&size, peer->input, 4), peer->bytes >= 4 + (size_t)size)) {
        must(size >= 1 && size <= FRAME_MAX, "frame from the client");
        Sublet__V1__LocalRequest *request = sublet__v1__local_request__unpack(NULL, size, peer->input + 4);
        must(request != NULL && request->id != 0, "request from the client");
        serve(agent, peer, request);
        sublet__v1__local_request__free_unpacked(request, NULL);
        peer->bytes -= 4 + size;
        memmove(peer->input, peer->input + 4 + size, peer->bytes);
    }
}

static void *run(void *argument)
{
    struct fake_agent *agent = argument;
    pthread_mutex_lock(&agent->lock);
    while (!agent->stop) {
        struct pollfd polls[PEERS_MAX + 2];
        for (int i = 0; i < PEERS_MAX; i++)
            polls[i] = (struct pollfd){.fd = agent->peers[i].fd, .events = POLLIN};
        polls[PEERS_MAX] = (struct pollfd){.fd = agent->listen_fd, .events = POLLIN};
        polls[PEERS_MAX + 1] = (struct pollfd){.fd = agent->wake_fd, .events = POLLIN};
        pthread_mutex_unlock(&agent->lock);
        poll(polls, PEERS_MAX + 2, 1000);
        uint64_t count;
        (void)!read(agent->wake_fd, &count, sizeof(count));
        pthread_mutex_lock(&agent->lock);
        for (int i = 0; i < PEERS_MAX; i++)
            if (polls[i].fd >= 0 && polls[i].fd == agent->peers[i].fd && polls[i].revents != 0)
                read_peer(agent, &agent->peers[i]);
        int fd = agent->listen_fd < 0 ? -1 : accept4(agent->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        for (int i = 0; fd >= 0 && i < PEERS_MAX; i++)
            if (agent->peers[i].fd < 0) {
                agent->peers[i].fd = fd;
                agent->peers[i].bytes = 0;
                fd = -1;
            }
        if (fd >= 0)
            close(fd);
    }
    pthread_mutex_unlock(&agent->lock);
    return NULL;
}

static void open_socket(struct fake_agent *agent)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", agent->path);
    unlink(agent->path);
    agent->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    must(agent->listen_fd >= 0 && bind(agent->listen_fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
             listen(agent->listen_fd, 8) == 0,
         "agent's socket");
}

struct fake_agent *fake_agent_start(const char *path)
{
    struct fake_agent *agent = calloc(1, sizeof(*agent));
    must(agent != NULL, "calloc");
    snprintf(agent->path, sizeof(agent->path), "%s", path);
    pthread_mutex_init(&agent->lock, NULL);
    for (int i = 0; i < PEERS_MAX; i++)
        agent->peers[i].fd = -1;
    agent->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    open_socket(agent);
    must(pthread_create(&agent->thread, NULL, run, agent) == 0, "thread");
    return agent;
}

void fake_agent_die(struct fake_agent *agent, bool forgets)
{
    pthread_mutex_lock(&agent->lock);
    close(agent->listen_fd);
    agent->listen_fd = -1;
    unlink(agent->path);
    for (int i = 0; i < PEERS_MAX; i++)
        hang_up(agent, &agent->peers[i], forgets);
    pthread_mutex_unlock(&agent->lock);
    wake(agent);
}

void fake_agent_come_back(struct fake_agent *agent)
{
    pthread_mutex_lock(&agent->lock);
    open_socket(agent);
    pthread_mutex_unlock(&agent->lock);
    wake(agent);
}

void fake_agent_stop(struct fake_agent *agent)
{
    pthread_mutex_lock(&agent->lock);
    agent->stop = true;
    pthread_mutex_unlock(&agent->lock);
    wake(agent);
    pthread_join(agent->thread, NULL);
    if (agent->listen_fd >= 0)
        fake_agent_die(agent, true);
    close(agent->wake_fd);
    free(agent);
}

void fake_agent_offer(struct fake_agent *agent, const struct grant *grant)
{
    pthread_mutex_lock(&agent->lock);
    must(agent->lease_count < LEASES_MAX, "leases");
    agent->leases[agent->lease_count++] = (struct held){.grant = *grant, .holder = -1};
    pthread_mutex_unlock(&agent->lock);
}

void fake_agent_revoke(struct fake_agent *agent, const char *id)
{
    Sublet__V1__LocalResponse response = SUBLET__V1__LOCAL_RESPONSE__INIT;
    Sublet__V1__LocalRevoked revoked = SUBLET__V1__LOCAL_REVOKED__INIT;
    pthread_mutex_lock(&agent->lock);
    struct held *held = find(agent, id);
    must(held != NULL && held->holder >= 0, "lease to revoke");
    held->ended = true;
    revoked.lease_id = held->grant.id;
    revoked.state = SUBLET__V1__LEASE_STATE__LEASE_STATE_REVOKED;
    revoked.reason = SUBLET__V1__REASON__REASON_BATCH_JOB;
    response.revoked = &revoked;
    response.body_case = SUBLET__V1__LOCAL_RESPONSE__BODY_REVOKED;
    answer(&agent->peers[held->holder], &response);
    pthread_mutex_unlock(&agent->lock);
}

void fake_agent_withdraw(struct fake_agent *agent, const char *id)
{
    pthread_mutex_lock(&agent->lock);
    struct held *held = find(agent, id);
    must(held != NULL, "lease to withdraw");
    held->ended = true;
    pthread_mutex_unlock(&agent->lock);
}

void fake_agent_drain(struct fake_agent *agent, const char *id, uint64_t budget_ms, bool quietly)
{
    Sublet__V1__LocalResponse response = SUBLET__V1__LOCAL_RESPONSE__INIT;
    Sublet__V1__LocalDraining draining = SUBLET__V1__LOCAL_DRAINING__INIT;
    pthread_mutex_lock(&agent->lock);
    struct held *held = find(agent, id);
    must(held != NULL && held->holder >= 0, "lease to drain");
    held->budget_ms = budget_ms;
    draining.lease_id = held->grant.id;
    draining.remaining_ms = budget_ms;
    draining.reason = SUBLET__V1__REASON__REASON_ADMIN;
    response.draining = &draining;
    response.body_case = SUBLET__V1__LOCAL_RESPONSE__BODY_DRAINING;
    if (!quietly)
        answer(&agent->peers[held->holder], &response);
    pthread_mutex_unlock(&agent->lock);
}

void fake_agent_send_garbage(struct fake_agent *agent)
{
    static const unsigned char garbage[] = {0xff, 0xff, 0xff, 0x7f, 1, 2, 3, 4};
    pthread_mutex_lock(&agent->lock);
    for (int i = 0; i < PEERS_MAX; i++)
        if (agent->peers[i].fd >= 0)
            (void)!send(agent->peers[i].fd, garbage, sizeof(garbage), MSG_NOSIGNAL);
    pthread_mutex_unlock(&agent->lock);
}

void fake_agent_be_silent(struct fake_agent *agent, bool silent)
{
    pthread_mutex_lock(&agent->lock);
    agent->silent = silent;
    pthread_mutex_unlock(&agent->lock);
}

uint32_t fake_agent_renewals(struct fake_agent *agent, const char *id)
{
    pthread_mutex_lock(&agent->lock);
    struct held *held = find(agent, id);
    uint32_t renewals = held == NULL ? 0 : held->renewals;
    pthread_mutex_unlock(&agent->lock);
    return renewals;
}

bool fake_agent_holds(struct fake_agent *agent, const char *id)
{
    pthread_mutex_lock(&agent->lock);
    struct held *held = find(agent, id);
    bool holds = held != NULL && held->granted && !held->ended && held->holder >= 0;
    pthread_mutex_unlock(&agent->lock);
    return holds;
}

uint64_t fake_agent_asked_bytes(struct fake_agent *agent)
{
    pthread_mutex_lock(&agent->lock);
    uint64_t bytes = agent->asked_bytes;
    pthread_mutex_unlock(&agent->lock);
    return bytes;
}
