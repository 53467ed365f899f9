/** Makes libraries and functions known to an executor: once for each link, at the first call that needs them. */
#include <string.h>

#include "base/fds.h"
#include "client/library.h"
#include "client/link.h"
#include "client/session.h"

/** Has the executor load a library: by its content if its node may have or see it, else by sending it. No lock. */
static sublet_status load(struct link *link, struct sublet_library *library, uint32_t *id, uint64_t end_ns)
{
    struct control_code wanted = {.size = library->size};
    sublet_status status = SUBLET_ERR_HASH;
    if (link->asks) {
        library_hash(library, wanted.hash);
        size_t path_bytes = link->asks_path && library->path != NULL ? strlen(library->path) : 0;
        status = link_control(link, path_bytes > 0 ? CONTROL_LOAD_PATH : CONTROL_LOAD_HASH, &wanted, sizeof(wanted),
                              library->path, path_bytes, id, sizeof(*id), end_ns);
    }
    return status == SUBLET_ERR_HASH
               ? link_control(link, CONTROL_LOAD, library->bytes, library->size, NULL, 0, id, sizeof(*id), end_ns)
               : status;
}

void link_resolve(struct link *link, struct sublet_function_ref *function)
{
    struct sublet_session *session = link->session;
    struct link_entry *entry = &link->functions[function->number];
    struct link_entry *library = &link->libraries[function->library->number];
    if (library->state == LINK_RESOLVING) { /* by another thread, for another function */
        session_sleep(session, now_ns() + 1000000);
        return;
    }
    enum link_resolution before = library->state;
    entry->state = LINK_RESOLVING;
    if (before == LINK_UNRESOLVED)
        library->state = LINK_RESOLVING;
    link->refs++;
    pthread_mutex_unlock(&session->lock);
    struct link_entry mine = {.state = before, .id = library->id, .why = library->why};
    uint32_t id = 0;
    uint64_t end_ns = now_ns() + session->timeout_ns;
    sublet_status status = SUBLET_OK;
    if (before == LINK_UNRESOLVED && function->library->bytes == NULL) {
        mine.state = LINK_REFUSED; /* imported: its code is where it came from */
        mine.why = SUBLET_ERR_NOT_FOUND;
    } else if (before == LINK_UNRESOLVED) {
        status = load(link, function->library, &mine.id, end_ns);
        mine.state = status == SUBLET_OK ? LINK_RESOLVED : LINK_REFUSED;
        mine.why = status;
    }
    status = mine.state == LINK_REFUSED ? mine.why
                                        : link_control(link, CONTROL_RESOLVE, &mine.id, sizeof(mine.id), function->name,
                                                       strlen(function->name), &id, sizeof(id), end_ns);
    pthread_mutex_lock(&session->lock);
    if (before == LINK_UNRESOLVED)
        *library = mine;
    entry->id = id;
    entry->why = status;
    entry->state = status == SUBLET_OK ? LINK_RESOLVED : LINK_REFUSED;
    link_unref(link);
    pthread_cond_broadcast(&session->changed);
}
