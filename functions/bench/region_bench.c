/**
 * sublet-region-bench MIB: accesses to a region of MIB, wherever the agent gives it, told what to measure as measure.h
 * says. Prints nothing else, but `info` on stderr at its end.
 *
 *   get, put     BYTES at changing offsets
 *   add, swap    an atomic
 *   column       BYTES as blocks of 8, a page apart: one strided get
 *   list         BYTES as pieces of 64, scattered: one gathered get
 *   singles      the same pieces, each with a get of its own
 *   many         DEPTH gets of BYTES, begun together, then a flush
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/measure.h"
#include "sublet/sublet.h"

#define BYTES_MAX  (16u << 20)
#define PIECE      64u
#define PIECES_MAX 4096u
#define PAGE       4096u

struct client {
    sublet_region *region;
    uint64_t bytes;
    char *memory;
    sublet_region_piece pieces[PIECES_MAX];
};

static const char *told(sublet_status status)
{
    return status == SUBLET_OK ? NULL : sublet_last_error();
}

static uint64_t place(const struct client *client, uint64_t bytes, uint32_t index)
{
    uint64_t room = client->bytes - bytes;
    return room == 0 ? 0 : (uint64_t)index * 1048583 * PAGE % room / PAGE * PAGE;
}

static const char *get(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    if (measure->bytes > BYTES_MAX || measure->bytes > client->bytes)
        return "BYTES out of range";
    return told(
        sublet_region_get(client->region, place(client, measure->bytes, index), client->memory, measure->bytes));
}

static const char *put(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    if (measure->bytes > BYTES_MAX || measure->bytes > client->bytes)
        return "BYTES out of range";
    return told(
        sublet_region_put(client->region, place(client, measure->bytes, index), client->memory, measure->bytes));
}

static const char *add(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    uint64_t before;
    (void)measure;
    (void)index;
    return told(sublet_region_fetch_add(client->region, 0, 1, &before));
}

static const char *swap(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    uint64_t before;
    (void)measure;
    return told(sublet_region_compare_swap(client->region, 8, index, index + 1, &before));
}

static const char *column(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    size_t count = (size_t)(measure->bytes / 8);
    if (count == 0 || count * PAGE > client->bytes)
        return "BYTES out of range";
    return told(sublet_region_get_strided(client->region, index % 512 * 8, count, 8, PAGE, client->memory));
}

static size_t scatter(struct client *client, const struct measure *measure, uint32_t index)
{
    size_t count = (size_t)(measure->bytes / PIECE);
    if (count == 0 || count > PIECES_MAX)
        return 0;
    for (size_t i = 0; i < count; i++)
        client->pieces[i] = (sublet_region_piece){.offset = place(client, PIECE, index + (uint32_t)i * 7),
                                                  .bytes = client->memory + i * PIECE,
                                                  .size = PIECE};
    return count;
}

static const char *list(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    size_t count = scatter(client, measure, index);
    return count == 0 ? "BYTES out of range" : told(sublet_region_get_list(client->region, client->pieces, count));
}

static const char *singles(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    size_t count = scatter(client, measure, index);
    sublet_status status = count == 0 ? SUBLET_ERR_INVALID : SUBLET_OK;
    for (size_t i = 0; i < count && status == SUBLET_OK; i++)
        status = sublet_region_get(client->region, client->pieces[i].offset, client->pieces[i].bytes, PIECE);
    return told(status);
}

static const char *many(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    sublet_status status = SUBLET_OK;
    if (measure->bytes * measure->depth > BYTES_MAX)
        return "BYTES out of range";
    for (uint32_t i = 0; i < measure->depth && status == SUBLET_OK; i++)
        status = sublet_region_get_async(client->region, place(client, measure->bytes, index + i),
                                         client->memory + i * measure->bytes, measure->bytes);
    return told(status == SUBLET_OK ? sublet_region_flush(client->region) : status);
}

int main(int argc, char **argv)
{
    static const struct measure_kind kinds[] = {
        {"get", NULL, get, 0},         {"put", NULL, put, 0},       {"add", NULL, add, 0},
        {"swap", NULL, swap, 0},       {"column", NULL, column, 0}, {"list", NULL, list, 0},
        {"singles", NULL, singles, 0}, {"many", NULL, many, 1},     {NULL, NULL, NULL, 0}};
    static struct client client;
    sublet_session *session;
    client.memory = malloc(BYTES_MAX);
    client.bytes = argc == 2 ? strtoull(argv[1], NULL, 10) << 20 : 0;
    if (client.memory == NULL || client.bytes == 0) {
        fprintf(stderr, "usage: %s MIB\n", argv[0]);
        return 2;
    }
    memset(client.memory, 1, BYTES_MAX);
    measure_pin(0);
    if (sublet_open(NULL, &session) != SUBLET_OK ||
        sublet_region_alloc(session, client.bytes, NULL, &client.region) != SUBLET_OK) {
        fprintf(stderr, "%s: %s\n", argv[0], sublet_last_error());
        return 1;
    }
    int failed = measure_serve(kinds, &client);
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    if (sublet_region_info_get(client.region, &info) == SUBLET_OK)
        fprintf(stderr, "info: same node %u, huge pages %llu MiB\n", info.same_node,
                (unsigned long long)info.huge_bytes >> 20);
    sublet_region_free(client.region);
    sublet_close(session);
    return failed;
}
