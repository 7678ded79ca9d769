/* hub.c - a hub's membership and its feed; the joining of streams. See hub.h for the rules; fanout.c sends.
 */
#include "hub_internal.h"

#include <stdlib.h>
#include <string.h>

#include "streamer.h"

/* --- hubs come and go --- */

static hub *find_hub(streamer *st, mercure_str name)
{
    return apr_hash_get(st->hubs, name.data, (apr_ssize_t)name.len);
}

static hub *create_hub(streamer *st, mercure_str name)
{
    hub *h = calloc(1, sizeof(*h));

    if (h == NULL) {
        return NULL;
    }
    h->name = malloc(name.len);
    h->index = mercure_index_create();
    if (h->name == NULL || h->index == NULL) {
        mercure_index_destroy(h->index);
        free(h->name);
        free(h);
        return NULL;
    }
    memcpy(h->name, name.data, name.len);
    h->name_len = name.len;
    h->fresh = true;
    apr_hash_set(st->hubs, h->name, (apr_ssize_t)h->name_len, h);
    return h;
}

/* Free a hub that nobody needs any more. */
void hub_drop_if_unused(streamer *st, hub *h)
{
    if (h->streams != NULL || h->jobs > 0) {
        return;
    }
    fanout_clear(st, h);
    apr_hash_set(st->hubs, h->name, (apr_ssize_t)h->name_len, NULL);
    mercure_index_destroy(h->index);
    free(h->name);
    free(h);
}

static mercure_str hub_name(const hub *h)
{
    return (mercure_str){h->name, h->name_len};
}

/* --- reading the history --- */

static replay_job *create_job(hub *h, uint64_t after)
{
    replay_job *job = calloc(1, sizeof(*job));

    if (job == NULL) {
        return NULL;
    }
    job->hub_name = malloc(h->name_len);
    if (job->hub_name == NULL) {
        free(job);
        return NULL;
    }
    memcpy(job->hub_name, h->name, h->name_len);
    job->hub_name_len = h->name_len;
    job->hub = h;
    job->after = after;
    h->jobs++;
    return job;
}

static void read_for_stream(streamer *st, stream *s)
{
    joining *j = s->joining;
    replay_job *job = st->stopping ? NULL : create_job(s->hub, s->position);

    if (job == NULL) {
        stream_close(st, s, st->stopping);
        return;
    }
    job->joining = j;
    j->reading = true;
    j->collecting = true; /* from now on, again if it had stopped */
    j->must_read = false;
    replay_submit(st->replay, job);
}

static void read_for_feed(streamer *st, hub *h)
{
    replay_job *job;

    if (h->reading || h->feed != FEED_CATCHING_UP || fanout_waiting(h) || st->stopping) {
        return; /* one at a time; and what was read is sent first */
    }
    job = create_job(h, h->fed);
    if (job == NULL) {
        return; /* the next delivery, registration or second tries again */
    }
    h->reading = true;
    replay_submit(st->replay, job);
}

void hub_feed_wants_more(streamer *st, hub *h)
{
    read_for_feed(st, h);
}

/* --- joining --- */

/* All is known: let the stream go live with what was collected. */
static void go_live(streamer *st, stream *s)
{
    joining *j = s->joining;
    collected one;

    s->joining = NULL;
    j->stream = NULL;
    stream_hold(s);
    while (joining_take(j, &one)) {
        if (!s->closed && one.sequence > s->position) {
            s->position = one.sequence;
            stream_send(st, s, one.buffer, one.event.data, one.event.len);
        }
        buffer_release(one.buffer);
    }
    joining_free(j);
    stream_release(s);
}

/* Take a joining stream one step further, if it can go. */
static void advance(streamer *st, stream *s)
{
    joining *j = s->joining;

    if (j->waiting > 0 || j->reading || !stream_idle(s)) {
        return; /* hub_registered(), hub_replay_done() or hub_stream_drained() will call again */
    }
    if (j->must_read || !j->collecting) {
        read_for_stream(st, s);
    } else {
        go_live(st, s);
    }
}

void hub_stream_drained(streamer *st, stream *s)
{
    if (s->joining != NULL) {
        advance(st, s);
    }
}

/* Register a matcher with brokerd. The nonce tells the answer from one to an earlier request for the same. */
static void ask_for(streamer *st, hub *h, mercure_index_entry *entry)
{
    entry->phase = ENTRY_ASKED;
    entry->since = ++st->asked;
    link_register(st->link, hub_name(h), &entry->matcher.key, entry->since);
}

static bool add_members(streamer *st, hub *h, stream *s)
{
    joining *j = s->joining;
    size_t i;

    for (i = 0; i < j->count; i++) {
        if (!mercure_index_add(h->index, &j->matchers[i], &s->members[i])) {
            return false;
        }
        if (s->members[i].entry->phase == ENTRY_NEW) {
            ask_for(st, h, s->members[i].entry);
        }
        if (s->members[i].entry->phase != ENTRY_REGISTERED) {
            j->waiting++;
        } else if (s->position < s->members[i].entry->since) {
            j->must_read = true; /* nobody here had asked for it by then */
        }
    }
    return true;
}

void hub_join(streamer *st, mercure_str name, stream *s)
{
    hub *h = find_hub(st, name);
    joining *j = s->joining;

    if (h == NULL && (h = create_hub(st, name)) == NULL) {
        stream_close(st, s, false);
        return;
    }
    s->hub = h;
    s->next = h->streams;
    if (s->next != NULL) {
        s->next->previous = s;
    }
    h->streams = s;
    j->stream = s;
    if (!add_members(st, h, s) || !stream_start(st, s)) {
        stream_close(st, s, false);
        return;
    }
    /* A hub that is new here needs nothing from before its first stream. */
    if (h->fresh) {
        h->fresh = false;
        h->fed = s->position;
        h->dispatched = s->position;
    }
    j->must_read = s->position < h->dispatched || j->must_read;
    advance(st, s);
}

void hub_leave(streamer *st, stream *s)
{
    hub *h = s->hub;
    size_t i;

    if (s->joining != NULL) {
        s->joining->stream = NULL;
        if (!s->joining->reading) {
            joining_free(s->joining);
        }
        s->joining = NULL;
    }
    if (h == NULL) {
        return;
    }
    for (i = 0; i < s->member_count; i++) {
        mercure_index_entry *entry = s->members[i].entry;
        if (entry != NULL && entry->count == 1 && entry->phase != ENTRY_NEW) {
            link_unregister(st->link, hub_name(h), &entry->matcher.key);
        }
        mercure_index_remove(h->index, &s->members[i]);
    }
    if (s->previous != NULL) {
        s->previous->next = s->next;
    } else {
        h->streams = s->next;
    }
    if (s->next != NULL) {
        s->next->previous = s->previous;
    }
    s->hub = NULL;
    hub_drop_if_unused(st, h);
}

/* --- what brokerd says --- */

static void close_members(streamer *st, mercure_index_entry *entry)
{
    size_t left;

    for (left = entry->count; left > 0; left--) {
        stream_close(st, entry->members[left - 1]->owner, false); /* the last one frees the entry */
    }
}

void hub_registered(streamer *st, mercure_str name, const mercure_matcher_key *matcher, mercure_status status,
                    uint64_t nonce, uint64_t head)
{
    hub *h = find_hub(st, name);
    mercure_index_entry *entry = h != NULL ? mercure_index_find(h->index, matcher) : NULL;
    size_t i;

    if (entry == NULL || entry->phase != ENTRY_ASKED || entry->since != nonce) {
        return; /* nobody wants it any more, or it was asked for anew since */
    }
    if (status != MERCURE_OK) {
        close_members(st, entry);
        return;
    }
    entry->phase = ENTRY_REGISTERED;
    entry->since = head;
    h->target = head > h->target ? head : h->target;
    /* From the end, since a stream that closes moves the last one into its place. */
    for (i = entry->count; i > 0; i--) {
        stream *s = entry->members[i - 1]->owner;
        if (s->joining == NULL || s->joining->waiting == 0) {
            continue;
        }
        s->joining->waiting--;
        s->joining->must_read = s->joining->must_read || s->position < head;
        if (entry->count == 1) {
            advance(st, s); /* may free the entry */
            return;
        }
        advance(st, s);
    }
}

static void register_entry(void *context, mercure_index_entry *entry)
{
    const hub_visit *visit = context;

    ask_for(visit->streamer, visit->hub, entry);
}

/* Every stream that joins must hear of each of its matchers again. */
static void wait_anew(hub *h)
{
    stream *s;

    for (s = h->streams; s != NULL; s = s->next) {
        if (s->joining != NULL) {
            s->joining->waiting = s->member_count;
        }
    }
}

void hub_register_all(streamer *st)
{
    apr_hash_index_t *walk;

    for (walk = apr_hash_first(NULL, st->hubs); walk != NULL; walk = apr_hash_next(walk)) {
        hub_visit visit = {st, apr_hash_this_val(walk)};
        wait_anew(visit.hub);
        mercure_index_each(visit.hub->index, register_entry, &visit);
    }
}

void hub_feeds_broken(streamer *st)
{
    apr_hash_index_t *walk;

    for (walk = apr_hash_first(NULL, st->hubs); walk != NULL; walk = apr_hash_next(walk)) {
        hub *h = apr_hash_this_val(walk);
        h->feed = FEED_BROKEN;
    }
}

void hub_catch_up_all(streamer *st)
{
    apr_hash_index_t *walk;

    for (walk = apr_hash_first(NULL, st->hubs); walk != NULL; walk = apr_hash_next(walk)) {
        hub *h = apr_hash_this_val(walk);
        h->feed = FEED_CATCHING_UP;
        h->reread = h->reading; /* a reading that is under way may have begun too early */
        read_for_feed(st, h);
    }
}

void hub_deliver(streamer *st, mercure_str name, uint64_t sequence, zmq_msg_t *message)
{
    hub *h = find_hub(st, name);
    buffer *record;

    if (h == NULL || sequence <= h->fed) {
        return; /* nobody is subscribed any more, or the history gave it already */
    }
    if (zmq_msg_size(message) == 0 && h->feed == FEED_LIVE) {
        h->fed = sequence;
        return;
    }
    if (h->feed == FEED_LIVE && !fanout_full(h)) {
        record = buffer_of_message(message);
        if (record != NULL && fanout_add(st, h, sequence, record)) {
            h->fed = sequence;
            return;
        }
        buffer_release(record);
    }
    h->target = sequence > h->target ? sequence : h->target;
    if (h->feed == FEED_LIVE) {
        h->feed = FEED_CATCHING_UP; /* too much is on its way, or there was no memory: read it later */
    }
    read_for_feed(st, h);
}

/* --- what was read --- */

/* Was anything discarded between what was known and what is left? Then the subscriber must not go on as if it had all.
 */
static bool has_hole(const replay_job *job)
{
    return job->read.first > job->after + 1;
}

/* Close the streams that the discarded updates may have been for. */
static void close_streams_before(streamer *st, hub *h, uint64_t first)
{
    stream *s = h->streams, *next;

    for (; s != NULL; s = next) {
        next = s->next;
        if (s->joining == NULL && s->position + 1 < first) {
            stream_close(st, s, false);
        }
    }
}

static void feed_done(streamer *st, hub *h, replay_job *job)
{
    bool reread = h->reread;

    h->reading = false;
    h->reread = false;
    if (!job->failed && has_hole(job)) {
        close_streams_before(st, h, job->read.first);
    }
    while (job->updates != NULL) {
        replay_update *update = job->updates;
        if (!fanout_add(st, h, update->sequence, update->record)) {
            job->failed = true;
            break;
        }
        h->fed = update->sequence;
        job->updates = update->next;
        free(update);
    }
    if (job->failed || h->feed != FEED_CATCHING_UP) {
        return; /* the streamer tries again from time to time, or when the link is up again */
    }
    h->fed = job->read.last > h->fed ? job->read.last : h->fed;
    if (job->read.at_head && !reread && h->fed >= h->target) {
        h->feed = FEED_LIVE;
        return;
    }
    read_for_feed(st, h);
}

static void stream_done(streamer *st, replay_job *job)
{
    joining *j = job->joining;
    stream *s = j->stream;

    j->reading = false;
    if (s == NULL) {
        joining_free(j);
        return;
    }
    if (job->failed || (has_hole(job) && (j->has_read || job->after > 0))) {
        stream_close(st, s, false); /* it comes back and asks again, and is told what is left */
        return;
    }
    s->position = job->read.last > s->position ? job->read.last : s->position;
    j->must_read = j->must_read || !job->read.at_head;
    j->has_read = true;
    stream_hold(s);
    if (job->events != NULL) {
        stream_send(st, s, job->events, job->events->data, job->events->len);
    }
    if (!s->closed) {
        advance(st, s);
    }
    stream_release(s);
}

void hub_replay_done(streamer *st, replay_job *job)
{
    hub *h = job->hub;

    if (job->joining != NULL) {
        stream_done(st, job);
    } else {
        feed_done(st, h, job);
    }
    h->jobs--;
    replay_job_free(job);
    hub_drop_if_unused(st, h);
}

bool hub_close_one(streamer *st, hub *h)
{
    if (h->streams == NULL) {
        return false;
    }
    stream_close(st, h->streams, true);
    return true;
}

void hub_retry(streamer *st)
{
    apr_hash_index_t *walk;

    for (walk = apr_hash_first(NULL, st->hubs); walk != NULL; walk = apr_hash_next(walk)) {
        read_for_feed(st, apr_hash_this_val(walk));
    }
}
