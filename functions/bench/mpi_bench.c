/**
 * Two ranks of an MPI program that answer each other, rank 0 on core 0 and rank 1 on core 1: what MPI gives here.
 *
 * Rank 0 is told what to measure as measure.h says: pingpong. Between orders rank 1 looks once a millisecond, so
 * that it takes no core from what is measured meanwhile. Built by test/bench/setup.sh, with mpicc.
 */
#include <mpi.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/measure.h"

#define BYTES_MAX (16u << 20)
#define ORDER     1
#define DATA      2

struct order {
    uint64_t bytes;
    uint32_t steps; /* 0 = end */
};

static unsigned char *buffer;

static void answer(const struct order *order)
{
    for (uint32_t i = 0; i < order->steps; i++) {
        MPI_Recv(buffer, (int)order->bytes, MPI_BYTE, 0, DATA, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Send(buffer, (int)order->bytes, MPI_BYTE, 0, DATA, MPI_COMM_WORLD);
    }
}

static void serve(void)
{
    struct order order = {.steps = 1};
    while (order.steps != 0) {
        int there = 0;
        MPI_Iprobe(0, ORDER, MPI_COMM_WORLD, &there, MPI_STATUS_IGNORE);
        if (there == 0) {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
            continue;
        }
        MPI_Recv(&order, sizeof(order), MPI_BYTE, 0, ORDER, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        answer(&order);
    }
}

static const char *before(void *context, const struct measure *measure, uint32_t steps)
{
    struct order order = {.bytes = measure->bytes, .steps = steps};
    (void)context;
    if (measure->bytes > BYTES_MAX)
        return "too many bytes";
    MPI_Send(&order, sizeof(order), MPI_BYTE, 1, ORDER, MPI_COMM_WORLD);
    return NULL;
}

static const char *step(void *context, const struct measure *measure, uint32_t index)
{
    (void)context;
    (void)index;
    MPI_Send(buffer, (int)measure->bytes, MPI_BYTE, 1, DATA, MPI_COMM_WORLD);
    MPI_Recv(buffer, (int)measure->bytes, MPI_BYTE, 1, DATA, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return NULL;
}

int main(int argc, char **argv)
{
    static const struct measure_kind kinds[] = {{"pingpong", before, step, 0}, {NULL, NULL, NULL, 0}};
    int rank, result = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    measure_pin(rank);
    buffer = malloc(BYTES_MAX);
    if (buffer == NULL)
        MPI_Abort(MPI_COMM_WORLD, 1);
    memset(buffer, 1, BYTES_MAX);
    if (rank == 0) {
        struct order end = {.steps = 0};
        result = measure_serve(kinds, NULL);
        MPI_Send(&end, sizeof(end), MPI_BYTE, 1, ORDER, MPI_COMM_WORLD);
    } else
        serve();
    free(buffer);
    MPI_Finalize();
    return result;
}
