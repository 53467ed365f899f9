/**
 * The executor of one lease: accepts its clients, keeps its workers alive, answers for those that died.
 *
 * One thread, one epoll loop, nothing in it waits for a peer or a child: every connection is a state machine with
 * bounded buffers (connection.c), libraries are tried in processes of their own (requests.c), dead children are heard
 * of by a signalfd. Whoever does not authenticate within AUTH_NS, or stops in the middle of a frame for STALL_NS, is
 * closed. Survives everything that its clients and its workers do; a restart begins from nothing.
 */
#ifndef SUBLET_EXECUTOR_SUPERVISOR_H
#define SUBLET_EXECUTOR_SUPERVISOR_H

#include "executor/code.h"
#include "executor/options.h"
#include "executor/region.h"
#include "executor/workers.h"

#define CONNECTIONS_MAX     8192u
#define UNAUTHENTICATED_MAX 1024u
#define AUTH_NS             UINT64_C(5000000000)
#define STALL_NS            UINT64_C(30000000000)
#define PROBE_NS            UINT64_C(5000000000)
#define LINGER_NS           UINT64_C(5000000000)
#define SMALL_BODY_MAX      1024u /* of all frames but LOAD */

enum connection_state {
    CONNECTION_FREE,
    CONNECTION_GREETING, /* unix: the header of HELLO; TCP: a stream_hello */
    CONNECTION_HEADER,   /* of the next frame */
    CONNECTION_BODY,
    CONNECTION_WAITING, /* for a probe, the end of a worker, the region: no frame is read meanwhile */
    CONNECTION_CALLS,   /* its worker reads; here it is only watched */
    CONNECTION_LINGER,  /* got its last bytes: what still comes is thrown away until the peer closes */
};

struct connection {
    enum connection_state state;
    int fd;
    bool tcp;
    bool trusted; /* has shown the token */
    uint32_t generation;
    uint64_t deadline_ns;    /* 0 = none */
    uint64_t accepted_ns;    /* tells the oldest of those that have not authenticated */
    uint32_t client;         /* number among the clients, WORKERS_NOBODY = none */
    uint32_t worker, stream; /* CALLS */
    uint16_t version;        /* of control frames, agreed by the first one; 0 before */
    struct control_header header;
    uint32_t have; /* bytes of what is being read */
    unsigned char small[SMALL_BODY_MAX];
    int library_fd; /* LOAD: being filled, then tried; -1 = none */
    unsigned char *library;
    pid_t probe;                /* 0 = none */
    struct control_code wanted; /* LOAD_HASH, LOAD_PATH: what was asked for last */
    uint32_t code_id;           /* the starter was asked for it; 0 = it is not waited for */
    int room_fd;                /* to be filled by a LOAD of what was wanted; -1 = none, or it is library_fd now */
    uint32_t room_id;           /* 0 = no room was given */
    uint32_t wait_for;          /* worker whose end answers a CANCEL; WORKERS_NOBODY = none */
    bool wait_region;
};

/** What is known of a library's content. */
struct code_known {
    uint8_t hash[SHA256_BYTES];
    uint32_t offer; /* under this id; 0 = it was not */
    bool checked;   /* the starter has found the hash to be right */
};

struct supervisor {
    const struct executor_options *options;
    int epoll_fd;
    int signal_fd;
    bool retry;               /* workers_tick has more to do */
    bool says_client;         /* nobody has shown the token yet, and the starter is to hear of who does */
    uint64_t accept_again_ns; /* out of descriptors until then; 0 = accepting */
    bool client_taken[CLIENTS_MAX];
    uint64_t timer_ns;        /* the first deadline of a connection may be then; 0 = there is none */
    uint32_t strangers;       /* connections that are not trusted */
    uint32_t connection_end;  /* those in use lie before it */
    uint32_t connection_free; /* none before it is free */
    struct region region;
    struct workers workers;
    struct code code;
    struct code_known known[LIBRARIES_MAX];
    struct connection connections[CONNECTIONS_MAX];
};

/**
 * Prepares everything and starts workers or region; afterwards clients may connect. *supervisor is all zero before:
 * untouched pages, since zeroing megabytes here would double the time of a start.
 */
sublet_status supervisor_start(struct supervisor *supervisor, const struct executor_options *options);
/** Serves until the process is killed; returns only on an error that leaves nothing to do. */
sublet_status supervisor_run(struct supervisor *supervisor);

/* connection.c */

/** Takes a new connection of a listener. */
void connection_accept(struct supervisor *supervisor, int fd, bool tcp);
/** epoll says that something happened on it. */
void connection_event(struct supervisor *supervisor, struct connection *connection, uint32_t events);
void connection_close(struct supervisor *supervisor, struct connection *connection);
/** Its entry is free; the socket is somebody else's now. */
void connection_forget(struct supervisor *supervisor, struct connection *connection);
/** It has shown the token. */
void connection_trust(struct supervisor *supervisor, struct connection *connection);
/** 0 = none. */
void connection_set_deadline(struct supervisor *supervisor, struct connection *connection, uint64_t deadline_ns);
/** Gives back what was to be filled with a library. */
void connection_drop_room(struct supervisor *supervisor, struct connection *connection);
/** Reads the next frame. */
void connection_resume(struct supervisor *supervisor, struct connection *connection);
/** Reads no frame in this state, only sees when the peer closes; deadline_ns 0 = none. */
void connection_wait(struct supervisor *supervisor, struct connection *connection, enum connection_state state,
                     uint64_t deadline_ns);
/** Its last bytes are on their way. */
void connection_linger(struct supervisor *supervisor, struct connection *connection);
/** Sends an answer of the current frame; closes and returns false when the peer does not take it at once. */
bool connection_answer(struct supervisor *supervisor, struct connection *connection, sublet_status status,
                       const void *body, uint32_t size, const int *fds, size_t count);

/* requests.c */

/** A frame is there, checked and whole: answers it, or waits for what will. */
void request_serve(struct supervisor *supervisor, struct connection *connection);
/** A stream_hello is there. */
void request_stream_hello(struct supervisor *supervisor, struct connection *connection);
/** The probe of a LOAD or RESOLVE has ended. */
void request_probed(struct supervisor *supervisor, struct connection *connection, sublet_status status);

/** Tries a library in a process of its own; the connection waits for its end. `name` NULL: no function of it. */
void request_probe(struct supervisor *supervisor, struct connection *connection, int fd, const char *name);

/* code_requests.c */

/** Or LOAD_PATH. */
void request_load_hash(struct supervisor *supervisor, struct connection *connection);
/** The probe of what the starter has read from a path has ended. */
void request_path_probed(struct supervisor *supervisor, struct connection *connection, sublet_status status);
/** The starter has not answered in time. */
void request_code_late(struct supervisor *supervisor, struct connection *connection);
/** The starter has answered something. */
void request_code_news(struct supervisor *supervisor);
/** A LOAD has brought this library. */
void request_code_loaded(struct supervisor *supervisor, struct connection *connection, uint32_t library);

/** The region's memory is there (or never will be). */
void request_region_ready(struct supervisor *supervisor, struct connection *connection);

#endif
