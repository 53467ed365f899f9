/**
 * sublet-bench-stage SOCKET IPV4 SHARED|APART CORES SPIN_US MIB: one executor and as much of an agent as libsublet asks
 * for a lease, for measurements of the call path alone (who grants leases is not on it).
 *
 * The executor listens on IPV4 and on a unix socket; SHARED grants both ways to it, APART the address alone, as to a
 * client on another node. CORES "none" makes it a region of MIB. Prints the executor's pid when all is ready and ends
 * with its standard input.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/peer.h"
#include "fake_agent.h"

#define GRANTS 4 /* of the same executor: a client may come again */

static void offer(struct fake_agent *agent, const struct executor *executor, const char *address, bool shared)
{
    for (int i = 0; i < GRANTS; i++) {
        struct grant grant = {.node = "bench", .term_ms = 600000};
        snprintf(grant.id, sizeof(grant.id), "bench-%d", i);
        if (shared)
            snprintf(grant.unix_path, sizeof(grant.unix_path), "%s", executor->path);
        snprintf(grant.tcp_address, sizeof(grant.tcp_address), "%s:%u", address, executor->port);
        memcpy(grant.token, executor->token, sizeof(grant.token));
        fake_agent_offer(agent, &grant);
    }
}

int main(int argc, char **argv)
{
    char program[4096], byte;
    struct executor executor;
    struct in_addr address;
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - sizeof("sublet-executor"));
    if (argc != 7 || length <= 0 || inet_pton(AF_INET, argv[2], &address) != 1) {
        fprintf(stderr, "usage: %s SOCKET IPV4 SHARED|APART CORES SPIN_US MIB\n", argv[0]);
        return 2;
    }
    program[length] = '\0';
    strcpy(strrchr(program, '/') + 1, "sublet-executor");
    struct executor_settings settings = {.program = program,
                                         .cores = strcmp(argv[4], "none") == 0 ? NULL : argv[4],
                                         .memory_bytes = strtoull(argv[6], NULL, 10) << 20,
                                         .spin_us = strtoull(argv[5], NULL, 10),
                                         .owner = getuid(),
                                         .address = address.s_addr};
    sublet_status status = executor_start(&settings, &executor);
    if (status != SUBLET_OK) {
        fprintf(stderr, "%s: cannot start the executor: %s\n", argv[0], sublet_status_text(status));
        return 1;
    }
    struct fake_agent *agent = fake_agent_start(argv[1]);
    offer(agent, &executor, argv[2], strcmp(argv[3], "SHARED") == 0);
    printf("%d\n", (int)executor.pid);
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    fake_agent_stop(agent);
    executor_stop(&executor);
    return 0;
}
