/**
 * How two sides agree on a version. Who connects says the highest that it speaks; who is asked picks the highest that
 * both speak, says it in its answer, and every later frame of the connection bears it. Each side speaks all from its
 * LEAST to its own. The first frame of either side (magic, version, and where they stand) never changes.
 */
#ifndef SUBLET_WIRE_VERSION_H
#define SUBLET_WIRE_VERSION_H

#include <stdint.h>

/** The version of the connection; 0 when there is none that both speak. */
static inline uint16_t version_agree(uint16_t theirs, uint16_t least, uint16_t own)
{
    if (theirs < least)
        return 0;
    return theirs < own ? theirs : own;
}

#endif
