/**
 * Job B of the main job: an MPI program that prices European options by Black-Scholes in batches, here and on what
 * Sublet lends, and keeps a table in lent memory. Each round prices all options again with other volatilities; the
 * checksum covers every bit of every result, so that two runs can be compared.
 *
 *   options-job [--options N] [--batch N] [--rounds N] [--leases N] [--region-mib N] [--exclude NODES]
 *               [--lend-node NODE] [--probe NODE:CORES] --library-dir FOLDER
 */
#include <errno.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/blackscholes.h"
#include "examples/jobs/job.h"

#define LEASES_MAX      16
#define REASON_PATIENCE 2.0 /* seconds: the end of an executor is seen at once, the agent says why a moment later */

struct settings {
    uint64_t options, batch, rounds, leases, region_mib;
    const char *exclude, *lend_node, *probe, *library_dir;
};

static int usage(const char *argument)
{
    fprintf(stderr, "options-job: I do not understand %s\n", argument);
    return 2;
}

static int number(const char *text, uint64_t most, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *end != 0 || end == text || value > most)
        return usage(text);
    *out = value;
    return 0;
}

static int parse(int argc, char **argv, struct settings *settings)
{
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        int bad = 0;
        if (strcmp(argv[i], "--options") == 0)
            bad = number(value, 1u << 28, &settings->options);
        else if (strcmp(argv[i], "--batch") == 0)
            bad = number(value, 1u << 16, &settings->batch);
        else if (strcmp(argv[i], "--rounds") == 0)
            bad = number(value, 1u << 20, &settings->rounds);
        else if (strcmp(argv[i], "--leases") == 0)
            bad = number(value, LEASES_MAX, &settings->leases);
        else if (strcmp(argv[i], "--region-mib") == 0)
            bad = number(value, 1u << 20, &settings->region_mib);
        else if (strcmp(argv[i], "--exclude") == 0)
            settings->exclude = value;
        else if (strcmp(argv[i], "--lend-node") == 0)
            settings->lend_node = value;
        else if (strcmp(argv[i], "--probe") == 0)
            settings->probe = value;
        else if (strcmp(argv[i], "--library-dir") == 0)
            settings->library_dir = value;
        else
            bad = usage(argv[i]);
        if (bad != 0)
            return bad;
    }
    return settings->library_dir == NULL || settings->batch == 0 ? usage("a call without --library-dir or --batch") : 0;
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t size)
{
    const uint64_t *words = bytes;
    for (size_t i = 0; i < size / 8; i++)
        hash = (hash ^ words[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/** Fills the options of one round; a function of rank, round and index only. */
static void make_options(struct bs_option *options, uint64_t count, uint64_t first, uint64_t round)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t n = first + i;
        options[i].spot = 50.0 + (double)(n * 7919 % 10007) * 0.01;
        options[i].strike = 40.0 + (double)(n * 104729 % 12007) * 0.01;
        options[i].rate = 0.01 + (double)(n % 50) * 0.001;
        options[i].volatility = 0.05 + (double)((n + round * 31) % 600) * 0.001;
        options[i].years = 0.1 + (double)(n % 97) * 0.05;
    }
}

/** Takes what leases it can get, up to the wanted number, each on another node than the others. */
static void top_up(sublet_session *session, const struct settings *settings, sublet_lease **leases, double *ended)
{
    for (uint64_t i = 0; i < settings->leases; i++) {
        sublet_lease_info info = {.struct_bytes = sizeof(info)};
        if (leases[i] != NULL) {
            sublet_lease_info_get(leases[i], &info);
            if (info.state == SUBLET_LEASE_ACTIVE)
                continue;
            ended[i] = ended[i] == 0 ? seconds() : ended[i];
            if (!info.reason_known && seconds() - ended[i] < REASON_PATIENCE)
                continue;
            ended[i] = 0;
            event("lease_ended", ",\"id\":\"%s\",\"node\":\"%s\",\"state\":%d,\"reason\":\"%s\",\"calls\":%llu",
                  info.id, info.node, (int)info.state, info.reason, (unsigned long long)info.calls);
            sublet_lease_release(leases[i]);
            leases[i] = NULL;
        }
        char exclude[1024];
        snprintf(exclude, sizeof(exclude), "%s", settings->exclude != NULL ? settings->exclude : "");
        for (uint64_t j = 0; j < settings->leases; j++) {
            if (leases[j] == NULL || sublet_lease_info_get(leases[j], &info) != SUBLET_OK)
                continue;
            size_t used = strlen(exclude);
            snprintf(exclude + used, sizeof(exclude) - used, "%s%s", used > 0 ? "," : "", info.node);
        }
        sublet_lease_options options = SUBLET_LEASE_OPTIONS_INIT;
        options.cores = 1;
        options.node = settings->lend_node;
        options.exclude_nodes = exclude[0] != 0 ? exclude : NULL;
        if (sublet_lease_acquire(session, &options, &leases[i]) != SUBLET_OK)
            return; /* nothing spare now: what is left does the work */
        sublet_lease_info_get(leases[i], &info);
        event("lease", ",\"id\":\"%s\",\"node\":\"%s\",\"workers\":%u,\"same_node\":%u,\"request_us\":%.1f", info.id,
              info.node, info.workers, info.same_node, (double)info.request_ns / 1e3);
    }
}

/** What one rank computed; main() brings the ranks together, so that a failed one keeps nobody waiting. */
struct result {
    uint64_t hash;
    double sum, seconds;
    sublet_for_each_report items;
};

static sublet_status price(sublet_session *session, const struct settings *settings, sublet_function_ref *function,
                           int rank, int ranks, struct result *result)
{
    sublet_lease *leases[LEASES_MAX] = {NULL};
    double ended[LEASES_MAX] = {0}; /* when the end of one was seen; 0 = not */
    uint64_t share = settings->options / (uint64_t)ranks / settings->batch * settings->batch;
    uint64_t count = share / settings->batch;
    struct bs_option *in = malloc(share * sizeof(*in));
    struct bs_price *out = malloc(share * sizeof(*out));
    sublet_status status = in == NULL || out == NULL ? SUBLET_ERR_NO_MEMORY : SUBLET_OK;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    double sum = 0, total_s = 0;
    sublet_for_each_report all = {0, 0, 0};
    for (uint64_t round = 0; round < settings->rounds && status == SUBLET_OK; round++) {
        sublet_for_each_report report = {0, 0, 0};
        if (settings->leases > 0)
            top_up(session, settings, leases, ended);
        make_options(in, share, (uint64_t)rank * share, round);
        double start = seconds();
        status = sublet_for_each(session, function, in, settings->batch * sizeof(*in), out,
                                 settings->batch * sizeof(*out), count, &report);
        double took = seconds() - start;
        if (status != SUBLET_OK)
            break;
        total_s += took;
        all.remote += report.remote;
        all.local += report.local;
        all.retried += report.retried;
        hash = mix(hash, out, share * sizeof(*out));
        for (uint64_t i = 0; i < share; i++)
            sum += out[i].call;
        event("round", ",\"round\":%llu,\"seconds\":%.6f,\"remote\":%llu,\"local\":%llu,\"retried\":%llu",
              (unsigned long long)round, took, (unsigned long long)report.remote, (unsigned long long)report.local,
              (unsigned long long)report.retried);
    }
    *result = (struct result){hash, sum, total_s, all};
    for (uint64_t i = 0; i < settings->leases; i++)
        sublet_lease_release(leases[i]);
    free(out);
    free(in);
    return status;
}

static sublet_status find(sublet_session *session, const char *folder, const char *file, const char *name,
                          sublet_function_ref **function_out)
{
    char path[4096];
    sublet_library *library;
    snprintf(path, sizeof(path), "%s/%s", folder, file);
    sublet_status status = sublet_library_open(session, path, &library);
    return status == SUBLET_OK ? sublet_function_find(library, name, function_out) : status;
}

static sublet_status probe(sublet_session *session, const struct settings *settings)
{
    char node[128];
    unsigned cores = 1;
    sublet_function_ref *empty, *echo;
    if (sscanf(settings->probe, "%127[^:]:%u", node, &cores) < 1)
        return SUBLET_ERR_INVALID;
    sublet_status status = find(session, settings->library_dir, "libecho.so", "empty", &empty);
    if (status == SUBLET_OK)
        status = find(session, settings->library_dir, "libecho.so", "echo", &echo);
    return status == SUBLET_OK ? probe_run(session, empty, echo, node, cores) : status;
}

static sublet_status run(const struct settings *settings, int rank, int ranks, struct result *result)
{
    sublet_session *session;
    sublet_function_ref *function;
    sublet_status status = sublet_open(NULL, &session);
    if (status != SUBLET_OK)
        return failed("sublet_open", status);
    if (settings->probe != NULL) {
        status = probe(session, settings);
        if (status != SUBLET_OK)
            failed("probe", status);
        goto close;
    }
    status = find(session, settings->library_dir, "libblackscholes.so", "price", &function);
    if (status != SUBLET_OK) {
        failed("find the function", status);
        goto close;
    }
    if (settings->region_mib > 0 && rank == 0) {
        status = table_check(session, settings->region_mib << 20, settings->exclude);
        if (status != SUBLET_OK) {
            failed("the table in a region", status);
            goto close;
        }
    }
    status = price(session, settings, function, rank, ranks, result);
    if (status != SUBLET_OK)
        failed("pricing", status);
close:
    sublet_close(session);
    return status;
}

int main(int argc, char **argv)
{
    struct settings settings = {.options = 2000000, .batch = 2000, .rounds = 1};
    struct result result = {.hash = 0};
    int rank, ranks, bad, worst;
    uint64_t hash = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    bad = parse(argc, argv, &settings);
    if (bad == 0)
        bad = run(&settings, rank, ranks, &result) == SUBLET_OK ? 0 : 1;
    MPI_Allreduce(&bad, &worst, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    MPI_Allreduce(&result.hash, &hash, 1, MPI_UINT64_T, MPI_BXOR, MPI_COMM_WORLD);
    if (worst == 0 && rank == 0 && settings.probe == NULL)
        event("priced",
              ",\"options\":%llu,\"rounds\":%llu,\"ranks\":%d,\"checksum\":\"%016llx\",\"sum_of_calls\":%.17g,"
              "\"seconds\":%.6f,\"remote\":%llu,\"local\":%llu,\"retried\":%llu",
              (unsigned long long)settings.options, (unsigned long long)settings.rounds, ranks,
              (unsigned long long)hash, result.sum, result.seconds, (unsigned long long)result.items.remote,
              (unsigned long long)result.items.local, (unsigned long long)result.items.retried);
    MPI_Finalize();
    return worst;
}
