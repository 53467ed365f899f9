/**
 * An endpoint of libfabric: one-sided writes that bring 32 bits of data to the other side's queue, and reads and writes
 * that do not. The only code that sees libfabric is ofi*.c.
 *
 * libfabric is loaded when the first endpoint is opened, and never linked: with Debian's 1.17 that takes 0.2 to 0.4 s.
 * Providers are tried in the order cxi, efa, verbs;msg, psm3, opx; net, tcp and tcp;msg work, too, but are only used
 * when they are named, since a plain connection is as fast.
 *
 * Names are libfabric's, except that ";msg" means an endpoint per peer (FI_EP_MSG) instead of one for all. One side
 * connects, the other listens. A side that does neither gets the same provider's ";ofi_rxm".
 * ofi_rxm is only used when it is named, too, since it may crash the process when a peer has died: libfabric (1.14 to
 * 2.5) closes the connection's endpoint and then takes what had still arrived there, which uses the endpoint again.
 *
 * An endpoint does nothing by itself: whoever waits polls it. A peer that dies is not noticed here. Memory can be
 * reached by those who know its key, until it is unregistered or the process ends.
 */
#ifndef SUBLET_FABRIC_OFI_H
#define SUBLET_FABRIC_OFI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sublet/status.h"

#define OFI_PROVIDER_MAX 31u
#define OFI_NAME_MAX     256u
#define OFI_ADDRESS_MAX  46u

struct ofi;

enum ofi_connects { OFI_CONNECTS_NOT, OFI_CONNECTS, OFI_LISTENS };

struct ofi_settings {
    const char *provider;       /* NULL: the first that works */
    const char *address;        /* numeric, of the interface to prefer; NULL: any */
    uint32_t completions;       /* the most writes with data that peers may have on their way to here */
    bool shared;                /* used by several threads at once */
    enum ofi_connects connects; /* what this side does if it has an endpoint per peer */
    bool plain;     /* writes bring no data here or there: a message follows each, as its peer must have it, too */
    bool transfers; /* ofi_fd and ofi_may_sleep are about transfers that end, not about what arrives */
};

/** Registered memory. */
struct ofi_memory {
    void *region; /* NULL: none */
    void *descriptor;
    unsigned char *base;
    size_t bytes;
    uint64_t address; /* what a peer calls its first byte */
    uint64_t key;
};

/** A peer's memory. */
struct ofi_target {
    uint64_t peer;
    uint64_t address;
    uint64_t key;
};

/**
 * Is the provider to be tried? "none" is not; "" is when there is any sign of a device that a provider of the list
 * drives. Costs some microseconds.
 */
bool ofi_wanted(const char *provider);
/** What SUBLET_FABRIC_PROVIDER says; NULL when it says nothing. */
const char *ofi_wanted_provider(void);
/** May who may use `only` ("" = any) use that provider? What drives the same devices counts as the same. */
bool ofi_allows(const char *only, const char *provider);
/** Does SUBLET_FABRIC_DATA say `off`: a message behind each write, whatever the provider says that it can do? */
bool ofi_wanted_plain(void);
/** Does SUBLET_FABRIC_LEND say `off`: callers' memory is never registered, but copied? */
bool ofi_wanted_copies(void);

/** The numeric address of a connected socket's own end, for ofi_settings: the interface that leads to that peer. */
const char *ofi_own_address(int fd, char *text, uint32_t size);
/**
 * For a process whose memory keys must die when they are told to: libfabric keeps registrations for later otherwise,
 * and peers could go on. Before the first ofi_open; for the whole process, so nothing for one that is not ours.
 */
void ofi_keep_nothing(void);
/** NOT_FOUND: no libfabric, or no such provider that works. Close with ofi_close. */
sublet_status ofi_open(const struct ofi_settings *settings, struct ofi **out);
/** Memory must be gone. Peers that are left go, and whatever is under way: nobody hears of it any more. */
void ofi_close(struct ofi *ofi);
const char *ofi_provider(const struct ofi *ofi);
/** Are data sent in messages behind the writes? By ofi_settings.plain, or since this provider cannot do otherwise. */
bool ofi_is_plain(const struct ofi *ofi);
/** Is there an endpoint per peer? */
bool ofi_is_connected(const struct ofi *ofi);
/** The one with an endpoint per peer; where there is none, the same. Static, or what was given. */
const char *ofi_provider_with_connections(const char *provider);
/** What a peer needs to reach this endpoint, or to be told apart by who listens. */
sublet_status ofi_name(const struct ofi *ofi, void *bytes, uint32_t capacity, uint32_t *size_out);

/**
 * `depth`: the most writes with data that either side has under way to the other, and transfers that this side has.
 * Who connects does so now, which may take a while when nobody answers; until the connection is there writes are BUSY.
 */
sublet_status ofi_peer_add(struct ofi *ofi, const void *name, uint32_t size, uint32_t depth, uint64_t *peer_out);
void ofi_peer_remove(struct ofi *ofi, uint64_t peer);
/** Is the way to it known to be broken? False says nothing. */
bool ofi_peer_is_lost(struct ofi *ofi, uint64_t peer);

/** Lets peers write there, and read if `readable`; also needed for what is sent from. */
sublet_status ofi_register(struct ofi *ofi, void *base, size_t bytes, bool readable, struct ofi_memory *out);
/** Must memory be registered to be used from here? Where not, ofi_borrow costs nothing. */
bool ofi_needs_memory(const struct ofi *ofi);
/** For transfers from and to here only: no peer gets in. SYSTEM or NO_MEMORY: copy instead. */
sublet_status ofi_borrow(struct ofi *ofi, void *base, size_t bytes, struct ofi_memory *out);
/** From now on the key opens nothing. */
void ofi_unregister(struct ofi_memory *memory);

/**
 * Writes `size` bytes that lie in `from` to the target plus `offset`; the other side's ofi_poll then brings `data`. The
 * bytes must stay as they are until the peer has answered. BUSY: poll and try again. LOST: the way there is broken.
 */
sublet_status ofi_write_data(struct ofi *ofi, const struct ofi_memory *from, const void *bytes, size_t size,
                             const struct ofi_target *to, uint64_t offset, uint32_t data);
/**
 * Start a transfer that the other side does not notice. *done becomes 1 when it is over, 2 when it failed: by ofi_poll.
 */
sublet_status ofi_get(struct ofi *ofi, const struct ofi_memory *into, void *bytes, size_t size,
                      const struct ofi_target *from, uint64_t offset, _Atomic int *done);
sublet_status ofi_put(struct ofi *ofi, const struct ofi_memory *from, const void *bytes, size_t size,
                      const struct ofi_target *to, uint64_t offset, _Atomic int *done);
/** The most that one of these may transfer. */
size_t ofi_transfer_max(const struct ofi *ofi);

/** Makes progress, for a side to which nothing is written with data. */
void ofi_progress(struct ofi *ofi);
/** Makes progress and takes up to `most` of what has arrived; returns how many. */
uint32_t ofi_poll(struct ofi *ofi, uint32_t *data, uint32_t most);
/** Readable when there may be something to poll; -1: this provider has none. */
int ofi_fd(const struct ofi *ofi);
/** True: the descriptor will wake who sleeps on it now. False: poll first. */
bool ofi_may_sleep(struct ofi *ofi);

#endif
