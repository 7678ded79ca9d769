/* counters.h - how many streams there are, over all children of httpd: for the limits of PROTOCOL 2.
 *
 * A table in shared memory, made by httpd's parent before the children. Each child writes only to its own part and
 * reads all: a child that is killed takes its counts with it (the parent clears its part), and no lock is shared
 * between processes.
 */
#ifndef MOD_MERCURE_COUNTERS_H
#define MOD_MERCURE_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct counters counters;

/* Make the table for at most `children` processes. NULL when the system refuses. Never freed: it lives as long as
 * httpd. */
counters *counters_create(unsigned children);

/* The parent's: a child has ended. */
void counters_child_ended(counters *c, pid_t pid);

/* A child's: take a part of the table. Without a free part the child counts nothing and limits nothing; false then. */
bool counters_claim(counters *c, pid_t pid);

/* A key for one kind of thing in one hub: the same in every child, and not to be guessed outside. Never 0. */
uint64_t counters_key(const counters *c, const char *kind, const char *hub, const void *value, size_t len);

/* A key for a client's address in one hub; of an IPv6 address the network (/64) counts, since its owner has all of
 * that. */
uint64_t counters_address_key(const counters *c, const char *kind, const char *hub, const char *address);

/* What is limited, and by how much; 0 is no limit. */
typedef struct {
    uint64_t hub, address, token; /* keys; 0: not counted */
    uint64_t max_subscribers;     /* of the hub */
    uint64_t max_per_client;      /* of the address, and of the token */
} counters_request;

/* The places that a stream takes up, to be given back. */
typedef struct {
    uint64_t keys[3];
} counters_ticket;

typedef enum {
    COUNTERS_ADMITTED,
    COUNTERS_HUB_FULL,
    COUNTERS_CLIENT_FULL,
    COUNTERS_NO_ROOM /* the child's part is full of other clients */
} counters_answer;

/* Admit a stream if the limits allow. Never admits more than the limit; two at once at its very edge may both be
 * refused. Safe from any thread.
 */
counters_answer counters_admit(counters *c, const counters_request *request, counters_ticket *ticket);
void counters_leave(counters *c, const counters_ticket *ticket);

/* Blocking streams: at most `most_here` in this child and `most` in all. */
bool counters_block(counters *c, unsigned most, unsigned most_here);
void counters_unblock(counters *c);

#endif
