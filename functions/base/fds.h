/** Small helpers for descriptors and time, shared by both ends of the data path. */
#ifndef SUBLET_BASE_FDS_H
#define SUBLET_BASE_FDS_H

#include <stddef.h>
#include <stdint.h>

#include "sublet/status.h"

#define FDS_PASS_MAX 128

/** Monotonic time. */
uint64_t now_ns(void);
/** Milliseconds left until `end_ns` (for poll), 0 when it passed; never more than a day. */
int left_ms(uint64_t end_ns);

/** Sends all bytes, with up to FDS_PASS_MAX descriptors attached to the first. */
sublet_status fds_send(int socket, const void *bytes, size_t size, const int *fds, size_t count, uint64_t end_ns);
/**
 * Receives exactly `size` bytes and up to `capacity` descriptors (close-on-exec). Descriptors beyond that are closed
 * and the call fails with INVALID. LOST when the peer closes first.
 */
sublet_status fds_receive(int socket, void *bytes, size_t size, int *fds, size_t capacity, size_t *count_out,
                          uint64_t end_ns);
void fds_close(const int *fds, size_t count);

#endif
