#include "client/agent.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fds.h"
#include "client/error.h"
#include "client/lease.h"
#include "client/session.h"

#define BACKOFF_FIRST_NS UINT64_C(20000000)
#define BACKOFF_LAST_NS  UINT64_C(2000000000)

sublet_status agent_status_of(uint32_t code)
{
    static const sublet_status of[] = {
        [0] = SUBLET_OK,         [3] = SUBLET_ERR_INVALID, [4] = SUBLET_ERR_TIMEOUT, [5] = SUBLET_ERR_NOT_FOUND,
        [7] = SUBLET_ERR_DENIED, [8] = SUBLET_ERR_BUSY,    [9] = SUBLET_ERR_BUSY,    [10] = SUBLET_ERR_BUSY,
        [14] = SUBLET_ERR_BUSY,  [16] = SUBLET_ERR_DENIED,
    };
    if (code == 0)
        return SUBLET_OK;
    sublet_status status = code < sizeof(of) / sizeof(of[0]) ? of[code] : SUBLET_ERR_SYSTEM;
    return status == SUBLET_OK ? SUBLET_ERR_SYSTEM : status;
}

sublet_status agent_connect(struct sublet_session *session)
{
    struct agent *agent = &session->agent;
    if (agent->fd >= 0)
        return SUBLET_OK;
    if (session->closing)
        return SUBLET_ERR_LOST;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, agent->path, sizeof(address.sun_path));
    if (agent->input == NULL && (agent->input = malloc(AGENT_FRAME_MAX + sizeof(uint32_t))) == NULL)
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set(SUBLET_ERR_SYSTEM, "cannot make a socket: %m");
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        error_set(SUBLET_ERR_BUSY,
                  "no agent answers at %s (%m): nothing can be leased here; start sublet-agent on this node or set "
                  "SUBLET_AGENT_SOCKET",
                  agent->path);
        close(fd);
        agent->backoff_ns = agent->backoff_ns == 0 ? BACKOFF_FIRST_NS : agent->backoff_ns * 2;
        if (agent->backoff_ns > BACKOFF_LAST_NS)
            agent->backoff_ns = BACKOFF_LAST_NS;
        agent->retry_ns = now_ns() + agent->backoff_ns;
        return SUBLET_ERR_BUSY;
    }
    agent->fd = fd;
    agent->watched = false;
    agent->backoff_ns = 0;
    agent->input_bytes = 0;
    agent->output_bytes = 0;
    leases_rebind(session);
    return SUBLET_OK;
}

static void finish(struct sublet_session *session, struct agent_request *request, sublet_status status,
                   Sublet__V1__LocalResponse *answer)
{
    for (struct agent_request **at = &session->agent.requests; *at != NULL; at = &(*at)->next)
        if (*at == request) {
            *at = request->next;
            break;
        }
    if (request->purpose != AGENT_ASKED) {
        if (request->purpose == AGENT_RENEWAL)
            lease_renewed(session, request->lease_id, status, answer);
        agent_answer_free(answer);
        free(request);
        return;
    }
    request->status = status;
    request->answer = answer;
    request->done = true;
    pthread_cond_broadcast(&session->changed);
    uint64_t one = 1;
    if (session->agent.reader)
        (void)!write(session->agent.answered_fd, &one, sizeof(one));
}

void agent_disconnect(struct sublet_session *session)
{
    struct agent *agent = &session->agent;
    if (agent->fd < 0)
        return;
    close(agent->fd);
    agent->fd = -1;
    agent->retry_ns = now_ns() + BACKOFF_FIRST_NS;
    while (agent->requests != NULL)
        finish(session, agent->requests, SUBLET_ERR_LOST, NULL);
    background_wake(session); /* to connect again, in case another thread has seen the end */
}

void agent_destroy(struct sublet_session *session)
{
    agent_disconnect(session);
    if (session->agent.answered_fd >= 0)
        close(session->agent.answered_fd);
    session->agent.answered_fd = -1;
    free(session->agent.input);
    free(session->agent.output);
}

void agent_answer_free(Sublet__V1__LocalResponse *answer)
{
    if (answer != NULL)
        sublet__v1__local_response__free_unpacked(answer, NULL);
}

/** Sends what the socket takes; a broken connection shows itself to who reads. */
static void send_some(struct agent *agent)
{
    while (agent->output_bytes > 0) {
        ssize_t sent = send(agent->fd, agent->output, agent->output_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return;
        agent->output_bytes -= (size_t)sent;
        memmove(agent->output, agent->output + sent, agent->output_bytes);
    }
}

/** Sends one frame; what does not go out at once is the background thread's. */
static sublet_status send_frame(struct sublet_session *session, struct agent_request *request,
                                Sublet__V1__LocalRequest *message)
{
    struct agent *agent = &session->agent;
    message->id = request->id = ++agent->next_id == 0 ? ++agent->next_id : agent->next_id;
    size_t size = sublet__v1__local_request__get_packed_size(message);
    if (size == 0 || size > AGENT_FRAME_MAX)
        return error_set(SUBLET_ERR_TOO_LARGE, "a request to the agent is larger than %u bytes", AGENT_FRAME_MAX);
    size_t needed = agent->output_bytes + sizeof(uint32_t) + size;
    if (needed > AGENT_OUTPUT_MAX)
        return error_set(SUBLET_ERR_BUSY, "the agent does not read its requests");
    if (needed > agent->output_capacity) {
        unsigned char *larger = realloc(agent->output, needed + 4096);
        if (larger == NULL)
            return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
        agent->output = larger;
        agent->output_capacity = needed + 4096;
    }
    uint32_t length = (uint32_t)size;
    memcpy(agent->output + agent->output_bytes, &length, sizeof(length));
    sublet__v1__local_request__pack(message, agent->output + agent->output_bytes + sizeof(length));
    agent->output_bytes = needed;
    request->next = agent->requests;
    agent->requests = request;
    send_some(agent);
    if (agent->output_bytes > 0 || !agent->watched)
        background_wake(session);
    return SUBLET_OK;
}

/** Sleeps until something came from the agent, or another thread took an answer. Drops the lock meanwhile. */
static void wait_for_answer(struct sublet_session *session, uint64_t end_ns)
{
    struct agent *agent = &session->agent;
    if (agent->answered_fd < 0)
        agent->answered_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (agent->reader || agent->answered_fd < 0 || agent->fd < 0) {
        session_sleep(session, end_ns);
        return;
    }
    struct pollfd polls[] = {{.fd = agent->fd, .events = POLLIN}, {.fd = agent->answered_fd, .events = POLLIN}};
    uint64_t count;
    agent->reader = true;
    pthread_mutex_unlock(&session->lock);
    int ready = poll(polls, 2, left_ms(end_ns));
    pthread_mutex_lock(&session->lock);
    agent->reader = false;
    (void)!read(agent->answered_fd, &count, sizeof(count));
    if (ready > 0 && polls[0].revents != 0 && agent->fd == polls[0].fd)
        agent_ready(session, polls[0].revents);
}

sublet_status agent_ask(struct sublet_session *session, Sublet__V1__LocalRequest *message, uint64_t end_ns,
                        Sublet__V1__LocalResponse **answer_out)
{
    struct agent_request request = {.status = SUBLET_ERR_LOST};
    sublet_status status = session->closing ? SUBLET_ERR_LOST : background_start(session);
    if (status == SUBLET_OK)
        status = agent_connect(session);
    if (status == SUBLET_OK)
        status = send_frame(session, &request, message);
    if (status != SUBLET_OK)
        return status;
    while (!request.done && now_ns() < end_ns)
        wait_for_answer(session, end_ns);
    if (!request.done) {
        finish(session, &request, SUBLET_ERR_TIMEOUT, NULL);
        return error_set(SUBLET_ERR_TIMEOUT, "the agent at %s did not answer in time", session->agent.path);
    }
    if (request.status != SUBLET_OK)
        return error_set(request.status, "the agent at %s went away before it answered; try again",
                         session->agent.path);
    if (request.answer->code != 0) {
        status = agent_status_of(request.answer->code);
        error_set(status, "the agent says: %s", request.answer->message);
        agent_answer_free(request.answer);
        return status;
    }
    *answer_out = request.answer;
    return SUBLET_OK;
}

/** Sends a request that frees itself when its answer came. */
static sublet_status send_alone(struct sublet_session *session, Sublet__V1__LocalRequest *message,
                                enum agent_purpose purpose, const char *lease_id)
{
    if (session->agent.fd < 0)
        return SUBLET_ERR_LOST;
    struct agent_request *request = calloc(1, sizeof(*request));
    if (request == NULL)
        return SUBLET_ERR_NO_MEMORY;
    request->purpose = purpose;
    strncpy(request->lease_id, lease_id, sizeof(request->lease_id) - 1);
    sublet_status status = send_frame(session, request, message);
    if (status != SUBLET_OK)
        free(request);
    return status;
}

sublet_status agent_renew(struct sublet_session *session, const char *lease_id, const char *node)
{
    Sublet__V1__LocalRequest message = SUBLET__V1__LOCAL_REQUEST__INIT;
    Sublet__V1__LocalRenew renew = SUBLET__V1__LOCAL_RENEW__INIT;
    renew.lease_id = (char *)(uintptr_t)lease_id;
    renew.node = (char *)(uintptr_t)node;
    message.renew = &renew;
    message.body_case = SUBLET__V1__LOCAL_REQUEST__BODY_RENEW;
    return send_alone(session, &message, AGENT_RENEWAL, lease_id);
}

sublet_status agent_release(struct sublet_session *session, const char *lease_id, const char *node)
{
    Sublet__V1__LocalRequest message = SUBLET__V1__LOCAL_REQUEST__INIT;
    Sublet__V1__LocalRelease release = SUBLET__V1__LOCAL_RELEASE__INIT;
    release.lease_id = (char *)(uintptr_t)lease_id;
    release.node = (char *)(uintptr_t)node;
    message.release = &release;
    message.body_case = SUBLET__V1__LOCAL_REQUEST__BODY_RELEASE;
    return send_alone(session, &message, AGENT_FORGOTTEN, lease_id);
}

static void take_answer(struct sublet_session *session, Sublet__V1__LocalResponse *answer)
{
    if (answer->id == 0) {
        if (answer->body_case == SUBLET__V1__LOCAL_RESPONSE__BODY_REVOKED)
            lease_revoked(session, answer->revoked);
        else if (answer->body_case == SUBLET__V1__LOCAL_RESPONSE__BODY_DRAINING)
            lease_draining(session, answer->draining);
        agent_answer_free(answer);
        return;
    }
    for (struct agent_request *request = session->agent.requests; request != NULL; request = request->next)
        if (request->id == answer->id) {
            finish(session, request, SUBLET_OK, answer);
            return;
        }
    /* Its asker gave up: a lease that nobody holds goes back at once. */
    if (answer->body_case == SUBLET__V1__LOCAL_RESPONSE__BODY_LEASED && answer->leased->lease != NULL)
        (void)agent_release(session, answer->leased->lease->id, answer->leased->lease->node);
    agent_answer_free(answer);
}

/** Takes the whole frames out of the input; false when the agent breaks the rules. */
static bool take_frames(struct sublet_session *session)
{
    struct agent *agent = &session->agent;
    size_t done = 0;
    uint32_t length;
    while (agent->input_bytes - done >= sizeof(length)) {
        memcpy(&length, agent->input + done, sizeof(length));
        if (length == 0 || length > AGENT_FRAME_MAX)
            return false;
        if (agent->input_bytes - done - sizeof(length) < length)
            break;
        Sublet__V1__LocalResponse *answer =
            sublet__v1__local_response__unpack(NULL, length, agent->input + done + sizeof(length));
        if (answer == NULL)
            return false;
        done += sizeof(length) + length;
        take_answer(session, answer);
    }
    agent->input_bytes -= done;
    memmove(agent->input, agent->input + done, agent->input_bytes);
    return true;
}

void agent_ready(struct sublet_session *session, short events)
{
    struct agent *agent = &session->agent;
    send_some(agent);
    while ((events & (POLLIN | POLLHUP | POLLERR)) != 0) {
        ssize_t got = recv(agent->fd, agent->input + agent->input_bytes,
                           AGENT_FRAME_MAX + sizeof(uint32_t) - agent->input_bytes, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got > 0)
            agent->input_bytes += (size_t)got;
        if (got <= 0 || !take_frames(session)) {
            agent_disconnect(session);
            return;
        }
    }
}
