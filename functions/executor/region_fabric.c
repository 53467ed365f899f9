/*
 * Clients are greeted one by one: an offer comes, the region's address and key go back. Afterwards a connection is
 * silent; its end is its client's. A client whose transfers fail says so: then the key dies for all (wire/ofi.h), since
 * nobody else can tell when what is still on its way will have arrived.
 */
#include "executor/region_fabric.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fds.h"
#include "executor/workers.h"
#include "fabric/ofi.h"
#include "wire/ofi.h"

#define GREET_NS   UINT64_C(5000000000)
#define LOOK_MS    1000 /* asleep, it makes progress this often even if nothing wakes it */
#define BLIND_MS   5    /* the same, of a provider that wakes nobody */
#define TURN_POLLS 64u
#define DEPTH      1u /* guests write without data */

struct guest {
    int fd; /* -1: free */
    bool met;
    uint64_t peer; /* where each has an endpoint of its own */
    uint32_t have; /* bytes of the offer */
    uint64_t deadline_ns;
    struct ofi_offer offer;
};

struct service {
    const struct region *region;
    const char *only;
    int socket;
    struct ofi *ofi;
    struct ofi_memory memory;
    uint32_t met;
    struct guest guests[REGION_FABRIC_GUESTS_MAX];
};

static void forget(struct service *service, struct guest *guest)
{
    if (guest->met) {
        service->met--;
        if (ofi_is_connected(service->ofi))
            ofi_peer_remove(service->ofi, guest->peer);
    }
    close(guest->fd);
    guest->fd = -1;
    guest->met = false;
}

static void close_endpoint(struct service *service)
{
    ofi_unregister(&service->memory);
    ofi_close(service->ofi);
    service->ofi = NULL;
}

/** The endpoint, and the region as its memory. One that nobody uses gives way to another. */
static sublet_status open_endpoint(struct service *service, const char *provider, int fd)
{
    char address[OFI_ADDRESS_MAX];
    const struct region *region = service->region;
    struct ofi_settings settings = {
        .provider = provider, .address = ofi_own_address(fd, address, sizeof(address)), .connects = OFI_LISTENS};
    if (service->ofi != NULL && strcmp(ofi_provider(service->ofi), provider) == 0)
        return SUBLET_OK;
    if (service->met > 0 || !ofi_allows(service->only, provider))
        return SUBLET_ERR_NOT_FOUND;
    if (service->ofi != NULL)
        close_endpoint(service);
    ofi_keep_nothing();
    sublet_status status = ofi_open(&settings, &service->ofi);
    if (status != SUBLET_OK) {
        fprintf(stderr, "sublet-executor: a client wants fabric %s, which does not open here\n", provider);
        return status;
    }
    status = ofi_register(service->ofi, region->base, region->bytes, true, &service->memory);
    if (status == SUBLET_OK)
        return SUBLET_OK;
    fprintf(stderr, "sublet-executor: fabric %s does not take the region's memory (memlock?)\n", provider);
    close_endpoint(service);
    return status;
}

/** Where there is one endpoint for all it is no peer of ours: we send it nothing, and have no table of those who do. */
static sublet_status welcome(struct service *service, struct guest *guest)
{
    struct ofi_offer answer = guest->offer;
    uint32_t name_bytes = 0;
    sublet_status status = ofi_region_offer_check(&guest->offer);
    if (status == SUBLET_OK)
        status = open_endpoint(service, guest->offer.provider, guest->fd);
    if (status == SUBLET_OK)
        status = ofi_name(service->ofi, answer.name, sizeof(answer.name), &name_bytes);
    if (status == SUBLET_OK && ofi_is_connected(service->ofi))
        status = ofi_peer_add(service->ofi, guest->offer.name, guest->offer.name_bytes, DEPTH, &guest->peer);
    if (status != SUBLET_OK)
        return status;
    guest->met = true;
    service->met++;
    answer.name_bytes = (uint16_t)name_bytes;
    answer.address = service->memory.address;
    answer.key = service->memory.key;
    return fds_send(guest->fd, &answer, sizeof(answer), NULL, 0, now_ns()); /* fits the buffer: it is the first */
}

/** Something came of it, or its time may be over. False: a transfer of it has failed. */
static bool hear(struct service *service, struct guest *guest)
{
    unsigned char byte;
    bool greeting = !guest->met;
    ssize_t got = greeting ? recv(guest->fd, (char *)&guest->offer + guest->have, sizeof(guest->offer) - guest->have,
                                  MSG_DONTWAIT)
                           : recv(guest->fd, &byte, 1, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        if (greeting && now_ns() > guest->deadline_ns)
            forget(service, guest);
        return true;
    }
    if (got > 0 && !greeting && byte == OFI_REGION_BROKEN)
        return false;
    if (got > 0 && greeting) {
        guest->have += (uint32_t)got;
        if (guest->have < sizeof(guest->offer) || welcome(service, guest) == SUBLET_OK)
            return true;
    }
    forget(service, guest);
    return true;
}

/** False: there will be none any more. */
static bool take_guest(struct service *service)
{
    struct guest *guest = service->guests, *end = guest + REGION_FABRIC_GUESTS_MAX;
    char byte;
    size_t count = 0;
    int fd;
    sublet_status status = fds_receive(service->socket, &byte, 1, &fd, 1, &count, now_ns());
    if (status == SUBLET_ERR_TIMEOUT)
        return true;
    if (status != SUBLET_OK || count != 1)
        return false;
    while (guest < end && guest->fd >= 0)
        guest++;
    if (guest == end) {
        close(fd);
        return true;
    }
    if (service->only[0] != '\0') /* while the client loads its own */
        (void)open_endpoint(service, ofi_provider_with_connections(service->only), fd);
    *guest = (struct guest){.fd = fd, .deadline_ns = now_ns() + GREET_NS};
    return true;
}

/** Moves what software moves; true when there may be more at once. */
static bool progress(struct service *service)
{
    uint32_t data[16];
    if (service->ofi == NULL)
        return false;
    for (uint32_t i = 0; i < TURN_POLLS; i++)
        (void)ofi_poll(service->ofi, data, 16); /* nobody was told of a tag: what arrives with data is nobody's */
    return service->met > 0 && ofi_fd(service->ofi) >= 0 && !ofi_may_sleep(service->ofi);
}

/** False: the end, or a failed transfer. */
static bool turn(struct service *service)
{
    struct pollfd entries[2 + REGION_FABRIC_GUESTS_MAX] = {{.fd = service->socket, .events = POLLIN}};
    struct guest *guests[REGION_FABRIC_GUESTS_MAX];
    nfds_t used = 2;
    bool more = progress(service), good = true, greets = false;
    bool blind = service->met > 0 && ofi_fd(service->ofi) < 0;
    entries[1] = (struct pollfd){.fd = service->met > 0 ? ofi_fd(service->ofi) : -1, .events = POLLIN};
    for (uint32_t i = 0; i < REGION_FABRIC_GUESTS_MAX; i++)
        if (service->guests[i].fd >= 0) {
            greets |= !service->guests[i].met;
            guests[used - 2] = &service->guests[i];
            entries[used++] = (struct pollfd){.fd = service->guests[i].fd, .events = POLLIN};
        }
    int nap = more ? 0 : blind ? BLIND_MS : used > 2 ? LOOK_MS : -1;
    int ready = poll(entries, used, nap);
    if (ready < 0)
        return errno == EINTR;
    for (nfds_t i = 2; i < used && good && (ready > 0 || greets); i++)
        if (entries[i].revents != 0 || !guests[i - 2]->met)
            good = hear(service, guests[i - 2]);
    return good && (entries[0].revents == 0 || take_guest(service));
}

void region_fabric_serve(const struct region *region, const char *only, int socket)
{
    static struct service service;
    service = (struct service){.region = region, .only = only, .socket = socket};
    for (uint32_t i = 0; i < REGION_FABRIC_GUESTS_MAX; i++)
        service.guests[i].fd = -1;
    while (turn(&service)) {
    }
    if (service.ofi != NULL)
        ofi_unregister(&service.memory); /* before any connection closes: its end is the word that the key is dead */
    for (uint32_t i = 0; i < REGION_FABRIC_GUESTS_MAX; i++)
        if (service.guests[i].fd >= 0)
            close(service.guests[i].fd); /* the rest ends with the process, sooner than one by one */
}

sublet_status region_fabric_start(struct region *region, const char *only)
{
    int sockets[2];
    if (!ofi_wanted(only))
        return SUBLET_OK;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) != 0)
        return SUBLET_ERR_SYSTEM;
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        int keep = sockets[1];
        workers_become_child(parent, &keep, 1);
        region_fabric_serve(region, only, sockets[1]);
        _exit(0); /* what libfabric would do at its end is not worth waiting for */
    }
    close(sockets[1]);
    if (pid < 0) {
        close(sockets[0]);
        return SUBLET_ERR_SYSTEM;
    }
    setpgid(pid, pid); /* both sides do: whoever comes first */
    region->fabric = sockets[0];
    return SUBLET_OK;
}

sublet_status region_fabric_pass(const struct region *region, int fd)
{
    if (region->fabric < 0)
        return SUBLET_ERR_NOT_FOUND;
    return fds_send(region->fabric, "c", 1, &fd, 1, now_ns());
}
