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

sublet_status functions_run(struct functions *functions, const struct ring_call *call, uint32_t *size_out)
{
    if (call->function >= FUNCTIONS_MAX)
        return SUBLET_ERR_NOT_FOUND;
    if (functions->known[call->function].context == NULL && functions->known[call->function].plain == NULL) {
        sublet_status status = find(functions, call->function);
        if (status != SUBLET_OK)
            return status;
    }
    uint32_t size;
    if (functions->known[call->function].context != NULL) {
        sublet_context context = {
            .struct_bytes = sizeof(context),
            .worker = functions->worker,
            .in_bytes = call->size,
            .out_bytes = call->out_capacity,
            .timeout_ns = call->timeout_ns,
        };
        if (functions->known[call->function].context(&context, call->in, call->out) != 0)
            return SUBLET_ERR_FUNCTION;
        size = context.result_bytes;
    } else
        size = functions->known[call->function].plain((void *)(uintptr_t)call->in, call->size, call->out);
    if (size > call->out_capacity)
        return SUBLET_ERR_TOO_LARGE;
    *size_out = size;
    return SUBLET_OK;
}
