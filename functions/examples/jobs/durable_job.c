/**
 * A job that keeps what it must not lose in memory of other nodes, and knows every put that was acknowledged.
 *
 *   durable-job mirrored|evacuated MIB MOVES [EXCLUDE]
 *
 * Writes cells until the region has moved (a copy was filled elsewhere) MOVES times, or 120 s have passed; then reads
 * all back. Events: place (wherever it is now), end. Exit status 0: nothing was lost.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "examples/jobs/job.h"

#define CELL      4096u
#define WORDS     (CELL / sizeof(uint64_t))
#define SECONDS   120.0
#define PAUSE_NS  200000
#define LOOK_EACH 16u

struct table {
    sublet_region *region;
    uint64_t *acknowledged; /* count of each cell's last put */
    uint32_t cells;
    uint32_t copies;
    uint64_t moves;
    char node[64];
    uint64_t puts, wrong;
};

static void content(uint64_t cell[WORDS], uint32_t number, uint64_t count)
{
    for (size_t i = 0; i < WORDS; i++)
        cell[i] = count == 0 ? 0 : (uint64_t)number << 32 ^ count ^ (uint64_t)i << 48;
}

static sublet_status put(struct table *table, uint32_t number)
{
    uint64_t cell[WORDS];
    content(cell, number, table->acknowledged[number] + 1);
    sublet_status status = sublet_region_put(table->region, (uint64_t)number * CELL, cell, CELL);
    if (status == SUBLET_OK) {
        table->acknowledged[number]++;
        table->puts++;
    }
    return status;
}

static sublet_status check(struct table *table, uint32_t number)
{
    uint64_t expected[WORDS], got[WORDS];
    content(expected, number, table->acknowledged[number]);
    sublet_status status = sublet_region_get(table->region, (uint64_t)number * CELL, got, CELL);
    if (status == SUBLET_OK && memcmp(expected, got, CELL) != 0)
        table->wrong++;
    return status;
}

/** Says where it is whenever that has changed. */
static sublet_status look(struct table *table)
{
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    sublet_status status = sublet_region_info_get(table->region, &info);
    if (status != SUBLET_OK ||
        (strcmp(info.node, table->node) == 0 && info.copies == table->copies && info.moves == table->moves))
        return status;
    memcpy(table->node, info.node, sizeof(table->node));
    table->copies = info.copies;
    table->moves = info.moves;
    event("place", ",\"node\":\"%s\",\"copies\":%u,\"moves\":%llu,\"puts\":%llu", info.node, info.copies,
          (unsigned long long)info.moves, (unsigned long long)table->puts);
    return status;
}

static sublet_status work(struct table *table, uint64_t moves, uint32_t copies)
{
    sublet_status status = SUBLET_OK;
    double end = seconds() + SECONDS;
    for (uint32_t round = 0; status == SUBLET_OK && seconds() < end; round++) {
        if (round % LOOK_EACH == 0 && (status = look(table)) != SUBLET_OK)
            break;
        if (table->moves >= moves && table->copies == copies)
            break;
        uint32_t number = (uint32_t)(round * UINT64_C(2654435761) % table->cells);
        status = put(table, number);
        if (status == SUBLET_OK)
            status = check(table, (uint32_t)((round * UINT64_C(40503) + 7) % table->cells));
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL); /* it shares its node */
    }
    for (uint32_t i = 0; i < table->cells && status == SUBLET_OK; i++)
        status = check(table, i);
    return status;
}

int main(int argc, char **argv)
{
    sublet_session *session = NULL;
    sublet_region_options options = SUBLET_REGION_OPTIONS_INIT;
    struct table table = {0};
    int mib = argc >= 4 ? atoi(argv[2]) : 0, moves = argc >= 4 ? atoi(argv[3]) : 0;
    if (mib < 1 || mib > 65536 || moves < 0) {
        fprintf(stderr, "usage: %s mirrored|evacuated MIB MOVES [EXCLUDE]\n", argv[0]);
        return 2;
    }
    options.durability = strcmp(argv[1], "mirrored") == 0 ? SUBLET_MIRRORED : SUBLET_EVACUATED;
    options.exclude_nodes = argc > 4 ? argv[4] : NULL;
    uint64_t bytes = (uint64_t)mib << 20;
    table.cells = (uint32_t)(bytes / CELL);
    table.acknowledged = calloc(table.cells, sizeof(*table.acknowledged));
    sublet_status status = table.acknowledged == NULL ? SUBLET_ERR_NO_MEMORY : sublet_open(NULL, &session);
    if (status == SUBLET_OK && (status = sublet_region_alloc(session, bytes, &options, &table.region)) != SUBLET_OK)
        failed("region", status);
    if (status == SUBLET_OK) {
        status = work(&table, (uint64_t)moves, options.durability == SUBLET_MIRRORED ? 2 : 1);
        if (status != SUBLET_OK)
            failed("access", status);
        event("end", ",\"puts\":%llu,\"wrong\":%llu,\"moves\":%llu", (unsigned long long)table.puts,
              (unsigned long long)table.wrong, (unsigned long long)table.moves);
    }
    sublet_close(session);
    free(table.acknowledged);
    return status == SUBLET_OK && table.wrong == 0 ? 0 : 1;
}
