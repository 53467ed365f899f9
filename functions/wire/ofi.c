#include "wire/ofi.h"

#include <string.h>

#include "wire/ring_layout.h"
#include "wire/stream.h"

_Static_assert(sizeof(struct ofi_offer) == 384, "wire layout");
_Static_assert(RING_SLOTS_MAX <= 64, "a slot has six bits");

static sublet_status check(const struct ofi_offer *offer)
{
    if (offer->magic != OFI_WIRE_MAGIC)
        return SUBLET_ERR_INVALID;
    if (offer->version != OFI_WIRE_VERSION)
        return SUBLET_ERR_VERSION;
    if (offer->name_bytes == 0 || offer->name_bytes > sizeof(offer->name) || offer->tag > OFI_WIRE_TAG_MAX ||
        offer->plain > 1 || memchr(offer->provider, 0, sizeof(offer->provider)) == NULL)
        return SUBLET_ERR_INVALID;
    return SUBLET_OK;
}

sublet_status ofi_offer_check(const struct ofi_offer *offer)
{
    sublet_status status = check(offer);
    if (status != SUBLET_OK)
        return status;
    if (offer->slots == 0 || offer->slots > RING_SLOTS_MAX || offer->in_bytes > STREAM_PAYLOAD_MAX ||
        offer->out_bytes > STREAM_PAYLOAD_MAX)
        return SUBLET_ERR_INVALID;
    if (offer->slots * ofi_stride(offer->in_bytes) > OFI_WIRE_MEMORY_MAX ||
        offer->slots * ofi_stride(offer->out_bytes) > OFI_WIRE_MEMORY_MAX)
        return SUBLET_ERR_TOO_LARGE;
    return SUBLET_OK;
}

sublet_status ofi_region_offer_check(const struct ofi_offer *offer)
{
    sublet_status status = check(offer);
    bool calls = offer->slots != 0 || offer->in_bytes != 0 || offer->out_bytes != 0 || offer->plain != 0;
    return status == SUBLET_OK && calls ? SUBLET_ERR_INVALID : status;
}
