/**
 * The connection to the agent of this node: frames of u32 length + protobuf (proto/sublet/v1/local.proto).
 *
 * Who asks sends his request himself, as far as the socket takes it, and one of those who wait reads the socket beside
 * the session's background thread (two threads less to be woken on the way to a lease); the others sleep until their
 * answer came. Whoever reads takes what is there for everybody. A lease ends with the connection it was asked for on;
 * when the agent went away and came back, renewing it on the new connection binds it to that one.
 *
 * Races: an answer may arrive after its asker gave up: its entry is gone by then and the answer is dropped.
 */
#ifndef SUBLET_CLIENT_AGENT_H
#define SUBLET_CLIENT_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sublet/status.h"
#include "sublet/v1/local.pb-c.h"

#define AGENT_FRAME_MAX  65536u
#define AGENT_OUTPUT_MAX (4u << 20)
#define AGENT_PATH_MAX   108u

struct sublet_session;

enum agent_purpose {
    AGENT_ASKED,    /* somebody sleeps until the answer is there, and owns the request */
    AGENT_RENEWAL,  /* the answer goes to lease_renewed */
    AGENT_FORGOTTEN /* nobody wants the answer */
};

struct agent_request {
    struct agent_request *next;
    enum agent_purpose purpose;
    uint32_t id;
    bool done;
    sublet_status status;
    Sublet__V1__LocalResponse *answer; /* NULL unless the agent answered */
    char lease_id[64];                 /* of a renewal */
};

struct agent {
    int fd;          /* -1: no connection */
    bool watched;    /* the background thread polls this connection */
    bool reader;     /* one of those who wait polls it, too */
    int answered_fd; /* eventfd: wakes that one when another thread took the answer; -1: none yet */
    uint32_t next_id;
    struct agent_request *requests;
    unsigned char *input;
    size_t input_bytes;
    unsigned char *output;
    size_t output_bytes;
    size_t output_capacity;
    uint64_t retry_ns;   /* when to try to connect again */
    uint64_t backoff_ns; /* how long the next failure makes it wait */
    char path[AGENT_PATH_MAX];
};

/** All with the session's lock held. */
sublet_status agent_connect(struct sublet_session *session);
/** Closes the connection; every request that waits ends with LOST. */
void agent_disconnect(struct sublet_session *session);
void agent_destroy(struct sublet_session *session);
/** Sends a request and waits for its answer, which the caller frees with agent_answer_free. Drops the lock to wait. */
sublet_status agent_ask(struct sublet_session *session, Sublet__V1__LocalRequest *message, uint64_t end_ns,
                        Sublet__V1__LocalResponse **answer_out);
void agent_answer_free(Sublet__V1__LocalResponse *answer);
/** Asks for a longer term without waiting; lease_renewed gets the answer. */
sublet_status agent_renew(struct sublet_session *session, const char *lease_id, const char *node);
/** Gives a lease back without waiting. */
sublet_status agent_release(struct sublet_session *session, const char *lease_id, const char *node);
/** Moves bytes after poll said so. */
void agent_ready(struct sublet_session *session, short events);
/** A code of the agent as a status. */
sublet_status agent_status_of(uint32_t code);

#endif
