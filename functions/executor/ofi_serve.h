/**
 * A worker's side of calls over a fabric (wire/ofi.h): one endpoint for all its clients, opened with the first. It
 * lives in the worker, so that it ends with it: no peer reaches memory of a worker that died. Its successor begins with
 * none, and the clients come again.
 */
#ifndef SUBLET_EXECUTOR_OFI_SERVE_H
#define SUBLET_EXECUTOR_OFI_SERVE_H

#include "executor/functions.h"
#include "executor/worker.h"

struct ofi_server;

/**
 * A connection of the role STREAM_FABRIC has come: its client will say what it wants. `only` names the provider that
 * may be used, or "none"; "" is any.
 */
void ofi_serve_add(struct ofi_server **server, const char *only, struct stream *stream, uint32_t index);
/** Its client is gone: from now on its keys open nothing. */
void ofi_serve_remove(struct ofi_server *server, const struct stream *stream);
/** Greets who has come, and serves a turn of calls; true when there was something. `server` may be NULL. */
bool ofi_serve(struct ofi_server *server, struct worker_page *page, struct functions *functions);
#define OFI_SERVE_FDS_MAX 9u
/** What to sleep on. False: there is something to do first, or this provider wakes nobody. */
bool ofi_serve_sleep(struct ofi_server *server, int fds[OFI_SERVE_FDS_MAX], uint32_t *count_out);

#endif
