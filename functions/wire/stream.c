#include "wire/stream.h"

_Static_assert(sizeof(struct stream_hello) == 64, "wire layout");
_Static_assert(sizeof(struct stream_welcome) == 32, "wire layout");
_Static_assert(sizeof(struct stream_request) == 32, "wire layout");
_Static_assert(sizeof(struct stream_response) == 16, "wire layout");
_Static_assert(sizeof(struct stream_access) == 24, "wire layout");
_Static_assert(sizeof(struct stream_atomic) == 16, "wire layout");
_Static_assert(sizeof(struct stream_piece) == 16, "wire layout");
_Static_assert(sizeof(struct stream_stride) == 16, "wire layout");

sublet_status stream_hello_check(const struct stream_hello *hello)
{
    if (hello->magic != STREAM_MAGIC)
        return SUBLET_ERR_INVALID;
    if (hello->version < STREAM_VERSION_LEAST)
        return SUBLET_ERR_VERSION;
    if (hello->role == 0 || hello->role >= STREAM_ROLE_END)
        return SUBLET_ERR_INVALID;
    bool of_worker = hello->role == STREAM_CALLS || hello->role == STREAM_FABRIC;
    return of_worker && hello->worker >= CONTROL_WORKERS_MAX ? SUBLET_ERR_INVALID : SUBLET_OK;
}

sublet_status stream_welcome_check(const struct stream_welcome *welcome)
{
    if (welcome->magic != STREAM_MAGIC)
        return SUBLET_ERR_INVALID;
    if (welcome->version < STREAM_VERSION_LEAST || welcome->version > STREAM_VERSION)
        return SUBLET_ERR_VERSION;
    if (welcome->status >= SUBLET_STATUS_COUNT || welcome->workers > CONTROL_WORKERS_MAX)
        return SUBLET_ERR_INVALID;
    return (sublet_status)welcome->status;
}

sublet_status stream_request_check(const struct stream_request *request)
{
    if (request->sequence == 0)
        return SUBLET_ERR_INVALID;
    bool fits = stream_request_size(request) <= STREAM_CALL_MAX && stream_request_room(request) <= STREAM_CALL_MAX;
    return fits ? SUBLET_OK : SUBLET_ERR_TOO_LARGE;
}

sublet_status stream_response_check(const struct stream_response *response, uint32_t sequence, uint64_t capacity)
{
    if (response->sequence != sequence || !stream_status_answers(response->status))
        return SUBLET_ERR_INVALID;
    if ((response->flags & STREAM_FLAG_NEEDED) != 0 && response->status != SUBLET_ERR_TOO_LARGE)
        return SUBLET_ERR_INVALID;
    return stream_response_body(response) <= capacity ? SUBLET_OK : SUBLET_ERR_INVALID;
}

static bool within(uint64_t offset, uint64_t size, uint64_t region_bytes)
{
    return offset <= region_bytes && size <= region_bytes - offset;
}

sublet_status stream_access_check(const struct stream_access *access, uint64_t region_bytes)
{
    if (access->sequence == 0 || access->operation == 0 || access->operation >= STREAM_OPERATION_END)
        return SUBLET_ERR_INVALID;
    if (access->size > STREAM_PAYLOAD_MAX)
        return SUBLET_ERR_TOO_LARGE;
    switch ((enum stream_operation)access->operation) {
    case STREAM_ADD:
    case STREAM_SWAP:
        if (access->size != 8 || access->offset % 8 != 0 || access->count != 0)
            return SUBLET_ERR_INVALID;
        break;
    case STREAM_GET_LIST:
    case STREAM_PUT_LIST:
        if (access->count == 0 || access->count > STREAM_PIECES_MAX || access->offset != 0)
            return SUBLET_ERR_INVALID;
        return SUBLET_OK; /* the pieces are checked when they are here */
    case STREAM_GET_STRIDED:
    case STREAM_PUT_STRIDED:
        if (access->count == 0)
            return SUBLET_ERR_INVALID;
        break;
    default:
        break;
    }
    return within(access->offset, access->size, region_bytes) ? SUBLET_OK : SUBLET_ERR_INVALID;
}

sublet_status stream_pieces_check(const struct stream_access *access, const struct stream_piece *pieces,
                                  uint64_t region_bytes)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < access->count; i++) {
        if (!within(pieces[i].offset, pieces[i].size, region_bytes) || pieces[i].reserved != 0)
            return SUBLET_ERR_INVALID;
        total += pieces[i].size;
    }
    return total == access->size ? SUBLET_OK : SUBLET_ERR_INVALID;
}

sublet_status stream_stride_check(const struct stream_access *access, const struct stream_stride *stride,
                                  uint64_t region_bytes)
{
    if (stride->block == 0 || stride->stride < stride->block || stride->reserved != 0 ||
        (uint64_t)stride->block * access->count != access->size)
        return SUBLET_ERR_INVALID;
    uint64_t last; /* where the last block begins */
    if (__builtin_mul_overflow(stride->stride, (uint64_t)(access->count - 1), &last) ||
        __builtin_add_overflow(last, access->offset, &last))
        return SUBLET_ERR_INVALID;
    return within(last, stride->block, region_bytes) ? SUBLET_OK : SUBLET_ERR_INVALID;
}

uint32_t stream_access_extra(const struct stream_access *access)
{
    switch ((enum stream_operation)access->operation) {
    case STREAM_ADD:
    case STREAM_SWAP:
        return sizeof(struct stream_atomic);
    case STREAM_GET_LIST:
    case STREAM_PUT_LIST:
        return access->count * (uint32_t)sizeof(struct stream_piece);
    case STREAM_GET_STRIDED:
    case STREAM_PUT_STRIDED:
        return sizeof(struct stream_stride);
    default:
        return 0;
    }
}
