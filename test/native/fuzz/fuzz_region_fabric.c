/**
 * What a stranger who has the token says to the service of a region over a fabric: offers in any pieces, other bytes,
 * and ends. The fabric is a dummy. Whatever comes, it answers whole offers only, registers the region once, and is
 * there for the next client unless it was told that a transfer has failed.
 */
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/fds.h"
#include "dummy_fabric.h"
#include "executor/region_fabric.h"

static unsigned char memory[4096];
static uint32_t registered;

void workers_become_child(pid_t parent, int *keep, size_t count);
void workers_become_child(pid_t parent, int *keep, size_t count)
{
    (void)parent;
    (void)keep;
    (void)count;
    __builtin_trap();
}

bool ofi_wanted(const char *provider)
{
    (void)provider;
    return true;
}

bool ofi_is_connected(const struct ofi *ofi)
{
    must((const char *)(const void *)ofi == dummy);
    return true;
}

const char *ofi_provider_with_connections(const char *provider)
{
    return provider;
}

sublet_status ofi_register(struct ofi *ofi, void *base, size_t bytes, bool readable, struct ofi_memory *out)
{
    must((char *)(void *)ofi == dummy && base == memory && bytes == sizeof(memory) && readable && registered++ == 0);
    *out = (struct ofi_memory){.region = memory, .base = base, .bytes = bytes, .key = 5};
    return SUBLET_OK;
}

void ofi_unregister(struct ofi_memory *of)
{
    registered -= of->region != NULL;
    of->region = NULL;
}

uint32_t ofi_poll(struct ofi *ofi, uint32_t *data, uint32_t most)
{
    (void)ofi;
    (void)data;
    (void)most;
    return 0;
}

/** A client: its bytes, bent towards an offer that is allowed when the first one says so. What is left of the input. */
static size_t client(const uint8_t *data, size_t size, int to, int *fd_out)
{
    int fds[2];
    struct ofi_offer offer = {.magic = OFI_WIRE_MAGIC, .version = OFI_WIRE_VERSION, .name_bytes = 16};
    uint8_t how = data[0];
    size_t used = size - 1 < (size_t)data[1 % size] * 4 ? size - 1 : (size_t)data[1 % size] * 4;
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    memcpy(offer.provider, (how & 2) != 0 ? "net" : "tcp", 3);
    if ((how & 1) != 0)
        (void)!send(fds[1], &offer, sizeof(offer) - ((how & 4) != 0 ? how % 384 : 0), MSG_NOSIGNAL);
    (void)!send(fds[1], data + 1, used, MSG_NOSIGNAL);
    must(fds_send(to, "c", 1, &fds[0], 1, now_ns() + 1000000000) == SUBLET_OK);
    close(fds[0]);
    if ((how & 8) != 0)
        shutdown(fds[1], SHUT_RDWR);
    *fd_out = fds[1];
    return 1 + used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct region region = {.base = memory, .bytes = sizeof(memory), .fabric = -1};
    struct ofi_offer answer;
    int sockets[2], clients[8];
    size_t count = 0;
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == 0);
    for (size_t at = 0; at < size && count < 8; count++)
        at += client(data + at, size - at, sockets[0], &clients[count]);
    shutdown(sockets[0], SHUT_WR); /* the end, once all are taken */
    region_fabric_serve(&region, (size & 1) != 0 ? "net" : "", sockets[1]);
    must(registered == 0 && peers <= count);
    peers = 0;
    for (size_t i = 0; i < count; i++) {
        ssize_t got = recv(clients[i], &answer, sizeof(answer), MSG_DONTWAIT);
        must(got <= 0 || (got == sizeof(answer) && answer.key == 5 && ofi_region_offer_check(&answer) == SUBLET_OK));
        close(clients[i]);
    }
    fds_close(sockets, 2);
    free(dummy);
    dummy = NULL;
    return 0;
}
