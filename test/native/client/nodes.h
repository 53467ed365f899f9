/**
 * Other nodes for a test: network namespaces, each joined to the test's own by a cable (a veth pair). When the power of
 * one is cut nothing comes from it any more, no FIN, no RST, and nobody is told. Needs root and iproute2.
 */
#ifndef SUBLET_TEST_CLIENT_NODES_H
#define SUBLET_TEST_CLIENT_NODES_H

#include <stdbool.h>
#include <stdint.h>

struct node {
    int space;        /* its network namespace */
    int control;      /* a socket there, for its end of the cable */
    char address[16]; /* of the node; ours on that cable is the one before */
};

/** Moves this thread, and threads that it starts from now on, to a network namespace of its own; false, and says why.
 */
bool nodes_begin(void);
/** Moves it back. */
void nodes_end(void);

void node_make(struct node *node, uint32_t number);
/** Sockets that this thread makes, and processes that it starts, are the node's from here until it leaves. */
void node_enter(const struct node *node);
void node_leave(void);
/** Takes the cable out, at the node's end. */
void node_cut(const struct node *node);
/** Gives back what the test keeps of it. Only when nobody waits for it any more: its end of the cable goes with it. */
void node_free(struct node *node);

#endif
