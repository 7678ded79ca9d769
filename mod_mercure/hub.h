/* hub.h - one hub (tenant) inside the streamer of one child: who is subscribed, what is on its way to them, and how far
 * this child has got in the hub's sequence.
 *
 * Everything here belongs to the streamer's thread.
 *
 * Two rules make "nothing lost, nothing twice":
 *  - the *feed* of a hub brings its updates in the order of the sequence. It is live (brokerd forwards what our
 * matchers match) or, after anything may have been missed, it catches up: it reads the history from the last sequence
 * it is sure of, and drops what arrives live, until it has read past all that it dropped.
 *  - a stream has a position: updates up to it are settled. A new stream starts at the position its handler fixed
 *    before it answered; while it is *joining* it collects what the feed brings and reads the history from its
 * position, then it drops of the collected what the history gave already, and is live.
 */
#ifndef MOD_MERCURE_HUB_H
#define MOD_MERCURE_HUB_H

#include <stdint.h>

#include "joining.h"
#include "replay.h"
#include "stream.h"

#include "mercure/index.h"
#include "mercure/update.h"

typedef struct hub hub;

/* An entry's phase, in a hub's index. `since` is, once it was asked for, the request's nonce; once it is registered,
 * the sequence after which its updates are forwarded.
 */
enum { ENTRY_NEW = 0, ENTRY_ASKED, ENTRY_REGISTERED };

/* A stream, with its `joining` and `position`, joins the hub of this name. Closes it when the system refuses. */
void hub_join(struct streamer *st, mercure_str name, stream *s);

/* A stream leaves its hub, and with the last one the hub goes. */
void hub_leave(struct streamer *st, stream *s);

/* The stream's connection has taken all that was written: go on reading the history for it, if it is joining. */
void hub_stream_drained(struct streamer *st, stream *s);

/* brokerd forwards an update, whose bytes are taken over; or, with an empty message, says that everything up to
 * `sequence` was forwarded.
 */
void hub_deliver(struct streamer *st, mercure_str name, uint64_t sequence, zmq_msg_t *message);

/* brokerd has answered the registration of a matcher with this nonce: everything after `head` will be forwarded. Or,
 * with another status than OK, it will not: the streams that asked for it are closed.
 */
void hub_registered(struct streamer *st, mercure_str name, const mercure_matcher_key *matcher, mercure_status status,
                    uint64_t nonce, uint64_t head);

/* The link to brokerd is new: ask for everything again. */
void hub_register_all(struct streamer *st);

/* The link to brokerd is gone: whatever arrives no longer counts until the next hub_catch_up_all(). */
void hub_feeds_broken(struct streamer *st);

/* Something may have been missed, in any hub: catch up from the history. */
void hub_catch_up_all(struct streamer *st);

/* The history has been read. */
void hub_replay_done(struct streamer *st, replay_job *job);

/* Close one stream of a hub, cleanly; false when it has none. */
bool hub_close_one(struct streamer *st, hub *h);

/* From time to time: try again what could not be read. */
void hub_retry(struct streamer *st);

/* Send a part of what is on its way. Returns true when there is more: call again soon. */
bool hub_work(struct streamer *st);

#endif
