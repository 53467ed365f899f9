#include "wire/control.h"

_Static_assert(sizeof(struct control_header) == CONTROL_HEADER_BYTES, "wire layout");
_Static_assert(sizeof(struct control_hello) == 48, "wire layout");
_Static_assert(sizeof(struct control_welcome) == 16, "wire layout");
_Static_assert(sizeof(struct control_cancel) == 16, "wire layout");
_Static_assert(sizeof(struct control_code) == 40, "wire layout");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little endian");

sublet_status control_header_check(const struct control_header *header)
{
    static const struct {
        uint32_t least;
        uint32_t most;
    } sizes[CONTROL_TYPE_END] = {
        [CONTROL_HELLO] = {sizeof(struct control_hello), sizeof(struct control_hello)},
        [CONTROL_LOAD] = {CONTROL_LIBRARY_MIN, CONTROL_BODY_MAX},
        [CONTROL_RESOLVE] = {sizeof(uint32_t) + 1, sizeof(uint32_t) + CONTROL_NAME_MAX},
        [CONTROL_CANCEL] = {sizeof(struct control_cancel), sizeof(struct control_cancel)},
        [CONTROL_LOAD_HASH] = {sizeof(struct control_code), sizeof(struct control_code)},
        [CONTROL_LOAD_PATH] = {sizeof(struct control_code) + 1, sizeof(struct control_code) + CONTROL_PATH_MAX},
    };
    if (header->magic != CONTROL_MAGIC)
        return SUBLET_ERR_INVALID;
    if (header->version < CONTROL_VERSION_LEAST)
        return SUBLET_ERR_VERSION;
    if (header->type == 0 || header->type >= CONTROL_TYPE_END)
        return SUBLET_ERR_INVALID;
    if (header->size < sizes[header->type].least || header->size > sizes[header->type].most)
        return SUBLET_ERR_INVALID;
    return SUBLET_OK;
}
