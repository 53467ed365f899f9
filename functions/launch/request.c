#include "launch/request.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "launch/fabric.h"

enum { CORES_BYTES = 1024, PIDS_MAX = 4194304 };

bool lease_is_valid(const char *lease)
{
    size_t size = lease == NULL ? 0 : strlen(lease);
    return size >= 1 && size <= LEASE_MAX &&
           strspn(lease, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == size;
}

/** Absolute, short enough, and without "..", so that what it names can be told from its text. */
static bool path_is_valid(const char *path, size_t room)
{
    return path != NULL && path[0] == '/' && path[1] != '\0' && strlen(path) < room && strstr(path, "/../") == NULL &&
           (strlen(path) < 3 || strcmp(path + strlen(path) - 3, "/..") != 0);
}

static bool tcp_is_valid(const char *text, struct sockaddr_in *address)
{
    char host[INET_ADDRSTRLEN];
    const char *colon = text == NULL ? NULL : strchr(text, ':');
    uint64_t port = 0;
    if (colon == NULL || (size_t)(colon - text) >= sizeof(host) || !parse_number(colon + 1, 65535, &port))
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    memset(address, 0, sizeof(*address));
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &address->sin_addr) == 1;
}

static bool refuse(char why[ERROR_BYTES], const char *key, const char *rule)
{
    snprintf(why, ERROR_BYTES, "START: %s must stand there once and be %s", key, rule);
    return false;
}

/** Every key is known, and only cgroup= may be repeated. */
static bool keys_are_known(const struct message *message, char why[ERROR_BYTES])
{
    static const char *const known[] = {"verb",      "id",    "lease",    "uid",    "gid",  "unix",  "tcp",
                                        "kind",      "cores", "owner",    "memory", "pids", "token", "spin_us",
                                        "slots_max", "meta",  "executor", "cgroup", "pool", "fabric"};
    for (size_t i = 0; i < message->count; i++) {
        const char *key = message->lines[i].key;
        size_t k = 0;
        while (k < sizeof(known) / sizeof(known[0]) && strcmp(known[k], key) != 0)
            k++;
        if (k == sizeof(known) / sizeof(known[0])) {
            snprintf(why, ERROR_BYTES, "START: unknown key %s", key);
            return false;
        }
        if (strcmp(key, "cgroup") != 0 && message_get(message, key) == NULL) {
            snprintf(why, ERROR_BYTES, "START: key %s stands there twice", key);
            return false;
        }
    }
    return true;
}

static bool take_cgroups(const struct message *message, struct start_request *request, bool pilot,
                         char why[ERROR_BYTES])
{
    for (size_t i = 0; i < message->count; i++) {
        if (strcmp(message->lines[i].key, "cgroup") != 0)
            continue;
        if (request->cgroup_count == CGROUPS_MAX || !path_is_valid(message->lines[i].value, PATH_BYTES)) {
            snprintf(why, ERROR_BYTES, "START: cgroup must be an absolute path, at most %d of them", CGROUPS_MAX);
            return false;
        }
        request->cgroups[request->cgroup_count++] = message->lines[i].value;
    }
    if (pilot && request->cgroup_count > 0)
        return refuse(why, "cgroup", "left out: a pilot has none");
    if (pilot)
        return true;
    if (request->cgroup_count == 0)
        snprintf(why, ERROR_BYTES, "START: at least one cgroup= is needed, a guest never runs without limits");
    return request->cgroup_count > 0;
}

bool request_start(const struct message *message, struct start_request *request, bool pilot, char why[ERROR_BYTES])
{
    memset(request, 0, sizeof(*request));
    request->tcp_fd = -1;
    if (!keys_are_known(message, why) || !take_cgroups(message, request, pilot, why))
        return false;
    uint64_t number = 0;
    const char *value = message_get(message, "lease");
    if (!lease_is_valid(value))
        return refuse(why, "lease", "[A-Za-z0-9_-]{1,63}");
    memcpy(request->lease, value, strlen(value) + 1);
    if (!parse_number(message_get(message, "uid"), UINT32_MAX - 1, &number) || number == 0)
        return refuse(why, "uid", "a user id other than 0");
    request->uid = (uid_t)number;
    if (!parse_number(message_get(message, "gid"), UINT32_MAX - 1, &number) || number == 0)
        return refuse(why, "gid", "a group id other than 0");
    request->gid = (gid_t)number;
    value = message_get(message, "unix");
    if (!path_is_valid(value, SOCKET_PATH_BYTES))
        return refuse(why, "unix", "an absolute path of at most 107 bytes");
    memcpy(request->unix_path, value, strlen(value) + 1);
    if (!tcp_is_valid(message_get(message, "tcp"), &request->tcp))
        return refuse(why, "tcp", "IPV4:PORT");
    request->kind = message_get(message, "kind");
    if (request->kind == NULL || (strcmp(request->kind, "function") != 0 && strcmp(request->kind, "region") != 0))
        return refuse(why, "kind", "function or region");
    request->is_region = strcmp(request->kind, "region") == 0;
    request->cores = message_get(message, "cores");
    if (request->cores == NULL || strlen(request->cores) > CORES_BYTES ||
        request->cores[strspn(request->cores, "0123456789,-")] != '\0')
        return refuse(why, "cores", "a list of CPU numbers");
    request->owner = message_get(message, "owner");
    if (!parse_number(request->owner, UINT32_MAX - 1, &number))
        return refuse(why, "owner", "a user id");
    request->owner_uid = (uid_t)number;
    if (pilot && (number != geteuid() || request->uid != geteuid() || request->gid != getegid()))
        return refuse(why, "owner, with uid and gid,", "the user of this pilot");
    if (!parse_number(message_get(message, "memory"), (uint64_t)1 << 50, &request->memory_bytes) ||
        request->memory_bytes == 0)
        return refuse(why, "memory", "a number of bytes");
    /* The limit itself is the pids cgroup's; RLIMIT_NPROC would count the user's batch jobs too. */
    if (!parse_number(message_get(message, "pids"), PIDS_MAX, &number) || number == 0)
        return refuse(why, "pids", "a number of processes");
    request->token = message_get(message, "token");
    if (request->token == NULL || strlen(request->token) != 64 || strspn(request->token, "0123456789abcdef") != 64)
        return refuse(why, "token", "64 lower-case hex digits");
    request->spin_us = message_get(message, "spin_us");
    if (!parse_number(request->spin_us, 1000000, &number))
        return refuse(why, "spin_us", "at most 1000000");
    request->slots_max = message_get(message, "slots_max");
    if (request->slots_max != NULL && !parse_number(request->slots_max, 65536, &number))
        return refuse(why, "slots_max", "at most 65536");
    request->meta = message_get(message, "meta");
    if (request->meta == NULL || strlen(request->meta) > META_MAX)
        return refuse(why, "meta", "at most 4096 bytes");
    request->pool = message_get(message, "pool");
    if (request->pool != NULL && !lease_is_valid(request->pool))
        return refuse(why, "pool", "the name of a prepared guest");
    request->fabric = message_get(message, "fabric");
    if (request->fabric != NULL && strcmp(request->fabric, "none") != 0 && !fabric_is_known(request->fabric))
        return refuse(why, "fabric", "none or a provider that this starter knows");
    request->executor = message_get(message, "executor");
    if (!path_is_valid(request->executor, PATH_BYTES))
        return refuse(why, "executor", "an absolute path");
    return true;
}
