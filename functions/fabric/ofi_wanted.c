/** What is asked for, and what there may be: answers that need no libfabric. */
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fabric/ofi.h"

const char *ofi_wanted_provider(void)
{
    const char *name = secure_getenv("SUBLET_FABRIC_PROVIDER");
    return name == NULL || name[0] == '\0' ? NULL : name;
}

static bool is_off(const char *name)
{
    const char *value = secure_getenv(name);
    return value != NULL && strcmp(value, "off") == 0;
}

bool ofi_wanted_plain(void)
{
    return is_off("SUBLET_FABRIC_DATA");
}

bool ofi_wanted_copies(void)
{
    return is_off("SUBLET_FABRIC_LEND");
}

const char *ofi_own_address(int fd, char *text, uint32_t size)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        return NULL;
    const void *bytes = address.ss_family == AF_INET
                            ? (const void *)&((const struct sockaddr_in *)(const void *)&address)->sin_addr
                            : (const void *)&((const struct sockaddr_in6 *)(const void *)&address)->sin6_addr;
    return inet_ntop(address.ss_family, bytes, text, size);
}

static bool holds_something(const char *path)
{
    DIR *folder = opendir(path);
    bool found = false;
    if (folder == NULL)
        return false;
    for (struct dirent *entry; !found && (entry = readdir(folder)) != NULL;)
        found = entry->d_name[0] != '.';
    closedir(folder);
    return found;
}

bool ofi_wanted(const char *provider)
{
    if (provider[0] != '\0')
        return strcmp(provider, "none") != 0;
    return holds_something("/sys/class/infiniband") || holds_something("/sys/class/cxi") ||
           access("/dev/hfi1_0", F_OK) == 0;
}

bool ofi_allows(const char *only, const char *provider)
{
    size_t family = strcspn(only, ";");
    return family == 0 || (strcspn(provider, ";") == family && strncmp(only, provider, family) == 0);
}
