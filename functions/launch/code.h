/**
 * Code that the node keeps: copies of function libraries in sealed memfds, by owner and SHA-256 of the content, so that
 * the next lease of the same owner need not be sent them again. wire/code.h says how executors ask.
 *
 * Nothing that a guest does can stall the starter or change what is kept. It takes no descriptor from a guest. A guest
 * fills a memfd that the starter made (the pages are the guest's own); a helper, forked for one library, with the
 * guest's uid, the guest's cores, the lowest priority and a deadline, copies that into another memfd, seals the copy,
 * and only then takes the hash of the copy. What is kept is that copy; the starter never maps or reads it.
 *
 * A library may also come from a file that this node shares with others (code_path.c): where a guest names one below a
 * folder that the administrator has listed, a helper opens it with the rights of the lease's owner, never more
 * (code_file.c), and copies, seals and checks it as above. It is the only process that touches such a file system: one
 * that hangs keeps the helper, and nobody else. What has come so is handed to a GET once somebody has loaded it.
 *
 * An owner sees his own code alone: he is compared before the hash is, in every place of the table. He may have half of
 * the bytes and half of the entries. What is in use (open or mapped somewhere) is not thrown out, since that would free
 * nothing, and counts until it is. All of it belongs to the connection that sent the last CODE: with that, or with
 * drop=1, it goes; so it does with this process, since memfds have no name.
 */
#ifndef SUBLET_LAUNCH_CODE_H
#define SUBLET_LAUNCH_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/code.h"
#include "wire/control.h"

enum {
    CODE_ENTRIES_MAX = 256,
    CODE_HELPERS_MAX = 4,
    CODE_READERS_MAX = 2,
    CODE_OFFERS_MAX = 2,
    CODE_PREFIXES_MAX = 16,
};

struct starter;
struct guest;
struct waiter;

/** A memfd that a guest was given to fill. */
struct code_offer {
    int fd; /* -1: none */
    uint32_t id;
    bool ready; /* it says that it is filled: waits for a helper, or has one */
    uint64_t size;
    uint8_t hash[SHA256_BYTES];
};

/** The starter's ends of descriptors 8 and 9 of a guest, with what it may still ask. */
struct code_channel {
    int ask_fd, answer_fd; /* -1: none */
    uint32_t tokens;
    bool paused; /* has none left: not heard until they are filled again */
    uint64_t filled_ns;
    uint32_t next_offer;
    struct code_offer offers[CODE_OFFERS_MAX];
    bool waits; /* for a reader, to be told of `wanted` */
    struct code_ask wanted;
};

enum code_state { CODE_FREE = 0, CODE_FILLING, CODE_KEPT, CODE_DROPPED };

struct code_entry {
    enum code_state state;
    bool filling; /* a helper is at it */
    bool tried;   /* an executor has loaded it */
    int fd;       /* KEPT, DROPPED: for reading; FILLING: the helper's copy */
    uid_t owner;
    uint64_t bytes; /* whole pages */
    uint64_t size;
    uint64_t used; /* rises: the least was not used for longest */
    uint8_t hash[SHA256_BYTES];
};

struct code_helper {
    pid_t pid;      /* 0: none */
    uint64_t guest; /* serial number */
    uint32_t offer; /* id; a reader's: 0 */
    uint32_t entry;
    uint64_t end_ns;
};

/** Eight-byte numbers in this order, in a memfd that the agent reads; the first two are set, the others rise. */
struct code_figures {
    uint64_t bytes, entries, hits, misses, kept, refused, evicted, paths, unread;
};

struct code_cache {
    uint64_t max_bytes, max_entries; /* 0: nothing is kept */
    uint64_t keeper;                 /* connection that says so */
    uint64_t clock;                  /* of `used` */
    uint64_t look_ns;                /* at what was dropped while it was in use; 0: there is none */
    int figures_fd;
    struct code_figures *figures;
    struct code_helper helpers[CODE_HELPERS_MAX];
    struct code_helper readers[CODE_READERS_MAX];
    uint64_t read_again_ns; /* no file is read before: one took too long */
    uint64_t path_keeper;   /* connection that said below which folders */
    size_t prefix_count;
    char prefixes[CODE_PREFIXES_MAX][CONTROL_PATH_MAX + 1];
    struct code_entry entries[CODE_ENTRIES_MAX];
};

/** Once, at the start; false with errno. */
bool code_begin(struct starter *starter);
/** CODE max_bytes= max_entries= [drop=1]: answers with where code_figures can be opened (figures=). */
void code_set(struct starter *starter, struct waiter waiter);
/** PATHS [path=]...: libraries may be read below these folders, and no others. */
void code_paths_set(struct starter *starter, struct waiter waiter);
/** The connection is gone. */
void code_on_client_gone(struct starter *starter, uint64_t client);

void code_channel_none(struct code_channel *channel);
/** Opens a guest's channel; its two ends are for the child. False: there is none, and errno says why. */
bool code_channel_open(struct starter *starter, struct guest *guest, int *ask_out, int *answer_out);
/** The guest is gone, or has not come to be. */
void code_channel_close(struct starter *starter, struct guest *guest);
/** A guest asks. */
void code_on_ask(struct starter *starter, uint64_t serial);
/** A child that was no guest has ended. */
void code_on_exit(struct starter *starter, pid_t pid, int status);
bool code_is_helper(const struct starter *starter, pid_t pid);
void code_on_time(struct starter *starter, uint64_t now);
uint64_t code_next_ns(const struct starter *starter);

/** What a helper is to do. */
struct code_copy {
    int from; /* -1: the file `name` below `prefix`, opened as `owner` */
    const char *prefix, *name;
    uint64_t size;
    uint8_t hash[SHA256_BYTES];
    /* The rest is code_begin_copy()'s. */
    int to;
    uid_t owner;
    uid_t uid;
    gid_t gid;
    pid_t guest; /* whose cores it may use */
    bool pilot;
};

/** Starts the helper (code_copy.c): it copies, seals, takes the hash, and exits with 0 when it is the one that was
 * said. */
pid_t code_copy_start(const struct code_copy *copy);
/**
 * Opens a library (code_file.c) for reading; -1 when this process, whose files are those of `owner`, is not to have it,
 * or its size is another.
 */
int code_file_open(const char *prefix, const char *name, uid_t owner, uint64_t size);
/** Starts it for a guest, once there is room; false: there is none. It may take so long. */
bool code_begin_copy(struct starter *starter, struct code_helper *helper, const struct guest *guest,
                     struct code_copy *copy, uint64_t limit_ns);
/** At once, wherever it may run: what it has open is the guest's memory. */
void code_kill_helper(const struct code_helper *helper);
struct guest *code_find_guest(struct starter *starter, uint64_t serial);
/** It is not here: the client will send it, and it may be kept then. */
void code_miss(struct starter *starter, struct guest *guest, const struct code_ask *ask);

/* code_path.c */

/** Has it read from where it lies, and the guest answered then; false: it cannot be. */
bool code_path_wait(struct starter *starter, struct guest *guest, const struct code_ask *ask, const char *path);
void code_paths_on_exit(struct starter *starter, pid_t pid, bool right);
void code_paths_on_time(struct starter *starter, uint64_t now);
/** Those of one guest (serial number), or all (0). */
void code_paths_end(struct starter *starter, uint64_t guest);
bool code_path_is_reader(const struct starter *starter, pid_t pid);

#endif
