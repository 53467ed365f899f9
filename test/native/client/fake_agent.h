/**
 * An agent for tests: grants what it is told to, in order and on no excluded node, revokes on request, dies and comes
 * back. It keeps the real one's rules: a lease ends with its connection unless another connection has renewed it.
 */
#ifndef SUBLET_TEST_CLIENT_FAKE_AGENT_H
#define SUBLET_TEST_CLIENT_FAKE_AGENT_H

#include <stdbool.h>
#include <stdint.h>

struct grant {
    char id[64];
    char node[64];
    char unix_path[108];
    char tcp_address[64];
    uint8_t token[32];
    uint64_t term_ms;
};

struct fake_agent;

struct fake_agent *fake_agent_start(const char *path);
void fake_agent_stop(struct fake_agent *agent);
/** Closes everything as a kill would; come_back listens again. `forgets`: it knows no lease afterwards. */
void fake_agent_die(struct fake_agent *agent, bool forgets);
void fake_agent_come_back(struct fake_agent *agent);
void fake_agent_offer(struct fake_agent *agent, const struct grant *grant);
/** Sends LocalRevoked (reason BATCH_JOB) to the lease's holder. */
void fake_agent_revoke(struct fake_agent *agent, const char *id);
/** Its executor is gone: it is not granted any more, nor renewed. */
void fake_agent_withdraw(struct fake_agent *agent, const char *id);
/** The lease drains, with this budget: its holder is told, or (quietly) hears of it with its next renewal. */
void fake_agent_drain(struct fake_agent *agent, const char *id, uint64_t budget_ms, bool quietly);
/** Sends bytes that are no frame to every connection. */
void fake_agent_send_garbage(struct fake_agent *agent);
/** Takes requests but does not answer them. */
void fake_agent_be_silent(struct fake_agent *agent, bool silent);

uint32_t fake_agent_renewals(struct fake_agent *agent, const char *id);
bool fake_agent_holds(struct fake_agent *agent, const char *id); /* granted, and neither given back nor dropped */
uint64_t fake_agent_asked_bytes(struct fake_agent *agent);       /* memory of the last request */

#endif
