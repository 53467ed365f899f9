/**
 * sublet-call-bench function LIBBENCH SLOTS BYTES | region MIB | nested LIBSUM SOCKET: calls and regions as a program
 * linked with libsublet has them, from core 0, over the lease that $SUBLET_AGENT_SOCKET grants.
 *
 * See measure.h for how it is told what to measure. A waiting call polls (the session's spin_us is large); what
 * sleeps is the other side.
 *
 *   call   empty function, BYTES of arguments by copy    place  the same, arguments in place and not written anew
 *   echo   BYTES copied in, by the function, and out     touch  BYTES written in place, read by the function
 *   both   BYTES copied in and out, by nobody between    rate   DEPTH empty calls in flight, in place, are one step
 *   out    no arguments, BYTES of result, copied out     flight the same with calls that copy
 *   get, put   BYTES of the region at rising offsets     memcpy_get, memcpy_put  the same bytes, as memcpy moves them
 *   nested     a call of sum_both, which calls sum on the lease that the agent at SOCKET grants
 *   alone      a call of sum there by this program
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/measure.h"
#include "examples/sum.h"
#include "sublet/sublet.h"

#define BYTES_MAX (16u << 20)
#define DEPTH_MAX 64u

struct client {
    sublet_session *session;
    sublet_lease *lease;
    sublet_function_ref *empty;
    sublet_function_ref *echo;
    sublet_function_ref *produce;
    sublet_function_ref *touch;
    sublet_buffer *buffers[DEPTH_MAX]; /* of the measure that runs */
    uint32_t depth;
    sublet_region *region;
    uint64_t region_bytes;
    unsigned char *mapped; /* where libsublet has the region; NULL across nodes */
    unsigned char *from;
    unsigned char *to;
    sublet_session *inner; /* of the lease that is called by a function */
    sublet_lease *inner_lease;
    sublet_function_ref *sum;
    sublet_function_ref *sum_both;
};

static const char *text_of(sublet_status status)
{
    return status == SUBLET_OK ? NULL : sublet_status_text(status);
}

static const char *invoke(struct client *client, sublet_function_ref *function, uint64_t in, uint64_t out)
{
    size_t got;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.lease = client->lease;
    options.worker = 0;
    sublet_status status = sublet_invoke(client->session, function, client->from, in, client->to, out, &got, &options);
    return status == SUBLET_OK && got != out ? "the result has another size" : text_of(status);
}

static const char *step_call(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    (void)index;
    if (strcmp(measure->name, "call") == 0)
        return invoke(client, client->empty, measure->bytes, 0);
    if (strcmp(measure->name, "echo") == 0)
        return invoke(client, client->echo, measure->bytes, measure->bytes);
    if (strcmp(measure->name, "both") == 0)
        return invoke(client, client->produce, measure->bytes, measure->bytes);
    return invoke(client, client->produce, 0, measure->bytes);
}

/** Buffers in the ring for what is measured now. */
static const char *prepare(void *context, const struct measure *measure, uint32_t steps)
{
    struct client *client = context;
    bool reads = strcmp(measure->name, "touch") == 0;
    sublet_buffer_options options = SUBLET_BUFFER_OPTIONS_INIT;
    sublet_status status = measure->depth > DEPTH_MAX ? SUBLET_ERR_INVALID : SUBLET_OK;
    (void)steps;
    for (; client->depth > 0; client->depth--)
        sublet_buffer_release(client->buffers[client->depth - 1]);
    options.lease = client->lease;
    options.worker = 0;
    options.in_bytes = measure->bytes;
    options.out_bytes = 16;
    while (client->depth < measure->depth && status == SUBLET_OK) {
        status = sublet_buffer_acquire(client->session, reads ? client->touch : client->empty, &options,
                                       &client->buffers[client->depth]);
        client->depth += status == SUBLET_OK;
    }
    for (uint32_t i = 0; i < client->depth; i++)
        memset(client->buffers[i]->in, 1, measure->bytes);
    return text_of(status);
}

static const char *step_place(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    if (strcmp(measure->name, "touch") == 0)
        memset(client->buffers[0]->in, (int)index, measure->bytes);
    return text_of(sublet_buffer_invoke(client->buffers[0], measure->bytes, NULL));
}

static const char *step_rate(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    size_t sizes[DEPTH_MAX];
    (void)index;
    for (uint32_t i = 0; i < client->depth; i++)
        sizes[i] = measure->bytes;
    sublet_status status = sublet_buffer_submit_many(client->buffers, sizes, client->depth, NULL);
    for (uint32_t i = 0; i < client->depth && status == SUBLET_OK; i++)
        status = sublet_buffer_wait(client->buffers[i], 10000, NULL);
    return text_of(status);
}

static const char *step_flight(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    sublet_call *calls[DEPTH_MAX] = {NULL};
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    sublet_status status = measure->depth > DEPTH_MAX ? SUBLET_ERR_INVALID : SUBLET_OK;
    (void)index;
    options.lease = client->lease;
    options.worker = 0;
    for (uint32_t i = 0; i < measure->depth && status == SUBLET_OK; i++)
        status =
            sublet_submit(client->session, client->empty, client->from, measure->bytes, NULL, 0, &options, &calls[i]);
    for (uint32_t i = 0; i < measure->depth && status == SUBLET_OK; i++)
        status = sublet_wait(calls[i], 10000);
    for (uint32_t i = 0; i < measure->depth && i < DEPTH_MAX; i++)
        sublet_call_free(calls[i]);
    return text_of(status);
}

static const char *step_region(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    if (measure->bytes == 0 || measure->bytes > client->region_bytes || measure->bytes > BYTES_MAX)
        return "no region of that size";
    uint64_t offset = index % (client->region_bytes / measure->bytes) * measure->bytes;
    return text_of(strcmp(measure->name, "get") == 0
                       ? sublet_region_get(client->region, offset, client->to, measure->bytes)
                       : sublet_region_put(client->region, offset, client->from, measure->bytes));
}

/** Which pages memory got makes a tenth and more of difference to a copy, so the floor is on the very same ones. */
static const char *step_memcpy(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    if (client->mapped == NULL || measure->bytes == 0 || measure->bytes > client->region_bytes ||
        measure->bytes > BYTES_MAX)
        return "no region of that size is mapped";
    unsigned char *there = client->mapped + index % (client->region_bytes / measure->bytes) * measure->bytes;
    if (strcmp(measure->name, "memcpy_get") == 0)
        memcpy(client->to, there, measure->bytes);
    else
        memcpy(there, client->from, measure->bytes);
    return NULL;
}

static const char *step_nested(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    struct sum_both_result result;
    uint64_t sum;
    size_t got;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    (void)index;
    if (client->inner == NULL)
        return "there is no inner lease";
    if (strcmp(measure->name, "alone") == 0) {
        options.lease = client->inner_lease;
        return text_of(sublet_invoke(client->inner, client->sum, client->from + sizeof(struct sum_both_arguments),
                                     measure->bytes, &sum, sizeof(sum), &got, &options));
    }
    options.lease = client->lease;
    sublet_status status =
        sublet_invoke(client->session, client->sum_both, client->from,
                      sizeof(struct sum_both_arguments) + measure->bytes, &result, sizeof(result), &got, &options);
    return text_of(status != SUBLET_OK ? status : (sublet_status)result.status);
}

static const struct measure_kind kinds[] = {
    {"call", NULL, step_call, 0},     {"echo", NULL, step_call, 0},         {"both", NULL, step_call, 0},
    {"out", NULL, step_call, 0},      {"place", prepare, step_place, 0},    {"touch", prepare, step_place, 0},
    {"rate", prepare, step_rate, 1},  {"flight", NULL, step_flight, 1},     {"get", NULL, step_region, 0},
    {"put", NULL, step_region, 0},    {"memcpy_get", NULL, step_memcpy, 0}, {"memcpy_put", NULL, step_memcpy, 0},
    {"nested", NULL, step_nested, 0}, {"alone", NULL, step_nested, 0},      {NULL, NULL, NULL, 0},
};

static sublet_status lease(struct client *client, char **argv)
{
    sublet_library *library;
    sublet_lease_options options = SUBLET_LEASE_OPTIONS_INIT;
    options.slots = (uint32_t)strtoul(argv[3], NULL, 10);
    options.in_bytes = options.out_bytes = strtoull(argv[4], NULL, 10);
    sublet_status status = sublet_library_open(client->session, argv[2], &library);
    if (status == SUBLET_OK)
        status = sublet_function_find(library, "empty", &client->empty);
    if (status == SUBLET_OK)
        status = sublet_function_find(library, "echo", &client->echo);
    if (status == SUBLET_OK)
        status = sublet_function_find(library, "produce", &client->produce);
    if (status == SUBLET_OK)
        status = sublet_function_find(library, "touch", &client->touch);
    return status == SUBLET_OK ? sublet_lease_acquire(client->session, &options, &client->lease) : status;
}

/** A lease here, and one of another agent's, handed on with the arguments. */
static sublet_status nest(struct client *client, char **argv)
{
    sublet_library *library;
    size_t bytes;
    sublet_options options = SUBLET_OPTIONS_INIT;
    sublet_lease_options wish = SUBLET_LEASE_OPTIONS_INIT;
    struct sum_both_arguments *in = (void *)client->from;
    options.agent_socket = argv[3];
    wish.in_bytes = wish.out_bytes = 1u << 16;
    sublet_status status = sublet_open(&options, &client->inner);
    if (status == SUBLET_OK)
        status = sublet_library_open(client->inner, argv[2], &library);
    if (status == SUBLET_OK)
        status = sublet_function_find(library, "sum", &client->sum);
    if (status == SUBLET_OK)
        status = sublet_lease_acquire(client->inner, &wish, &client->inner_lease);
    if (status == SUBLET_OK)
        status = sublet_lease_export(client->inner_lease, client->sum, in->other, sizeof(in->other), &bytes);
    if (status == SUBLET_OK)
        status = sublet_library_open(client->session, argv[2], &library);
    if (status == SUBLET_OK)
        status = sublet_function_find(library, "sum_both", &client->sum_both);
    return status == SUBLET_OK ? sublet_lease_acquire(client->session, &wish, &client->lease) : status;
}

static unsigned char *find_mapped(void)
{
    char line[512];
    uintptr_t at = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps != NULL && at == 0 && fgets(line, sizeof(line), maps) != NULL)
        if (strstr(line, "memfd:sublet-region") != NULL)
            at = (uintptr_t)strtoull(line, NULL, 16);
    if (maps != NULL)
        fclose(maps);
    return (unsigned char *)at;
}

/** Leases the region and touches every page of it once, so that no access pays for a first touch. */
static sublet_status rent(struct client *client, const char *mib)
{
    client->region_bytes = strtoull(mib, NULL, 10) << 20;
    sublet_status status = sublet_region_alloc(client->session, client->region_bytes, NULL, &client->region);
    for (uint64_t at = 0; at < client->region_bytes && status == SUBLET_OK; at += 1u << 20)
        status = sublet_region_put(client->region, at, client->from, 1u << 20);
    client->mapped = find_mapped();
    return status;
}

int main(int argc, char **argv)
{
    struct client client = {.from = malloc(BYTES_MAX), .to = malloc(BYTES_MAX)};
    bool function = argc == 5 && strcmp(argv[1], "function") == 0;
    bool nested = argc == 4 && strcmp(argv[1], "nested") == 0;
    bool region = argc == 3 && strcmp(argv[1], "region") == 0;
    if ((!function && !nested && !region) || client.from == NULL || client.to == NULL) {
        fprintf(stderr, "usage: %s function LIBBENCH SLOTS BYTES | region MIB | nested LIBSUM SOCKET\n", argv[0]);
        return 2;
    }
    memset(client.from, 1, BYTES_MAX); /* no first touch is measured */
    memset(client.to, 1, BYTES_MAX);
    measure_pin(0);
    sublet_options options = SUBLET_OPTIONS_INIT;
    options.spin_us = nested ? 0 : 1000000; /* the inner worker is on this core */
    sublet_status status = sublet_open(&options, &client.session);
    if (status == SUBLET_OK)
        status = function ? lease(&client, argv) : nested ? nest(&client, argv) : rent(&client, argv[2]);
    if (status != SUBLET_OK) {
        fprintf(stderr, "%s: %s: %s\n", argv[0], sublet_status_text(status), sublet_last_error());
        return 1;
    }
    int result = measure_serve(kinds, &client);
    sublet_region_free(client.region);
    sublet_close(client.session);
    sublet_close(client.inner);
    return result;
}
