#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "examples/jobs/job.h"

#define PIECE (1u << 20)

/** The table's content is a function of the position (splitmix64), so that a check needs no second copy. */
static uint64_t word_at(uint64_t index)
{
    uint64_t z = index * UINT64_C(0x9e3779b97f4a7c15) + UINT64_C(0x632be59bd9b4e019);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void fill(uint64_t *words, uint64_t first, size_t count)
{
    for (size_t i = 0; i < count; i++)
        words[i] = word_at(first + i);
}

static bool matches(const uint64_t *words, uint64_t first, size_t count)
{
    uint64_t different = 0;
    for (size_t i = 0; i < count; i++)
        different |= words[i] ^ word_at(first + i);
    return different == 0;
}

/** A random order of all pieces (Fisher-Yates, fixed seed). */
static void shuffle(uint32_t *order, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = (uint32_t)(word_at(i) % i);
        uint32_t kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
}

sublet_status table_check(sublet_session *session, uint64_t bytes, const char *exclude_nodes)
{
    sublet_region_options options = SUBLET_REGION_OPTIONS_INIT;
    options.exclude_nodes = exclude_nodes;
    uint32_t pieces = (uint32_t)(bytes / PIECE);
    sublet_region *region = NULL;
    uint64_t *piece = malloc(PIECE);
    uint32_t *order = calloc(pieces > 0 ? pieces : 1, sizeof(*order));
    sublet_status status = SUBLET_ERR_NO_MEMORY;
    if (piece == NULL || order == NULL)
        goto done;
    double start = seconds();
    status = sublet_region_alloc(session, bytes, &options, &region);
    if (status != SUBLET_OK)
        goto done;
    double ready = seconds();
    double put_s = 0, get_s = 0;
    uint64_t wrong = 0;
    for (uint32_t i = 0; i < pieces && status == SUBLET_OK; i++) {
        fill(piece, (uint64_t)i * (PIECE / 8), PIECE / 8);
        double before = seconds();
        status = sublet_region_put(region, (uint64_t)i * PIECE, piece, PIECE);
        put_s += seconds() - before;
    }
    shuffle(order, pieces);
    for (uint32_t i = 0; i < pieces && status == SUBLET_OK; i++) {
        double before = seconds();
        status = sublet_region_get(region, (uint64_t)order[i] * PIECE, piece, PIECE);
        get_s += seconds() - before;
        if (status == SUBLET_OK && !matches(piece, (uint64_t)order[i] * (PIECE / 8), PIECE / 8))
            wrong++;
    }
    if (status == SUBLET_OK) {
        sublet_lease_info info = {.struct_bytes = sizeof(info)};
        sublet_region_info_get(region, &info);
        event("region",
              ",\"node\":\"%s\",\"bytes\":%llu,\"wrong_pieces\":%llu,\"alloc_s\":%.6f,\"put_bytes_per_s\":%.0f,"
              "\"get_bytes_per_s\":%.0f",
              info.node, (unsigned long long)bytes, (unsigned long long)wrong, ready - start, (double)bytes / put_s,
              (double)bytes / get_s);
        if (wrong > 0)
            status = SUBLET_ERR_INVALID;
    }
done:
    sublet_region_free(region);
    free(order);
    free(piece);
    return status;
}
