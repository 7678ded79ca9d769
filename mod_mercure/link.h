/* link.h - a child's link to brokerd: publishing, what is forwarded, and the control channel (wire.h).
 *
 * Belongs to the streamer's thread, but for link_publish(). The link comes and goes with brokerd; what it brings is
 * reported to hub.h.
 */
#ifndef MOD_MERCURE_LINK_H
#define MOD_MERCURE_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "mercure/error.h"
#include "mercure/history.h"
#include "mercure/matcher.h"

struct streamer;

typedef struct broker_link broker_link;

/* Open the sockets; brokerd need not be there. NULL with the reason when the system refuses. */
broker_link *link_open(struct streamer *st, const char *socket_dir, mercure_error *err);
void link_close(broker_link *l);

/* Watch the link's descriptors; their events call link_work(). */
bool link_watch(broker_link *l, int epoll, void *tag);

/* Take what has arrived, send what is due. Returns true when there is more: call again soon.
 * Must be called before every wait, because ZeroMQ's descriptors tell of changes only.
 */
bool link_work(broker_link *l);

/* When link_work() wants to be called without an event, in the clock's milliseconds. */
uint64_t link_due(const broker_link *l);

/* Say that a matcher is wanted, or no longer. Without a link nothing is sent: see hub_register_all(). */
void link_register(broker_link *l, mercure_str hub, const mercure_matcher_key *matcher, uint64_t nonce);
void link_unregister(broker_link *l, mercure_str hub, const mercure_matcher_key *matcher);

/* Say that the key set at a URL is in use, or that it lacks a key. Without a link nothing is sent: all that is in use
 * is said when it comes.
 */
void link_want_keys(broker_link *l, mercure_str url, bool lacking);

/* Publish a record, from a handler's thread, and wait for brokerd's answer.
 *
 * Returns MERCURE_OK when the update is committed; MERCURE_STORE when the storage refused it; MERCURE_SYSTEM when
 * brokerd did not answer in time or cannot be reached; the reason in `err`.
 */
mercure_status link_publish(struct streamer *st, mercure_str hub, mercure_retention retention, mercure_str record,
                            mercure_error *err);

#endif
