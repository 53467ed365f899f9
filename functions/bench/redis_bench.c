/**
 * redis-bench IPV4 PORT: what Redis gives a C client on core 0, told what to measure as measure.h says: set and get of
 * BYTES. Built by test/bench/setup.sh, with hiredis.
 */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/measure.h"

#define BYTES_MAX (16u << 20)

struct client {
    redisContext *redis;
    char *from;
    char *to;
};

static const char *set(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    (void)index;
    redisReply *reply = measure->bytes > BYTES_MAX
                            ? NULL
                            : redisCommand(client->redis, "SET k%llu %b", (unsigned long long)measure->bytes,
                                           client->from, (size_t)measure->bytes);
    bool fine = reply != NULL && reply->type == REDIS_REPLY_STATUS;
    freeReplyObject(reply);
    return fine ? NULL : "redis took no value";
}

static const char *prepare(void *context, const struct measure *measure, uint32_t steps)
{
    return set(context, measure, steps);
}

/** The value ends in a buffer of the caller's, as with a region. */
static const char *get(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    (void)index;
    redisReply *reply = redisCommand(client->redis, "GET k%llu", (unsigned long long)measure->bytes);
    bool fine = reply != NULL && reply->type == REDIS_REPLY_STRING && reply->len == measure->bytes;
    if (fine)
        memcpy(client->to, reply->str, measure->bytes);
    freeReplyObject(reply);
    return fine ? NULL : "redis gave another value";
}

int main(int argc, char **argv)
{
    static const struct measure_kind kinds[] = {{"set", NULL, set, 0}, {"get", prepare, get, 0}, {NULL, NULL, NULL, 0}};
    struct client client = {.from = malloc(BYTES_MAX), .to = malloc(BYTES_MAX)};
    if (argc != 3 || client.from == NULL || client.to == NULL) {
        fprintf(stderr, "usage: %s IPV4 PORT\n", argv[0]);
        return 2;
    }
    memset(client.from, 1, BYTES_MAX);
    memset(client.to, 1, BYTES_MAX);
    measure_pin(0);
    client.redis = redisConnect(argv[1], atoi(argv[2]));
    if (client.redis == NULL || client.redis->err != 0) {
        fprintf(stderr, "%s: no redis at %s:%s\n", argv[0], argv[1], argv[2]);
        return 1;
    }
    return measure_serve(kinds, &client);
}
