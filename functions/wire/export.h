/**
 * A lease as its owner hands it on, with one function of it (sublet_lease_export). 384 bytes, little endian, text ended
 * by zeros:
 *
 *   0    u32 magic "SLBX"   4    u16 version   6    u16 bytes of all   8    u32 the executor's number of the function
 *   12   u32 slots   16   u32 in_bytes   20   u32 out_bytes   24   reserved, 0
 *   32   token (32 bytes)   64   host:port of the executor, numeric (64)   128  the lease's id (64)   192  node (64)
 *   256  name of the function (128)
 *
 * Whoever has the token may do on the lease what its owner may, except renew it and give it back: it is a secret.
 */
#ifndef SUBLET_WIRE_EXPORT_H
#define SUBLET_WIRE_EXPORT_H

#include <stddef.h>
#include <stdint.h>

#include "sublet/status.h"
#include "wire/control.h"

#define EXPORT_MAGIC   0x58424c53u /* "SLBX" */
#define EXPORT_VERSION 1u

struct lease_export {
    uint32_t magic;
    uint16_t version;
    uint16_t bytes;
    uint32_t function;
    uint32_t slots;
    uint32_t in_bytes;
    uint32_t out_bytes;
    uint32_t reserved[2];
    uint8_t token[CONTROL_TOKEN_BYTES];
    char address[64];
    char id[64];
    char node[64];
    char name[CONTROL_NAME_MAX + 1];
};

/** Copies and checks what somebody handed on: bounds of every field, texts that end. VERSION when it is another. */
sublet_status export_read(const void *bytes, size_t size, struct lease_export *out);

#endif
