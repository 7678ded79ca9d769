/* fanout.c - one update to all the streams that want it, and many hubs side by side.
 *
 * When an update's turn has come its recipients are chosen at once, through the index, and each stream's position is
 * moved: a stream that matches in several ways gets it once. Sending to thousands takes tens of milliseconds, so it is
 * done in slices, the hubs in turn: no hub waits for another's crowd.
 */
#include "hub_internal.h"

#include <stdlib.h>

#include "streamer.h"

#define SLICE 256 /* deliveries before the next hub has its turn */
#define WAITING_BYTES                                                                                                  \
    (16u << 20) /* of updates on their way in one hub; past it the hub reads them from the history                     \
                 */

bool fanout_waiting(const hub *h)
{
    return h->current != NULL || h->first != NULL;
}

bool fanout_full(const hub *h)
{
    return h->waiting_bytes >= WAITING_BYTES;
}

/* --- updates --- */

bool fanout_add(streamer *st, hub *h, uint64_t sequence, buffer *record)
{
    fanout_update *update = calloc(1, sizeof(*update));

    if (update == NULL ||
        mercure_record_parse((mercure_str){record->data, record->len}, &update->record, NULL) != MERCURE_OK) {
        free(update);
        return false;
    }
    update->sequence = sequence;
    update->buffer = record;
    if (h->last != NULL) {
        h->last->next = update;
    } else {
        h->first = update;
    }
    h->last = update;
    h->waiting_bytes += record->len;
    ring_enter(&st->working, &h->working);
    return true;
}

static void free_update(fanout_update *update)
{
    buffer_release(update->buffer);
    free(update);
}

static void drop_waiting(hub *h)
{
    while (h->first != NULL) {
        fanout_update *next = h->first->next;
        free_update(h->first);
        h->first = next;
    }
    h->last = NULL;
    h->waiting_bytes = 0;
}

void fanout_clear(streamer *st, hub *h)
{
    ring_leave(&st->working, &h->working);
    while (h->next_recipient < h->recipient_count) {
        stream_release(h->recipients[h->next_recipient++]);
    }
    free(h->recipients);
    h->recipients = NULL;
    h->recipient_count = h->recipient_room = h->next_recipient = 0;
    if (h->current != NULL) {
        free_update(h->current);
        h->current = NULL;
    }
    drop_waiting(h);
}

/* --- recipients --- */

typedef struct {
    hub *hub;
    const fanout_update *update;
    mercure_topic *topics;       /* the update's */
    const mercure_grants *asked; /* the grants asked last, and the answer: a crowd often shares a token */
    bool may_read;
    bool no_memory;
} choosing;

static bool may_read(choosing *c, const stream *s)
{
    if (!c->update->record.is_private) {
        return true;
    }
    if (s->grants == NULL) {
        return false;
    }
    if (s->grants != c->asked) {
        c->asked = s->grants;
        c->may_read = mercure_grants_may_read(s->grants, &c->update->record, c->topics);
    }
    return c->may_read;
}

static bool add_recipient(hub *h, stream *s)
{
    if (h->recipient_count == h->recipient_room) {
        size_t room = h->recipient_room == 0 ? 64 : h->recipient_room * 2;
        stream **recipients = realloc(h->recipients, room * sizeof(*recipients));
        if (recipients == NULL) {
            return false;
        }
        h->recipients = recipients;
        h->recipient_room = room;
    }
    h->recipients[h->recipient_count++] = stream_hold(s);
    return true;
}

static void choose(void *context, mercure_index_entry *entry)
{
    choosing *c = context;
    size_t i;

    for (i = 0; i < entry->count; i++) {
        stream *s = entry->members[i]->owner;
        if (c->update->sequence <= s->position || !may_read(c, s)) {
            continue;
        }
        if (s->joining != NULL) {
            const joining *j = s->joining;
            if (j->last == NULL || j->last->sequence < c->update->sequence) {
                joining_collect(s->joining, c->update->sequence, c->update->buffer, c->update->record.event);
            }
            continue;
        }
        if (!add_recipient(c->hub, s)) {
            c->no_memory = true;
            return;
        }
        s->position = c->update->sequence;
    }
}

/* Take the next update and choose its recipients. */
static void begin_update(streamer *st, hub *h)
{
    fanout_update *update = h->first;
    choosing c = {.hub = h, .update = update, .topics = mercure_record_topics(st->scratch, &update->record)};

    h->first = update->next;
    if (h->first == NULL) {
        h->last = NULL;
    }
    h->waiting_bytes -= update->buffer->len;
    h->current = update;
    h->recipient_count = 0;
    h->next_recipient = 0;
    h->dispatched = update->sequence;
    mercure_index_match(h->index, c.topics, update->record.topic_count, choose, &c);
    apr_pool_clear(st->scratch);
    if (c.no_memory) {
        /* Those who were not chosen keep their position: the history gives them this update, and those behind it, when
         * we read from here again.
         */
        drop_waiting(h);
        h->fed = update->sequence - 1;
        h->feed = h->feed == FEED_BROKEN ? FEED_BROKEN : FEED_CATCHING_UP;
    }
}

/* Send up to a slice. Returns with the hub out of the ring when nothing is left. */
static void work(streamer *st, hub *h)
{
    size_t budget = SLICE;

    while (budget > 0 && fanout_waiting(h)) {
        if (h->current == NULL) {
            begin_update(st, h);
        }
        h->jobs++; /* a stream that closes may be the hub's last: keep the hub until we are done */
        while (budget > 0 && h->next_recipient < h->recipient_count) {
            stream *s = h->recipients[h->next_recipient++];
            if (!s->closed) {
                mercure_str event = h->current->record.event;
                stream_send(st, s, h->current->buffer, event.data, event.len);
            }
            stream_release(s);
            budget--;
        }
        h->jobs--;
        if (h->next_recipient >= h->recipient_count) {
            free_update(h->current);
            h->current = NULL;
        }
        budget -= budget > 0; /* an update nobody wants costs something too */
    }
    if (!fanout_waiting(h)) {
        ring_leave(&st->working, &h->working);
        hub_feed_wants_more(st, h);
    }
}

bool hub_work(streamer *st)
{
    unsigned turns;

    /* A few hubs at a time, so that events and timers have their turn too. */
    for (turns = 0; turns < 4 && st->working != NULL; turns++) {
        hub *h = (hub *)((char *)st->working - offsetof(hub, working));
        st->working = h->working.next;
        work(st, h);
        hub_drop_if_unused(st, h);
    }
    return st->working != NULL;
}
