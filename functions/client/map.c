/** Mappings of regions: none yet. */
#include "client/region.h"

void mappings_lost(struct region_access *access)
{
    (void)access;
}

void mappings_detach(struct sublet_region *region)
{
    (void)region;
}
