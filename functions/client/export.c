/**
 * Leases that are handed on: by the owner as bytes, by whoever gets them as a lease of his own session. A function has
 * no agent, so what it calls was given to it with its arguments.
 *
 * The importer renews nothing and gives nothing back: the lease lives as long as its owner wants, and ends here when
 * its executor is gone. It needs no thread, so that a function leaves none behind. It always goes by TCP: the unix
 * socket of an executor serves the uid of its owner, which a guest is not.
 *
 * A function is called again and again with the same lease, and connecting costs some ten times what the call does: so
 * an import that was released keeps its connections for a while, in the session, and the same bytes find it again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fds.h"
#include "client/calls.h"
#include "client/error.h"
#include "client/lease.h"
#include "client/library.h"
#include "client/link.h"
#include "wire/export.h"

#define KEPT_MAX 8u /* each holds a place at a worker of its executor */

/** Makes the function known to the executor. Lock held; dropped meanwhile. */
static sublet_status resolve(struct sublet_lease *lease, struct sublet_function_ref *function, uint32_t *id_out)
{
    struct link *link = lease->link;
    uint64_t end_ns = now_ns() + lease->session->timeout_ns;
    const struct link_entry *entry = &link->functions[function->number];
    while (atomic_load(&link->lost) == 0 && now_ns() < end_ns) {
        if (entry->state == LINK_RESOLVED) {
            *id_out = entry->id;
            return SUBLET_OK;
        }
        if (entry->state == LINK_REFUSED)
            return error_set(entry->why, "%s cannot be loaded on %s: %s", function->name, link->node,
                             sublet_status_text(entry->why));
        if (entry->state == LINK_RESOLVING) /* by another thread */
            session_sleep(lease->session, now_ns() + 1000000);
        else
            link_resolve(link, function);
    }
    return error_set(SUBLET_ERR_REVOKED, "the lease has ended: %s", lease->reason);
}

sublet_status sublet_lease_export(sublet_lease *lease, sublet_function_ref *function, void *out, size_t out_capacity,
                                  size_t *out_bytes_out)
{
    struct lease_export made = {.magic = EXPORT_MAGIC, .version = EXPORT_VERSION, .bytes = sizeof(made)};
    if (lease == NULL || function == NULL || out == NULL || out_bytes_out == NULL)
        return error_set(SUBLET_ERR_INVALID, "lease, function, out and out_bytes_out must not be NULL");
    if (function->library->session != lease->session || (function->home != NULL && function->home != lease))
        return error_set(SUBLET_ERR_INVALID, "%s belongs to another session or lease", function->name);
    if (out_capacity < sizeof(made))
        return error_set(SUBLET_ERR_TOO_LARGE, "an exported lease takes %zu bytes", sizeof(made));
    if (lease->tcp_address[0] == '\0')
        return error_set(SUBLET_ERR_INVALID, "the lease cannot be reached over TCP");
    pthread_mutex_lock(&lease->session->lock);
    sublet_status status = resolve(lease, function, &made.function);
    pthread_mutex_unlock(&lease->session->lock);
    if (status != SUBLET_OK)
        return status;
    made.slots = lease->slots;
    made.in_bytes = (uint32_t)lease->in_bytes;
    made.out_bytes = (uint32_t)lease->out_bytes;
    memcpy(made.token, lease->link->token, sizeof(made.token));
    snprintf(made.address, sizeof(made.address), "%s", lease->tcp_address);
    snprintf(made.id, sizeof(made.id), "%s", lease->id);
    snprintf(made.node, sizeof(made.node), "%s", lease->node);
    snprintf(made.name, sizeof(made.name), "%s", function->name);
    memcpy(out, &made, sizeof(made));
    *out_bytes_out = sizeof(made);
    return SUBLET_OK;
}

static void drop(struct sublet_lease **at)
{
    struct sublet_lease *lease = *at;
    *at = lease->next;
    lease->function->kept = false;
    lease->link->lease = NULL;
    link_unref(lease->link);
    free(lease);
}

void imports_free(struct sublet_session *session)
{
    while (session->kept != NULL)
        drop(&session->kept);
}

bool import_keep(struct sublet_lease *lease)
{
    struct sublet_session *session = lease->session;
    struct link *link = lease->link;
    if (session->closing || link == NULL || lease->function == NULL)
        return false;
    if (--lease->users > 0)
        return true;
    if (atomic_load(&link->lost) != 0 || link->busy > 0 || link->refs > 1)
        return false; /* what is on its way ends with it */
    struct sublet_lease **at = &session->leases;
    while (*at != lease)
        at = &(*at)->next;
    *at = lease->next;
    calls_forget_lease(session, lease);
    libraries_forget_lease(session, lease);
    lease->function->kept = true;
    lease->next = session->kept;
    session->kept = lease;
    at = &lease->next;
    for (uint32_t count = 1; *at != NULL && count < KEPT_MAX; count++)
        at = &(*at)->next;
    while (*at != NULL)
        drop(at);
    return true;
}

static bool is_import_of(const struct sublet_lease *lease, const struct lease_export *read)
{
    const struct link *link = lease->link;
    if (!lease->imported || link == NULL || lease->function == NULL || atomic_load(&link->lost) != 0)
        return false;
    const struct link_entry *entry = &link->functions[lease->function->number];
    return entry->state == LINK_RESOLVED && entry->id == read->function &&
           strcmp(lease->function->name, read->name) == 0 && strcmp(lease->id, read->id) == 0 &&
           strcmp(lease->tcp_address, read->address) == 0 && lease->slots == read->slots &&
           lease->in_bytes == read->in_bytes && lease->out_bytes == read->out_bytes &&
           memcmp(link->token, read->token, sizeof(read->token)) == 0;
}

/** What these bytes were imported as before, if its executor is still there. */
static struct sublet_lease *find_import(struct sublet_session *session, const struct lease_export *read)
{
    struct sublet_lease *lease = session->leases;
    while (lease != NULL && !is_import_of(lease, read))
        lease = lease->next;
    if (lease != NULL && !link_gone(lease->link)) {
        lease->users++;
        return lease;
    }
    struct sublet_lease **at = &session->kept;
    while (*at != NULL && !is_import_of(*at, read))
        at = &(*at)->next;
    if (*at == NULL)
        return NULL;
    if (link_gone((*at)->link)) {
        drop(at);
        return NULL;
    }
    lease = *at;
    *at = lease->next;
    lease->next = session->leases;
    session->leases = lease;
    lease->users = 1;
    lease->function->home = lease;
    lease->function->kept = false;
    return lease;
}

static struct sublet_lease *make_lease(struct sublet_session *session, const struct lease_export *read)
{
    struct sublet_lease *lease = calloc(1, sizeof(*lease));
    if (lease == NULL)
        return NULL;
    lease->session = session;
    lease->imported = true;
    lease->users = 1;
    lease->slots = read->slots;
    lease->in_bytes = read->in_bytes;
    lease->out_bytes = read->out_bytes;
    memcpy(lease->id, read->id, sizeof(lease->id));
    memcpy(lease->tcp_address, read->address, sizeof(lease->tcp_address));
    pthread_mutex_lock(&session->lock);
    lease->node = session_name(session, read->node);
    struct sublet_lease **end = &session->leases;
    while (*end != NULL)
        end = &(*end)->next;
    *end = lease;
    pthread_mutex_unlock(&session->lock);
    return lease;
}

sublet_status sublet_lease_import(sublet_session *session, const void *bytes, size_t size, sublet_lease **lease_out,
                                  sublet_function_ref **function_out)
{
    struct lease_export read;
    uint64_t begin_ns = now_ns();
    if (session == NULL || bytes == NULL || lease_out == NULL || function_out == NULL)
        return error_set(SUBLET_ERR_INVALID, "session, bytes, lease_out and function_out must not be NULL");
    sublet_status status = export_read(bytes, size, &read);
    if (status != SUBLET_OK)
        return error_set(status, "these bytes are no exported lease that this version knows");
    pthread_mutex_lock(&session->lock);
    struct sublet_lease *lease = find_import(session, &read);
    if (lease != NULL) {
        *lease_out = lease;
        *function_out = lease->function;
    }
    pthread_mutex_unlock(&session->lock);
    if (lease != NULL) {
        explicit_bzero(read.token, sizeof(read.token));
        return SUBLET_OK;
    }
    lease = make_lease(session, &read);
    if (lease == NULL)
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    Sublet__V1__Endpoint endpoint = SUBLET__V1__ENDPOINT__INIT;
    endpoint.tcp_address = read.address;
    endpoint.token = (ProtobufCBinaryData){.len = sizeof(read.token), .data = read.token};
    struct link *link = NULL;
    sublet_function_ref *function = NULL;
    status = link_open(lease, &endpoint, 0, begin_ns + session->timeout_ns, &link);
    explicit_bzero(read.token, sizeof(read.token));
    if (status == SUBLET_OK) {
        pthread_mutex_lock(&session->lock);
        lease->link = link;
        lease->request_ns = now_ns() - begin_ns;
        pthread_mutex_unlock(&session->lock);
        status = function_import(session, lease, read.name, &function);
    }
    if (status != SUBLET_OK) {
        sublet_lease_release(lease);
        return status;
    }
    pthread_mutex_lock(&session->lock);
    link->functions[function->number] = (struct link_entry){.state = LINK_RESOLVED, .id = read.function};
    pthread_mutex_unlock(&session->lock);
    *lease_out = lease;
    *function_out = function;
    return SUBLET_OK;
}
