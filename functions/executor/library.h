/**
 * Libraries of user code: sealed memfds. dlopen runs constructors, so it happens in workers, and before that once in
 * a process that exists for this purpose (the probe).
 */
#ifndef SUBLET_EXECUTOR_LIBRARY_H
#define SUBLET_EXECUTOR_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

#include "sublet/status.h"

/** Makes a memfd of `size` bytes and maps it for writing. */
sublet_status library_begin(size_t size, int *fd_out, void **bytes_out);
/** The same of a memfd of this size that somebody else has made. */
sublet_status library_reuse(int fd, size_t size, void **bytes_out);
/** Unmaps and seals it; closes it when that fails. */
sublet_status library_seal(int fd, void *bytes, size_t size);
/** The same content? */
int library_equal(int fd, int other_fd);

/** Does the file define this function? Read without running anything of it; false also when that cannot be told. */
bool library_defines(int fd, const char *name);

/**
 * dlopens a library from its descriptor, which must stay open; NULL with the reason in *why_out. Goes by /proc, and
 * by a file in /tmp where /proc is missing.
 */
void *library_open(int fd, const char **why_out);

/** In a process of its own: loads the library, looks for `name` (may be NULL), exits with a sublet_status. */
_Noreturn void library_probe(int fd, const char *name);

#endif
