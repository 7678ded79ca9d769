/* hub_internal.h - what hub.c (membership, feed) and fanout.c (sending) share. */
#ifndef MOD_MERCURE_HUB_INTERNAL_H
#define MOD_MERCURE_HUB_INTERNAL_H

#include "hub.h"
#include "streamer.h"

typedef enum {
    FEED_LIVE = 0,    /* what brokerd forwards is all there is */
    FEED_CATCHING_UP, /* the history is read; what arrives meanwhile is dropped, and read too */
    FEED_BROKEN       /* no link: what arrives is dropped, reading waits for the link */
} feed_state;

/* An update on its way to the streams. */
typedef struct fanout_update {
    struct fanout_update *next;
    uint64_t sequence;
    buffer *buffer; /* the record */
    mercure_record record;
} fanout_update;

struct hub {
    char *name;
    size_t name_len;
    mercure_index *index; /* members are streams */
    stream *streams;
    bool fresh;    /* no stream has joined yet */
    unsigned jobs; /* readings under way, which need the hub */
    /* the feed: */
    feed_state feed;
    uint64_t fed;    /* updates up to here were put on their way, or match nobody */
    uint64_t target; /* catching up is not done before this sequence was read */
    bool reading;
    bool reread; /* read once more before going live */
    /* the fan-out: */
    ring working; /* of hubs with updates on their way */
    fanout_update *first, *last;
    size_t waiting_bytes;
    uint64_t dispatched; /* the newest update whose recipients were chosen */
    fanout_update *current;
    stream **recipients; /* of `current` */
    size_t recipient_count, recipient_room, next_recipient;
};

typedef struct {
    streamer *streamer;
    hub *hub;
} hub_visit;

/* Put an update on its way. Takes over the buffer when it succeeds; false when it is damaged or there is no memory. */
bool fanout_add(streamer *st, hub *h, uint64_t sequence, buffer *record);

/* Is anything on its way? Is it as much as one hub may have? */
bool fanout_waiting(const hub *h);
bool fanout_full(const hub *h);

/* Forget what is on its way. */
void fanout_clear(streamer *st, hub *h);

/* Free a hub that has neither streams nor readings under way. */
void hub_drop_if_unused(streamer *st, hub *h);

/* fanout.c's call: everything was sent, the feed may be read further. */
void hub_feed_wants_more(streamer *st, hub *h);

#endif
