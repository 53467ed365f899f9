/**
 * An adapter is an entry of a class in /sys, which is a link to its device. Both are shown, and where the device
 * belongs to a larger one (a PCI function), that one: libraries look there for vendor, model and NUMA node. Files keep
 * owner and mode, so that a site's rules for /dev hold for guests, too; mounts are read-only, which device files
 * ignore.
 *
 * Devices are bound, not made: a node that has none shows none. What is missing is no error, since sites differ: then
 * the executor finds no adapter and its clients come over TCP.
 */
#include "launch/fabric.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/root.h"

enum { NAMES_MAX = 6, ENTRIES_MAX = 64 };

/** Prefixes of device files in a directory, and classes below /sys/class. */
struct needs {
    const char *directory;
    const char *devices[NAMES_MAX];
    const char *classes[NAMES_MAX];
};

static const struct needs verbs = {
    "/dev/infiniband", {"uverbs", "rdma_cm"}, {"infiniband", "infiniband_verbs", "misc/rdma_cm"}};
static const struct needs cxi = {"/dev", {"cxi"}, {"cxi", "cxi_user"}};
static const struct needs hfi = {"/dev", {"hfi1_"}, {"infiniband", "hfi1"}};

static const struct {
    const char *provider;
    const struct needs *needs; /* NULL: sockets only */
} providers[] = {{"verbs;ofi_rxm", &verbs},
                 {"efa", &verbs},
                 {"psm3", &verbs},
                 {"cxi", &cxi},
                 {"opx", &hfi},
                 {"net", NULL},
                 {"tcp", NULL},
                 {"tcp;ofi_rxm", NULL}};

static int find(const char *provider)
{
    for (size_t i = 0; provider != NULL && i < sizeof(providers) / sizeof(providers[0]); i++)
        if (strcmp(providers[i].provider, provider) == 0)
            return (int)i;
    return -1;
}

bool fabric_is_known(const char *provider)
{
    return find(provider) >= 0;
}

/** Shows what is not there already: an adapter's device may lie in one that was shown before. */
static int show(const char *path)
{
    return access(path + 1, F_OK) == 0 ? 0 : root_bind(path, false);
}

static int show_devices(const struct needs *needs)
{
    DIR *directory = opendir(needs->directory);
    int result = 0;
    if (directory == NULL)
        return errno == ENOENT ? 0 : -1;
    for (struct dirent *entry; result == 0 && (entry = readdir(directory)) != NULL;)
        for (size_t i = 0; i < NAMES_MAX && needs->devices[i] != NULL; i++) {
            char path[PATH_BYTES];
            struct stat info;
            if (strncmp(entry->d_name, needs->devices[i], strlen(needs->devices[i])) != 0)
                continue;
            snprintf(path, sizeof(path), "%.200s/%.255s", needs->directory, entry->d_name);
            if (stat(path, &info) == 0 && S_ISCHR(info.st_mode))
                result = root_bind(path, true);
        }
    closedir(directory);
    return result;
}

/** `path` is a link to a device: shows what it leads to, and makes the link. */
static int show_link(const char *path)
{
    char link[PATH_BYTES], device[PATH_MAX], parent[PATH_MAX], way[PATH_BYTES + 8];
    ssize_t size = readlink(path, link, sizeof(link) - 1);
    if (size <= 0 || realpath(path, device) == NULL)
        return -1;
    link[size] = '\0';
    snprintf(way, sizeof(way), "%s/device", path);
    if (realpath(way, parent) == NULL || strncmp(parent, device, strlen(parent)) != 0)
        strcpy(parent, device);
    if (strncmp(parent, "/sys/devices/", 13) != 0) {
        errno = EINVAL;
        return -1;
    }
    return show(parent) != 0 ? -1 : root_symlink(link, path);
}

/** All entries of a class; one that is itself a device (misc/rdma_cm); or nothing, where there is none. */
static int show_class(const char *name)
{
    char path[PATH_BYTES];
    struct stat info;
    snprintf(path, sizeof(path), "/sys/class/%.100s", name);
    if (lstat(path, &info) != 0)
        return errno == ENOENT ? 0 : -1;
    if (S_ISLNK(info.st_mode))
        return show_link(path);
    DIR *class = opendir(path);
    int result = class == NULL ? -1 : 0, count = 0;
    for (struct dirent *entry; result == 0 && count < ENTRIES_MAX && (entry = readdir(class)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        count++;
        snprintf(path, sizeof(path), "/sys/class/%.100s/%.255s", name, entry->d_name);
        if (lstat(path, &info) == 0)
            result = S_ISLNK(info.st_mode) ? show_link(path) : show(path);
    }
    if (class != NULL)
        closedir(class);
    return result;
}

/** verbs asks for the host's own name. */
static int name_host(const char *host_name)
{
    char text[256];
    int fd = open("etc/hosts", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    if (fd < 0)
        return -1;
    int size = snprintf(text, sizeof(text), "127.0.0.1 localhost\n127.0.1.1 %.120s\n", host_name);
    bool ok = write(fd, text, (size_t)size) == size;
    close(fd);
    return ok ? 0 : -1;
}

const char *fabric_show(const char *provider, const char *host_name)
{
    int at = find(provider);
    if (at < 0)
        return NULL;
    if (name_host(host_name) != 0)
        return "make /etc/hosts";
    const struct needs *needs = providers[at].needs;
    if (needs == NULL)
        return NULL;
    if (show_devices(needs) != 0)
        return needs->directory;
    for (size_t i = 0; i < NAMES_MAX && needs->classes[i] != NULL; i++)
        if (show_class(needs->classes[i]) != 0)
            return needs->classes[i];
    /* Which library drives which adapter. */
    if (needs == &verbs && access("/etc/libibverbs.d", F_OK) == 0 && show("/etc/libibverbs.d") != 0)
        return "/etc/libibverbs.d";
    return NULL;
}
