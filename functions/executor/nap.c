#include "executor/nap.h"

#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fds.h"

#define WORD_32_SHARED 2u  /* FUTEX2_SIZE_U32, between processes */
#define NUMBER_WAITV   449 /* the same on every architecture */

void nap_start(struct nap *nap, struct worker_start *start)
{
    nap->start = start;
    nap->no_futex = false;
}

void nap_begin(struct nap *nap, const uint32_t *rings, uint32_t ring_count)
{
    nap->rings = rings;
    nap->ring_count = ring_count;
    nap->stream_count = 0;
    nap->end_ms = -1;
    nap->timed_out = false;
}

void nap_add_stream(struct nap *nap, int fd)
{
    nap->entries[2 + nap->stream_count++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

void nap_end_after(struct nap *nap, int ms)
{
    nap->end_ms = ms;
}

/** Says on every ring how to wake this; true when a call is there already. */
static bool announce(struct nap *nap, enum ring_sleep how)
{
    bool pending = false;
    for (uint32_t i = 0; i < nap->ring_count; i++)
        pending |= ring_announce_sleep(&nap->start->rings[nap->rings[i]], how);
    return pending;
}

static struct nap_word word_of(const void *address, uint32_t value)
{
    return (struct nap_word){.value = value, .address = (uintptr_t)address, .flags = WORD_32_SHARED};
}

/** Sleeps on words; false when this kernel cannot. */
static bool wait_words(struct nap *nap, uint32_t messages_seen)
{
    nap->words[0] = word_of(&nap->start->page->messages, messages_seen);
    for (uint32_t i = 0; i < nap->ring_count; i++)
        nap->words[1 + i] = word_of(ring_sleep_word(&nap->start->rings[nap->rings[i]]), RING_SLEEP_FUTEX);
    /* The supervisor's end kills this process: nothing else has to wake it. */
    if (syscall(NUMBER_WAITV, nap->words, 1 + nap->ring_count, 0, NULL, 0) >= 0)
        return true;
    return errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT;
}

static void wait_descriptors(struct nap *nap)
{
    uint64_t ignored;
    struct worker_start *start = nap->start;
    nap->entries[0] = (struct pollfd){.fd = start->wake_fd, .events = POLLIN};
    nap->entries[1] = (struct pollfd){.fd = start->socket, .events = POLLIN};
    nap->timed_out = poll(nap->entries, 2 + nap->stream_count, nap->end_ms) == 0;
    if ((nap->entries[0].revents & POLLIN) != 0 && read(start->wake_fd, &ignored, sizeof(ignored)) < 0 &&
        errno != EAGAIN)
        fprintf(stderr, "sublet-executor: cannot read a worker's eventfd: %m\n");
}

bool nap_take(struct nap *nap, uint32_t messages_seen)
{
    bool slept = false;
    if (nap->stream_count == 0 && !nap->no_futex && !announce(nap, RING_SLEEP_FUTEX)) {
        slept = wait_words(nap, messages_seen);
        nap->no_futex = !slept;
    }
    if ((nap->stream_count > 0 || nap->no_futex) && !announce(nap, RING_SLEEP_FD)) {
        wait_descriptors(nap);
        slept = true;
    }
    for (uint32_t i = 0; i < nap->ring_count; i++)
        ring_announce_awake(&nap->start->rings[nap->rings[i]]);
    return slept;
}

uint64_t nap_end(const struct nap *nap, uint64_t since_ns)
{
    uint64_t now = now_ns(), woken_ns = 0;
    for (uint32_t i = 0; i < nap->ring_count; i++) {
        const struct ring *ring = &nap->start->rings[nap->rings[i]];
        if (ring_pending(ring) == 0)
            continue;
        uint64_t said_ns = ring_wake_ns(ring);
        woken_ns = said_ns >= since_ns && said_ns <= now ? said_ns : now;
    }
    for (uint32_t i = 0; i < nap->stream_count && woken_ns == 0; i++)
        woken_ns = nap_stream_woke(nap, i) ? now : 0;
    return woken_ns;
}

bool nap_stream_woke(const struct nap *nap, uint32_t number)
{
    return nap->entries[2 + number].revents != 0;
}
