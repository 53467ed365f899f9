/**
 * A fabric that is none, for code that serves strangers over one: it opens "net" and "tcp", and counts its peers. What
 * memory and queues are is for the target to say.
 */
#ifndef SUBLET_FUZZ_DUMMY_FABRIC_H
#define SUBLET_FUZZ_DUMMY_FABRIC_H

#include <stdlib.h>
#include <string.h>

#include "fabric/ofi.h"
#include "wire/ofi.h"

static inline void must(bool holds)
{
    if (!holds)
        __builtin_trap();
}

static uint32_t peers;
static char *dummy;
static const char *opened;
static bool opened_plain;

const char *ofi_own_address(int fd, char *text, uint32_t size)
{
    (void)fd;
    (void)text;
    (void)size;
    return NULL;
}

bool ofi_allows(const char *only, const char *provider)
{
    return only[0] == '\0' || strcmp(only, provider) == 0;
}

void ofi_keep_nothing(void) {}

sublet_status ofi_open(const struct ofi_settings *settings, struct ofi **out)
{
    must(strlen(settings->provider) < sizeof(((struct ofi_offer *)NULL)->provider));
    must(dummy == NULL);
    opened = strcmp(settings->provider, "net") == 0 ? "net" : "tcp";
    if (strcmp(settings->provider, opened) != 0)
        return SUBLET_ERR_NOT_FOUND;
    opened_plain = settings->plain;
    dummy = malloc(1);
    *out = (struct ofi *)(void *)dummy;
    return SUBLET_OK;
}

void ofi_close(struct ofi *ofi)
{
    must((const char *)(const void *)ofi == dummy);
    free(dummy);
    dummy = NULL;
}

sublet_status ofi_peer_add(struct ofi *ofi, const void *name, uint32_t size, uint32_t depth, uint64_t *peer_out)
{
    (void)name;
    (void)depth;
    must((const char *)(const void *)ofi == dummy && size > 0 && size <= OFI_NAME_MAX);
    *peer_out = ++peers;
    return SUBLET_OK;
}

void ofi_peer_remove(struct ofi *ofi, uint64_t peer)
{
    must((const char *)(const void *)ofi == dummy && peer > 0 && peers > 0);
    peers--;
}

const char *ofi_provider(const struct ofi *ofi)
{
    must((const char *)(const void *)ofi == dummy);
    return opened;
}

bool ofi_is_plain(const struct ofi *ofi)
{
    must((const char *)(const void *)ofi == dummy);
    return opened_plain;
}

sublet_status ofi_name(const struct ofi *ofi, void *bytes, uint32_t capacity, uint32_t *size_out)
{
    must((const char *)(const void *)ofi == dummy && capacity == OFI_NAME_MAX);
    memset(bytes, 7, 16);
    *size_out = 16;
    return SUBLET_OK;
}

int ofi_fd(const struct ofi *ofi)
{
    (void)ofi;
    return -1;
}

bool ofi_may_sleep(struct ofi *ofi)
{
    (void)ofi;
    return true;
}

#endif
