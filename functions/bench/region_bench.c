/**
 * Puts and gets of a region against memcpy and against a raw socket stream, taken in turns in the same run.
 *
 *   sublet-region-bench serve IPV4:PORT            the raw stream's other end; ends after 60 s without a client
 *   sublet-region-bench NODE IPV4:PORT [ROUNDS]    prints one line of JSON per size
 *
 * The raw stream does what a get does on the wire: 24 bytes of request, then the bytes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sublet/sublet.h"

#define LARGEST     (10u << 20)
#define SAMPLES_MAX 2000

struct ask {
    uint64_t bytes;
    uint64_t put; /* 1: bytes follow the request, one byte answers */
    uint64_t unused;
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int all(int fd, void *bytes, size_t size, int sending)
{
    for (size_t done = 0; done < size;) {
        ssize_t moved = sending ? send(fd, (char *)bytes + done, size - done, MSG_NOSIGNAL)
                                : recv(fd, (char *)bytes + done, size - done, MSG_WAITALL);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved <= 0)
            return -1;
        done += (size_t)moved;
    }
    return 0;
}

static int address_of(const char *text, struct sockaddr_in *address)
{
    char host[64];
    unsigned port;
    memset(address, 0, sizeof(*address));
    address->sin_family = AF_INET;
    if (sscanf(text, "%63[0-9.]:%u", host, &port) != 2 || port > 65535 ||
        inet_pton(AF_INET, host, &address->sin_addr) != 1)
        return -1;
    address->sin_port = htons((uint16_t)port);
    return 0;
}

static int serve(const struct sockaddr_in *address, char *buffer)
{
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval patience = {.tv_sec = 60};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (bind(listener, (const void *)address, sizeof(*address)) != 0 || listen(listener, 4) != 0) {
        fprintf(stderr, "cannot listen: %s\n", strerror(errno));
        return 1;
    }
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; close(fd)) {
        struct ask ask;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        while (all(fd, &ask, sizeof(ask), 0) == 0 && ask.bytes <= LARGEST)
            if (ask.put != 0 ? all(fd, buffer, ask.bytes, 0) != 0 || all(fd, buffer, 1, 1) != 0
                             : all(fd, buffer, ask.bytes, 1) != 0)
                break;
    }
    close(listener);
    return 0;
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double *times, int count)
{
    qsort(times, (size_t)count, sizeof(*times), by_value);
    return times[count / 2] * 1e6;
}

static int raw(int fd, char *buffer, uint64_t bytes, int put)
{
    struct ask ask = {.bytes = bytes, .put = (uint64_t)put};
    if (all(fd, &ask, sizeof(ask), 1) != 0)
        return -1;
    return put ? (all(fd, buffer, bytes, 1) != 0 || all(fd, buffer + bytes, 1, 0) != 0 ? -1 : 0)
               : all(fd, buffer, bytes, 0);
}

/** One size: each way of moving it in turns. Times in seconds. */
static int measure(sublet_region *region, int fd, char *buffer, char *other, uint64_t bytes, int count)
{
    static double times[5][SAMPLES_MAX];
    for (int i = 0; i < count; i++) {
        uint64_t offset = (uint64_t)i * bytes % (256u << 20);
        double start = seconds();
        memcpy(other, buffer, bytes);
        times[0][i] = seconds() - start;
        start = seconds();
        if (sublet_region_put(region, offset, buffer, bytes) != SUBLET_OK)
            return -1;
        times[1][i] = seconds() - start;
        start = seconds();
        if (sublet_region_get(region, offset, other, bytes) != SUBLET_OK)
            return -1;
        times[2][i] = seconds() - start;
        start = seconds();
        if (fd >= 0 && raw(fd, buffer, bytes, 1) != 0)
            return -1;
        times[3][i] = seconds() - start;
        start = seconds();
        if (fd >= 0 && raw(fd, buffer, bytes, 0) != 0)
            return -1;
        times[4][i] = seconds() - start;
    }
    printf("{\"bytes\":%llu,\"count\":%d,\"memcpy_us\":%.2f,\"put_us\":%.2f,\"get_us\":%.2f", (unsigned long long)bytes,
           count, median(times[0], count), median(times[1], count), median(times[2], count));
    if (fd >= 0)
        printf(",\"raw_put_us\":%.2f,\"raw_get_us\":%.2f", median(times[3], count), median(times[4], count));
    printf("}\n");
    fflush(stdout);
    return 0;
}

static int failed(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, sublet_last_error());
    return 1;
}

int main(int argc, char **argv)
{
    static const struct {
        uint64_t bytes;
        int count;
    } sizes[] = {{4096, 1000}, {65536, 500}, {1u << 20, 100}, {LARGEST, 30}};
    struct sockaddr_in address;
    char *buffer = calloc(1, LARGEST + 1), *other = calloc(1, LARGEST);
    if (argc < 3 || address_of(argv[2], &address) != 0 || buffer == NULL || other == NULL) {
        fprintf(stderr, "usage: %s serve IPV4:PORT | NODE IPV4:PORT (0.0.0.0:0 = no raw stream)\n", argv[0]);
        return 2;
    }
    memset(buffer, 1, LARGEST);
    memset(other, 1, LARGEST);
    if (strcmp(argv[1], "serve") == 0)
        return serve(&address, buffer);
    sublet_session *session;
    sublet_region *region;
    sublet_region_options options = SUBLET_REGION_OPTIONS_INIT;
    options.node = argv[1];
    if (sublet_open(NULL, &session) != SUBLET_OK)
        return failed("sublet_open");
    if (sublet_region_alloc(session, 512u << 20, &options, &region) != SUBLET_OK)
        return failed("sublet_region_alloc");
    int fd = -1, one = 1, bad = 0;
    if (address.sin_port != 0) {
        fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (connect(fd, (const void *)&address, sizeof(address)) != 0) {
            fprintf(stderr, "no raw stream at %s: %s\n", argv[2], strerror(errno));
            return 1;
        }
    }
    /* Every page is touched once, so that no size pays for first touches. */
    for (uint64_t offset = 0; offset < 512u << 20 && bad == 0; offset += LARGEST / 10)
        bad =
            sublet_region_put(region, offset, buffer,
                              LARGEST / 10 < (512u << 20) - offset ? LARGEST / 10 : (512u << 20) - offset) != SUBLET_OK;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && bad == 0; i++)
        bad = measure(region, fd, buffer, other, sizes[i].bytes, sizes[i].count);
    if (bad != 0)
        failed("measuring");
    sublet_region_free(region);
    sublet_close(session);
    return bad != 0;
}
