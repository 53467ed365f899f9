#include "wire/stream.h"

_Static_assert(sizeof(struct stream_hello) == 64, "wire layout");
_Static_assert(sizeof(struct stream_welcome) == 32, "wire layout");
_Static_assert(sizeof(struct stream_request) == 32, "wire layout");
_Static_assert(sizeof(struct stream_response) == 16, "wire layout");
_Static_assert(sizeof(struct stream_access) == 24, "wire layout");

sublet_status stream_hello_check(const struct stream_hello *hello)
{
    if (hello->magic != STREAM_MAGIC)
        return SUBLET_ERR_INVALID;
    if (hello->version != STREAM_VERSION)
        return SUBLET_ERR_VERSION;
    if (hello->role == 0 || hello->role >= STREAM_ROLE_END)
        return SUBLET_ERR_INVALID;
    if (hello->role == STREAM_CALLS && (hello->worker >= CONTROL_WORKERS_MAX || hello->in_bytes > STREAM_PAYLOAD_MAX ||
                                        hello->out_bytes > STREAM_PAYLOAD_MAX))
        return SUBLET_ERR_INVALID;
    return SUBLET_OK;
}

sublet_status stream_welcome_check(const struct stream_welcome *welcome)
{
    if (welcome->magic != STREAM_MAGIC)
        return SUBLET_ERR_INVALID;
    if (welcome->version != STREAM_VERSION)
        return SUBLET_ERR_VERSION;
    if (welcome->status >= SUBLET_STATUS_COUNT || welcome->workers > CONTROL_WORKERS_MAX)
        return SUBLET_ERR_INVALID;
    return (sublet_status)welcome->status;
}

sublet_status stream_request_check(const struct stream_request *request, uint32_t in_bytes, uint32_t out_bytes)
{
    if (request->sequence == 0)
        return SUBLET_ERR_INVALID;
    return request->size > in_bytes || request->out_capacity > out_bytes ? SUBLET_ERR_TOO_LARGE : SUBLET_OK;
}

sublet_status stream_response_check(const struct stream_response *response, uint32_t sequence, uint32_t capacity)
{
    if (response->sequence != sequence || response->status >= SUBLET_STATUS_COUNT || response->size > capacity)
        return SUBLET_ERR_INVALID;
    return SUBLET_OK;
}

sublet_status stream_access_check(const struct stream_access *access, uint64_t region_bytes)
{
    if (access->sequence == 0 || access->operation == 0 || access->operation >= STREAM_OPERATION_END)
        return SUBLET_ERR_INVALID;
    if (access->size > STREAM_PAYLOAD_MAX)
        return SUBLET_ERR_TOO_LARGE;
    if (access->offset > region_bytes || access->size > region_bytes - access->offset)
        return SUBLET_ERR_INVALID;
    return SUBLET_OK;
}
