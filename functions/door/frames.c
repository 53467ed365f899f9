#include "door/frames.h"

#include <string.h>

enum { TAG_ID = 0x08, TAG_LEASE = 0x12, TAG_REQUEST = 0x0a, TAG_JOB = 0x10 };

bool framing_between(const struct framing *framing)
{
    return framing->left == 0 && framing->have == 0 && !framing->astray;
}

uint32_t frame_length(const unsigned char *header)
{
    return header[0] | (uint32_t)header[1] << 8 | (uint32_t)header[2] << 16 | (uint32_t)header[3] << 24;
}

void frame_put_length(unsigned char *header, uint32_t length)
{
    for (int i = 0; i < FRAME_HEADER; i++)
        header[i] = (unsigned char)(length >> (8 * i));
}

bool framing_pass(struct framing *framing, const unsigned char *bytes, size_t size)
{
    for (size_t at = 0; at < size && !framing->astray;) {
        if (framing->left > 0) {
            size_t part = size - at < framing->left ? size - at : framing->left;
            framing->left -= (uint32_t)part;
            at += part;
            continue;
        }
        framing->head[framing->have++] = bytes[at++];
        if (framing->have < FRAME_HEADER)
            continue;
        framing->have = 0;
        framing->left = frame_length(framing->head);
        if ((framing->left & FRAME_MARK) != 0)
            return false;
        framing->astray = framing->left == 0 || framing->left > FRAME_MAX;
    }
    return true;
}

/** A varint of at most 32 bits, in as few bytes as it takes. */
static bool read_number(const unsigned char **at, const unsigned char *end, uint32_t *value)
{
    uint64_t all = 0;
    for (unsigned shift = 0; shift < 35 && *at < end; shift += 7) {
        unsigned char byte = *(*at)++;
        all |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) != 0)
            continue;
        *value = (uint32_t)all;
        return all <= UINT32_MAX && (byte != 0 || shift == 0);
    }
    return false;
}

static bool read_tag(const unsigned char **at, const unsigned char *end, unsigned char tag)
{
    if (*at >= end || **at != tag)
        return false;
    (*at)++;
    return true;
}

bool lease_ask_read(const unsigned char *body, size_t size, struct lease_ask *ask)
{
    const unsigned char *at = body, *end = body + size;
    uint32_t id = 0, length = 0;
    memset(ask, 0, sizeof(*ask));
    ask->id = body;
    if (!read_tag(&at, end, TAG_ID) || !read_number(&at, end, &id) || id == 0)
        return false;
    ask->id_size = (size_t)(at - body);
    if (!read_tag(&at, end, TAG_LEASE) || !read_number(&at, end, &length) || length != (size_t)(end - at))
        return false;
    if (!read_tag(&at, end, TAG_REQUEST) || !read_number(&at, end, &length) || length == 0 ||
        length > (size_t)(end - at))
        return false;
    ask->request = at;
    ask->request_size = length;
    at += length;
    return at == end || (read_tag(&at, end, TAG_JOB) && read_number(&at, end, &ask->job_id) && at == end);
}
