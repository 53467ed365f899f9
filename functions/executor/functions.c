#include "executor/functions.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "executor/library.h"

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
    if (functions->libraries[number] == NULL)
        functions->libraries[number] = library_open(functions->library_fds[number], NULL);
    if (functions->libraries[number] == NULL)
        return SUBLET_ERR_NOT_FOUND;
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
    return SUBLET_OK;
}

static uint32_t at_most_u32(uint64_t size)
{
    return size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
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
    uint64_t size;
    if (functions->known[call->function].context != NULL) {
        sublet_context context = {
            .struct_bytes = sizeof(context),
            .worker = functions->worker,
            .in_bytes = at_most_u32(call->size),
            .out_bytes = at_most_u32(call->out_capacity),
            .timeout_ns = call->timeout_ns,
            .in_size = call->size,
            .out_room = call->out_capacity,
        };
        if (functions->known[call->function].context(&context, call->in, call->out) != 0)
            return SUBLET_ERR_FUNCTION;
        size = context.result_size != 0 ? context.result_size : context.result_bytes;
    } else if (call->size > UINT32_MAX)
        return SUBLET_ERR_TOO_LARGE; /* this form cannot be told */
    else
        size = functions->known[call->function].plain((void *)(uintptr_t)call->in, (uint32_t)call->size, call->out);
    *size_out = size;
    return size > call->out_capacity ? SUBLET_ERR_TOO_LARGE : SUBLET_OK;
}
