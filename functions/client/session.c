#include "client/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cycles.h"
#include "client/buffer.h"
#include "client/calls.h"
#include "client/durable.h"
#include "client/error.h"
#include "client/lease.h"
#include "client/library.h"
#include "client/link.h"
#include "fabric/ofi.h"

#define TIMEOUT_MS_DEFAULT UINT64_C(10000)
#define SPIN_US_DEFAULT    UINT64_C(50)
#define AGENT_SOCKET       "/run/sublet/agent.sock"

void session_sleep(struct sublet_session *session, uint64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u), .tv_nsec = (long)(until_ns % 1000000000u)};
    session->calls.waiters++;
    pthread_cond_timedwait(&session->changed, &session->lock, &until);
    session->calls.waiters--;
}

const char *session_name(struct sublet_session *session, const char *name)
{
    struct node_name *known = session->names;
    while (known != NULL && strncmp(known->text, name, sizeof(known->text) - 1) != 0)
        known = known->next;
    if (known == NULL && (known = calloc(1, sizeof(*known))) != NULL) {
        snprintf(known->text, sizeof(known->text), "%s", name);
        known->next = session->names;
        session->names = known;
    }
    return known == NULL ? "" : known->text;
}

static sublet_status make_sync(struct sublet_session *session)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return SUBLET_ERR_NO_MEMORY;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int failed = pthread_cond_init(&session->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (failed != 0)
        return SUBLET_ERR_NO_MEMORY;
    if (pthread_mutex_init(&session->lock, NULL) == 0)
        return SUBLET_OK;
    pthread_cond_destroy(&session->changed);
    return SUBLET_ERR_NO_MEMORY;
}

sublet_status sublet_open(const sublet_options *options, sublet_session **session_out)
{
    sublet_options wanted = SUBLET_OPTIONS_INIT;
    if (session_out == NULL)
        return error_set(SUBLET_ERR_INVALID, "session_out must not be NULL");
    if (options != NULL)
        memcpy(&wanted, options, options->struct_bytes < sizeof(wanted) ? options->struct_bytes : sizeof(wanted));
    const char *path = wanted.agent_socket;
    if (path == NULL)
        path = secure_getenv("SUBLET_AGENT_SOCKET");
    if (path == NULL || path[0] == '\0')
        path = AGENT_SOCKET;
    if (strlen(path) >= AGENT_PATH_MAX)
        return error_set(SUBLET_ERR_INVALID, "the path of the agent's socket has more than %u bytes",
                         AGENT_PATH_MAX - 1);
    const char *folder = wanted.spill_folder != NULL ? wanted.spill_folder : secure_getenv("SUBLET_SPILL_DIR");
    const char *fabric = wanted.fabric == NULL ? ofi_wanted_provider() : wanted.fabric;
    if (fabric != NULL && strlen(fabric) > OFI_PROVIDER_MAX)
        return error_set(SUBLET_ERR_INVALID, "no fabric has a name of more than %u bytes", OFI_PROVIDER_MAX);
    if (wanted.flags != 0)
        return error_set(SUBLET_ERR_INVALID, "unknown flags 0x%x", wanted.flags);
    if (wanted.timeout_ms > UINT64_MAX / 2000000 || wanted.spin_us > UINT64_MAX / 2000)
        return error_set(SUBLET_ERR_INVALID, "timeout_ms or spin_us is out of range");
    struct sublet_session *session = calloc(1, sizeof(*session));
    bool spills = folder != NULL && folder[0] != '\0';
    if (session != NULL && spills)
        session->spill_folder = strdup(folder);
    if (session == NULL || (spills && session->spill_folder == NULL) || make_sync(session) != SUBLET_OK) {
        if (session != NULL)
            free(session->spill_folder);
        free(session);
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    }
    session->timeout_ns = (wanted.timeout_ms == 0 ? TIMEOUT_MS_DEFAULT : wanted.timeout_ms) * 1000000;
    session->spin_ns = (wanted.spin_us == 0 ? SPIN_US_DEFAULT : wanted.spin_us) * 1000;
    session->opened_ns = now_ns();
    session->opened_cycles = cycles();
    session->spill_bytes = wanted.spill_bytes;
    if (fabric != NULL)
        snprintf(session->fabric, sizeof(session->fabric), "%s", fabric);
    session->agent.fd = session->agent.answered_fd = -1;
    session->background.wake_fd = -1;
    snprintf(session->agent.path, sizeof(session->agent.path), "%s", path);
    *session_out = session;
    return SUBLET_OK;
}

void sublet_close(sublet_session *session)
{
    if (session == NULL)
        return;
    pthread_mutex_lock(&session->lock);
    session->closing = true; /* nobody starts the background thread again */
    pthread_mutex_unlock(&session->lock);
    background_stop(session);
    pthread_mutex_lock(&session->lock);
    agent_destroy(session); /* the agent releases what was asked for on its connection */
    pthread_mutex_unlock(&session->lock);
    durables_stop(session);
    while (session->durables != NULL)
        sublet_region_free(session->durables->region);
    while (session->leases != NULL) {
        struct sublet_region *region = session->leases->region;
        if (region != NULL)
            sublet_region_free(region);
        else
            lease_give_back(session->leases);
    }
    pthread_mutex_lock(&session->lock);
    imports_free(session);
    calls_end_all(session);
    pthread_mutex_unlock(&session->lock);
    while (session->calls.all != NULL)
        sublet_call_free(session->calls.all);
    while (session->buffers != NULL)
        sublet_buffer_release(&session->buffers->face);
    libraries_free(session);
    while (session->names != NULL) {
        struct node_name *name = session->names;
        session->names = name->next;
        free(name);
    }
    pthread_cond_destroy(&session->changed);
    pthread_mutex_destroy(&session->lock);
    free(session->spill_folder);
    free(session);
}
