#include "client/result.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define HEAD_BYTES 64u /* before the result */
#define PAGE       4096u
#define MAP_FROM   (UINT64_C(128) << 10) /* larger ones are mappings of their own */

/** How it was made; at the end of what lies before the result. */
struct head {
    uint64_t mapped; /* of the mapping; 0 = malloc */
    void *base;
};

static struct head *head_of(void *result)
{
    return (struct head *)(void *)((unsigned char *)result - sizeof(struct head));
}

static uint64_t mapping_of(size_t bytes)
{
    return ((uint64_t)bytes + 2 * PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

void *result_make(size_t bytes)
{
    unsigned char *result;
    struct head head = {0};
    if (bytes >= MAP_FROM) {
        head.mapped = mapping_of(bytes);
        head.base = mmap(NULL, head.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (head.base == MAP_FAILED)
            return NULL;
        result = (unsigned char *)head.base + PAGE;
    } else {
        head.base = aligned_alloc(HEAD_BYTES, (HEAD_BYTES + bytes + HEAD_BYTES - 1) & ~(size_t)(HEAD_BYTES - 1));
        if (head.base == NULL)
            return NULL;
        result = (unsigned char *)head.base + HEAD_BYTES;
    }
    *head_of(result) = head;
    return result;
}

void *result_shrink(void *result, size_t bytes)
{
    struct head *head = head_of(result);
    uint64_t mapped = mapping_of(bytes);
    if (head->mapped > mapped && munmap((unsigned char *)head->base + mapped, head->mapped - mapped) == 0)
        head->mapped = mapped;
    return result;
}

void result_free(void *result)
{
    if (result == NULL)
        return;
    struct head head = *head_of(result);
    if (head.mapped != 0)
        munmap(head.base, head.mapped);
    else
        free(head.base);
}

void sublet_free(void *result)
{
    result_free(result);
}

bool result_expect(struct sublet_call *call, size_t bytes)
{
    if (!call->allocates)
        return true;
    result_forget(call);
    call->out = result_make(bytes);
    return call->out != NULL;
}

void result_forget(struct sublet_call *call)
{
    if (!call->allocates)
        return;
    result_free(call->out);
    call->out = NULL;
}

sublet_status result_run_here(struct sublet_call *call, size_t *bytes_out)
{
    size_t room = call->out_capacity;
    if (call->allocates) {
        result_forget(call); /* of an answer that broke off */
        /* As much as the system lets us reserve; what the function does not touch costs nothing. */
        while ((call->out = result_make(room)) == NULL && room > PAGE)
            room /= 2;
        if (call->out == NULL)
            return SUBLET_ERR_NO_MEMORY;
    }
    sublet_status status =
        function_run(call->function, call->in, call->in_bytes, call->out, room, call->timeout_ns, bytes_out);
    if (call->allocates && status != SUBLET_OK)
        result_forget(call);
    else if (call->allocates)
        call->out = result_shrink(call->out, *bytes_out);
    return status;
}
