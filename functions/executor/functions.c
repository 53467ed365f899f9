#include "executor/functions.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/probes.h"
#include "executor/guard.h"
#include "executor/library.h"
#include "executor/threads.h"

#define PAGE_BYTES 4096u

static sublet_status find(struct functions *functions, uint32_t id)
{
    struct function_table *table = functions->table;
    if (id >= atomic_load_explicit(&table->count, memory_order_acquire))
        return SUBLET_ERR_NOT_FOUND;
    uint32_t number = table->entries[id].library;
    if (number < LIBRARIES_MAX && functions->library_fds[number] < 0)
        functions->catch_up(functions->catch_up_context);
    if (number >= LIBRARIES_MAX || functions->library_fds[number] < 0)
        return SUBLET_ERR_NOT_FOUND;
    if (functions->libraries[number] == NULL) {
        functions->libraries[number] = library_open(functions->library_fds[number], NULL);
        if (functions->libraries[number] == NULL)
            return SUBLET_ERR_NOT_FOUND;
        guard_library(functions->libraries[number]);
    }
    char name[CONTROL_NAME_MAX + 1], marker[CONTROL_NAME_MAX + 16];
    snprintf(name, sizeof(name), "%.*s", (int)CONTROL_NAME_MAX, table->entries[id].name);
    snprintf(marker, sizeof(marker), "sublet_form_%s", name);
    void *symbol = dlsym(functions->libraries[number], name);
    if (symbol == NULL)
        return SUBLET_ERR_NOT_FOUND;
    if (dlsym(functions->libraries[number], marker) != NULL)
        memcpy(&functions->known[id].context, &symbol, sizeof(symbol));
    else
        memcpy(&functions->known[id].plain, &symbol, sizeof(symbol));
    functions->known[id].keeps_threads = dlsym(functions->libraries[number], "sublet_keeps_threads") != NULL;
    return SUBLET_OK;
}

void functions_start(struct functions *functions)
{
    unsigned char *pages =
        mmap(NULL, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + PAGE_BYTES, PAGE_BYTES, PROT_NONE) != 0)
        _exit(1); /* out of memory: the supervisor tries again */
    unsigned char *mine = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mine == MAP_FAILED || madvise(mine, PAGE_BYTES, MADV_WIPEONFORK) != 0)
        _exit(1);
    *mine = 1;
    functions->mine = mine;
    functions->scratch = pages + PAGE_BYTES - 2 * RING_LINE;
    functions->scratch_end = pages + PAGE_BYTES;
}

static uint32_t at_most_u32(uint64_t size)
{
    return size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
}

/** Calls it; *size_out is what it says of its result. */
static sublet_status enter(struct functions *functions, const struct ring_call *call, unsigned char *out,
                           uint64_t *size_out)
{
    if (functions->known[call->function].context == NULL) {
        if (call->size > UINT32_MAX)
            return SUBLET_ERR_TOO_LARGE; /* this form cannot be told */
        *size_out = functions->known[call->function].plain((void *)(uintptr_t)call->in, (uint32_t)call->size, out);
        return SUBLET_OK;
    }
    sublet_context context = {
        .struct_bytes = sizeof(context),
        .worker = functions->worker,
        .in_bytes = at_most_u32(call->size),
        .out_bytes = at_most_u32(call->out_capacity),
        .timeout_ns = call->timeout_ns,
        .in_size = call->size,
        .out_room = call->out_capacity,
    };
    if (functions->known[call->function].context(&context, call->in, out) != 0)
        return SUBLET_ERR_FUNCTION;
    *size_out = context.result_size != 0 ? context.result_size : context.result_bytes;
    return SUBLET_OK;
}

sublet_status functions_run(struct functions *functions, const struct ring_call *call, uint64_t *size_out)
{
    *size_out = 0;
    if (call->function >= FUNCTIONS_MAX)
        return SUBLET_ERR_NOT_FOUND;
    if (functions->known[call->function].context == NULL && functions->known[call->function].plain == NULL) {
        sublet_status status = find(functions, call->function);
        if (status != SUBLET_OK)
            return status;
    }
    uint64_t size = 0;
    unsigned char *out = call->lined ? functions->scratch : call->out;
    guard_page = call->lined ? functions->scratch_end : call->end;
    uint32_t threads = atomic_load_explicit(&threads_live, memory_order_relaxed); /* of the library's constructors */
    uint64_t before = guard_lay(out + call->out_capacity);
    bool due = stats_due(&functions->sampler, call->function);
    uint64_t start = due || call->traced ? cycles() : 0;
    PROBE2(call_start, call->function, call->size);
    sublet_status status = enter(functions, call, out, &size);
    PROBE3(call_end, call->function, status, size);
    if (*functions->mine == 0)
        _exit(0); /* a child that the function forked came back, too: the call is its parent's */
    if (due || call->traced) {
        uint64_t end = cycles();
        functions->run_start = start;
        functions->run_end = end;
        if (due)
            stats_time(&functions->sampler, start, end);
    }
    if (!guard_lift(out + call->out_capacity, before))
        guard_end(SUBLET_ERR_OVERRUN);
    if (atomic_load_explicit(&threads_live, memory_order_acquire) > threads &&
        !functions->known[call->function].keeps_threads)
        guard_end(SUBLET_ERR_LEFT_THREADS);
    guard_page = NULL;
    if (status != SUBLET_OK)
        return status;
    if (call->lined)
        memcpy(call->out, out, RING_INLINE_BYTES);
    *size_out = size;
    return size > call->out_capacity ? SUBLET_ERR_TOO_LARGE : SUBLET_OK;
}
