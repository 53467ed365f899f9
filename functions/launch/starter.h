/** The starter's state, shared by its loop (server.c) and its table of guests (guests.c). One thread, no locks. */
#ifndef SUBLET_LAUNCH_STARTER_H
#define SUBLET_LAUNCH_STARTER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "launch/awaited.h"
#include "launch/child.h"
#include "launch/code.h"
#include "launch/kept.h"
#include "launch/message.h"
#include "launch/request.h"
#include "launch/voucher.h"

enum { CLIENTS_MAX = 16, GUESTS_MAX = 256, WAITERS_MAX = 4, VOUCHERS_MAX = 16, AWAITED_MAX = 16, KEPT_MAX = 16 };

struct client {
    int fd; /* -1: free */
    uint64_t serial;
    unsigned char in[FRAME_HEADER + FRAME_MAX + 1];
    size_t in_size;
    char *out;
    size_t out_size, out_sent;
    /** A frame begun or an answer not taken must be done by then; 0 when there is neither. */
    uint64_t in_end_ns, out_end_ns;
    /** What is to be sent may wait until then; 0: it may not. */
    uint64_t later_ns;
};

/** Who waits for an answer: the connection by its serial number, which is never used twice, and the request. */
struct waiter {
    uint64_t client;
    uint64_t id;
};

/**
 * FREE -> STARTING -> READY -> ENDING -> FREE, or STARTING -> ENDING when it did not come up. A guest leaves ENDING
 * only when it is reaped, and with it all processes of its pid namespace.
 *
 * PREPARE starts a guest before there is a lease: FREE -> PREPARING -> PREPARED, with a name in place of the lease.
 * START with pool=NAME hands it out (-> STARTING). Until then it belongs to the connection that asked for it, and ends
 * with it.
 */
enum guest_state {
    GUEST_FREE = 0,
    GUEST_PREPARING,
    GUEST_PREPARED,
    GUEST_STARTING,
    GUEST_READY,
    GUEST_ENDING,
};

struct guest {
    enum guest_state state;
    /** All are told of its end. */
    bool tell_end;
    bool was_ready;
    bool reaped;
    uid_t uid;
    gid_t gid;
    uid_t owner; /* of the lease: whose code it may have */
    struct code_channel code;
    /** PREPARING and PREPARED: whose it is, and where its configuration goes; else 0 and -1. */
    uint64_t keeper;
    int config_fd;
    /** A client of another node is to come (awaited.h): until he has shown the token it is the keeper's, who hears of
     * it then.
     */
    bool awaited, called; /* called: somebody has come, and must show it soon */
    uint64_t job;
    /** PREPARED: the lease that it is granted to ahead; NULL: none. */
    struct voucher *voucher;
    char lease[LEASE_MAX + 1];
    char unix_path[SOCKET_PATH_BYTES];
    char *meta;
    pid_t pid;
    uint64_t serial;
    uint64_t start_ticks;
    /** When a lease that was granted ahead became one; 0: its meta says. */
    uint64_t redeemed_unix_ms;
    uint16_t port;
    int ready_fd;
    /** Where the executor counts (wire/stats_layout.h); the agent opens it by way of /proc. */
    int stats_fd;
    /** STARTING: READY must come by then. ENDING: those who wait are told by then. 0: neither. */
    uint64_t end_ns;
    struct waiter asker;                /* of START; client 0 when answered */
    struct waiter waiters[WAITERS_MAX]; /* of STOP */
    char error[ERROR_BYTES];
};

struct starter {
    char run_dir[SOCKET_PATH_BYTES];
    const char *read_only[READ_ONLY_MAX];
    size_t read_only_count;
    /** Started by an ordinary user, see pilot.h. */
    bool pilot;
    uint64_t ready_timeout_ns, stop_timeout_ns, client_timeout_ns;
    int epoll_fd, listen_fd, signal_fd;
    bool ending;
    uint64_t next_serial;
    struct filter filter, fabric_filter;
    struct client clients[CLIENTS_MAX];
    struct guest guests[GUESTS_MAX];
    /** Those without a guest. */
    struct voucher *vouchers[VOUCHERS_MAX];
    struct awaited *awaited[AWAITED_MAX];
    struct kept *kept[KEPT_MAX];
    struct code_cache code;
    struct text text; /* the frame being written */
    struct message message;
};

/** What an event in the loop is about; the rest of its 64 bits is a serial number. */
enum watch_kind { WATCH_LISTEN = 1, WATCH_SIGNAL, WATCH_CLIENT, WATCH_READY, WATCH_CODE, WATCH_AWAITED };
bool server_watch(struct starter *starter, int fd, uint32_t events, enum watch_kind kind, uint64_t serial);
/** What is watched already, with other events. */
bool server_rewatch(struct starter *starter, int fd, uint32_t events, enum watch_kind kind, uint64_t serial);

/** Serves until SIGTERM or SIGINT; then ends all guests. Returns the exit status. */
int server_run(struct starter *starter);
/** Sends the frame in starter->text to a client, if that is still connected. */
void server_send(struct starter *starter, uint64_t client);
/** The same within 10 ms, and before anything else is sent to it: whoever reads it need not be woken at once. */
void server_send_later(struct starter *starter, uint64_t client);
void server_send_all(struct starter *starter);
void server_answer_error(struct starter *starter, struct waiter waiter, const char *error);
void server_answer_ok(struct starter *starter, struct waiter waiter);

/** Starts the process of a guest and fills in its pid, port and ready_fd. On false, `why` says why and nothing is left.
 */
bool launch_guest(struct starter *starter, const struct start_request *asked, struct guest *guest, bool prepared,
                  char why[ERROR_BYTES]);
/** Binds a prepared guest to a lease: its limits, the name of its socket, its configuration. On false it is to be
 * ended. */
bool launch_bind(const struct start_request *request, struct guest *guest, char why[ERROR_BYTES]);
/** A TCP socket that listens, for a guest to come. -1: `why` says why not. */
int launch_listen(const struct sockaddr_in *wanted, uint16_t *port_out, char why[ERROR_BYTES]);
void launch_remove_socket(const char *path);

void guests_start(struct starter *starter, const struct start_request *request, bool prepare, struct waiter asker);
/** START with pool=. */
void guests_hand_out(struct starter *starter, const struct start_request *request, struct waiter asker);
/** The prepared guest of this name and uid; NULL: there is none. */
struct guest *guests_prepared(struct starter *starter, const char *name, uid_t uid);
/** Starts a guest. NULL: `why` says why there is none. */
struct guest *guests_begin(struct starter *starter, const struct start_request *request, bool prepare,
                           char why[ERROR_BYTES]);
/** Makes a prepared guest that of a lease. On false, `why` says why; it may have ended then. */
bool guests_bind(struct starter *starter, const struct start_request *request, struct guest *guest,
                 char why[ERROR_BYTES]);
/** Tells its keeper of a lease that was handed out without it. Should that be lost now, its guest ends. */
void guests_tell_redeemed(struct starter *starter, struct guest *guest, uint64_t keeper, uint64_t job);
/** A guest that was bound or begun with request.awaited: it is its keeper's until a client has shown the token. */
void guests_expect(struct guest *guest, uint64_t keeper, uint64_t job, bool called);
/** Ends those of a keeper's: the one of this lease, or all (NULL). */
void guests_unexpect(struct starter *starter, uint64_t keeper, const char *lease);
void guests_stop(struct starter *starter, const char *lease, struct waiter waiter);
void guests_list(struct starter *starter, struct waiter waiter);
/** READY, an error, or the end of a guest that is coming up. */
void guests_on_ready(struct starter *starter, uint64_t serial);
void guests_reap(struct starter *starter);
/** A START whose asker is gone is undone: nobody would know of the guest. */
void guests_on_client_gone(struct starter *starter, uint64_t client);
void guests_on_time(struct starter *starter, uint64_t now_ns_value);
/** The earliest moment at which guests_on_time() has something to do; UINT64_MAX when there is none. */
uint64_t guests_next_ns(const struct starter *starter);
void guests_kill_all(struct starter *starter);
size_t guests_live(const struct starter *starter);

uint64_t monotonic_ns(void);

#endif
