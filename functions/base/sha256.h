/** SHA-256 (FIPS 180-4) of bytes that are all there: names the content of function libraries. */
#ifndef SUBLET_BASE_SHA256_H
#define SUBLET_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32u

/** By the processor's own instructions where it has them (some 2 GB/s), else in C (some 0.3 GB/s). */
void sha256(const void *bytes, size_t size, uint8_t out[SHA256_BYTES]);
/** The same in C alone; tests compare the two. */
void sha256_plain(const void *bytes, size_t size, uint8_t out[SHA256_BYTES]);

#endif
