#include "wire/export.h"

#include <stdbool.h>
#include <string.h>

#include "wire/ring_layout.h"

_Static_assert(sizeof(struct lease_export) == 384, "wire layout");

static bool is_text(const char *text, size_t room)
{
    return text[0] != '\0' && memchr(text, 0, room) != NULL;
}

sublet_status export_read(const void *bytes, size_t size, struct lease_export *out)
{
    struct lease_export read;
    if (size < offsetof(struct lease_export, function))
        return SUBLET_ERR_INVALID;
    memcpy(&read, bytes, size < sizeof(read) ? size : sizeof(read));
    if (read.magic != EXPORT_MAGIC)
        return SUBLET_ERR_INVALID;
    if (read.version != EXPORT_VERSION)
        return SUBLET_ERR_VERSION;
    if (size < sizeof(read) || read.bytes != sizeof(read))
        return SUBLET_ERR_INVALID;
    if (read.slots == 0 || read.slots > RING_SLOTS_MAX || read.in_bytes > RING_BUFFER_MAX ||
        read.out_bytes > RING_BUFFER_MAX)
        return SUBLET_ERR_INVALID;
    if (!is_text(read.address, sizeof(read.address)) || !is_text(read.id, sizeof(read.id)) ||
        !is_text(read.node, sizeof(read.node)) || !is_text(read.name, sizeof(read.name)))
        return SUBLET_ERR_INVALID;
    *out = read;
    return SUBLET_OK;
}
