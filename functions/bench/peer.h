/** An executor of one's own and a bare client of it, for tests and measurements: the wire, and nothing around it. */
#ifndef SUBLET_BENCH_PEER_H
#define SUBLET_BENCH_PEER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/types.h>

#include "fabric/ring.h"
#include "wire/control.h"
#include "wire/stream.h"

#define PEER_WORKERS_MAX 2
#define PEER_TIMEOUT_NS  UINT64_C(10000000000)

struct executor {
    pid_t pid;
    char path[108]; /* of its unix socket */
    char folder[64];
    uint16_t port;
    uint8_t token[CONTROL_TOKEN_BYTES];
};

struct executor_settings {
    const char *program;
    const char *cores;     /* NULL = a region */
    uint64_t memory_bytes; /* of the region, or of the lease: 0 = no limit */
    uint64_t spin_us;
    uint64_t address_bytes; /* RLIMIT_AS of the executor; 0 = none */
    uid_t owner;
    in_addr_t address; /* where it listens; 0 = 127.0.0.1 */
    int stats_fd;      /* the page of statistics, above 7; 0 = none */
    int *said_fd;      /* NULL, or where its word about its first client can be read; the caller's to close */
    bool bare;         /* as process 1 of a pid namespace, without /proc; needs root */
};

/** Starts an executor and waits for its ready byte. */
sublet_status executor_start(const struct executor_settings *settings, struct executor *out);
/** Kills and reaps it, removes its socket. */
void executor_stop(struct executor *executor);

/** A client on the same node. */
struct peer {
    int fd;
    uint32_t workers;
    uint64_t region_bytes;
    int region_fd;
    int wake_fds[PEER_WORKERS_MAX];
    struct ring rings[PEER_WORKERS_MAX];
};

int peer_connect_unix(const struct executor *executor);
int peer_connect_tcp(const struct executor *executor);
sublet_status peer_open(const struct executor *executor, uint32_t slots, uint32_t in_bytes, uint32_t out_bytes,
                        struct peer *out);
void peer_close(struct peer *peer);

/** Sends a control frame and takes its answer; *size is the room in `answer`, then its size. */
sublet_status peer_request(int fd, enum control_type type, const void *body, uint32_t body_bytes, void *answer,
                           uint32_t *size);
sublet_status peer_load(int fd, const char *path, uint32_t *library_out);
sublet_status peer_resolve(int fd, uint32_t library, const char *name, uint32_t *function_out);

/** One call over a ring, waiting for its answer up to PEER_TIMEOUT_NS; spins first. */
sublet_status peer_call(struct ring *ring, uint32_t function, const void *in, uint32_t in_bytes, void *out,
                        uint32_t out_bytes, uint32_t *size_out);
/** Waits for a slot's answer without giving the slot back. */
sublet_status peer_wait(struct ring *ring, uint32_t slot, uint64_t timeout_ns, uint32_t *size_out);

/** Connects by TCP with a role; the socket, or -1 with the welcome's status in *status_out. */
int peer_stream(const struct executor *executor, enum stream_role role, uint32_t worker, uint32_t connection,
                uint32_t in_bytes, uint32_t out_bytes, sublet_status *status_out);
sublet_status peer_stream_send(int fd, uint32_t sequence, uint32_t function, const void *in, uint64_t in_bytes,
                               uint64_t out_capacity);
/** Takes one answer with up to `capacity` bytes. */
sublet_status peer_stream_receive(int fd, struct stream_response *response, void *out, uint64_t capacity);
/** A put or a get of a region over TCP; the status is the answer's. */
sublet_status peer_access(int fd, enum stream_operation operation, uint64_t offset, void *bytes, uint32_t size);

#endif
