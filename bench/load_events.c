/*
 * load_events.c - reads the events of a stream, checks every update that arrives by its publisher and number, and
 * gives account at the end: what is lost, and whether the subscribers of a topic have seen one order.
 */
#include "load_stream.h"

#include <stdlib.h>
#include <string.h>

#define LINE_LIMIT (64 * 1024 * 1024)

/* ---- which update belongs where ---- */

struct lane lane_of(uint32_t publisher, uint32_t topic)
{
    uint32_t home = publisher % opt.topics;

    if (opt.topic_mode == TOPIC_ONE)
        return (struct lane){.first = 0, .step = home == topic};
    return (struct lane){.first = (topic + opt.topics - home) % opt.topics, .step = opt.topics};
}

uint32_t update_topic(uint32_t publisher, uint32_t sequence)
{
    if (opt.topic_mode == TOPIC_ONE)
        return publisher % opt.topics;
    return (uint32_t)(((uint64_t)publisher + sequence) % opt.topics);
}

/* ---- checking ---- */

/* Takes a late update out of the gaps; false when it was not missing. */
static bool track_fill(struct track *t, uint32_t place)
{
    for (uint32_t i = 0; i < t->gap_count; i++) {
        struct gap *g = &t->gaps[i];

        if (place < g->from || place >= g->to)
            continue;
        if (place == g->from && place + 1 == g->to) {
            *g = t->gaps[--t->gap_count];
        } else if (place == g->from) {
            g->from++;
        } else if (place + 1 == g->to) {
            g->to--;
        } else {
            struct gap rest = {.from = place + 1, .to = g->to};
            g->to = place;
            t->gaps = must_alloc(t->gaps, (t->gap_count + 1) * sizeof(*t->gaps));
            t->gaps[t->gap_count++] = rest;
        }
        return true;
    }
    return false;
}

static void stream_deliver(struct stream_thread *t, struct stream *s, uint64_t at)
{
    const struct update_mark *m = &s->mark;
    struct lane lane = {0};
    struct track *track;
    uint32_t place;

    if (m->publisher < opt.publishers)
        lane = lane_of(m->publisher, s->topic);
    if (!lane.step || m->sequence < lane.first || (m->sequence - lane.first) % lane.step) {
        t->result.misrouted++;
        return;
    }
    if (!s->tracks) {
        s->tracks = must_alloc(NULL, opt.publishers * sizeof(*s->tracks));
        memset(s->tracks, 0, opt.publishers * sizeof(*s->tracks));
    }
    track = &s->tracks[m->publisher];
    place = (m->sequence - lane.first) / lane.step;
    if (place < track->next) {
        if (!track_fill(track, place)) {
            t->result.repeated++;
            return;
        }
        t->result.disordered++;
    } else {
        if (place > track->next) {
            track->gaps = must_alloc(track->gaps, (track->gap_count + 1) * sizeof(*track->gaps));
            track->gaps[track->gap_count++] = (struct gap){.from = track->next, .to = place};
        }
        track->next = place + 1;
    }
    s->delivered++;
    s->order_hash = (s->order_hash ^ ((uint64_t)m->publisher << 32 | m->sequence)) * 0x9E3779B97F4A7C15ull;
    s->order_hash ^= s->order_hash >> 29;
    if (!opt.replay)
        histogram_add(&t->result.latency, at > m->sent_ns ? at - m->sent_ns : 0);
}

/* ---- reading events ---- */

static bool read_number(const char **at, const char *end, uint64_t *value)
{
    const char *p = *at;

    *value = 0;
    for (; p < end && *p >= '0' && *p <= '9'; p++)
        *value = *value * 10 + (uint64_t)(*p - '0');
    if (p == *at || p == end || *p != '.')
        return false;
    *at = p + 1;
    return true;
}

/* Our data: "b.RUN.PUBLISHER.SEQUENCE.NANOSECONDS.xxxx" */
static bool read_mark(const char *p, const char *end, struct update_mark *mark)
{
    uint64_t run, publisher, sequence;

    if (end - p < 2 || p[0] != 'b' || p[1] != '.')
        return false;
    p += 2;
    if (!read_number(&p, end, &run) || run != opt.run || !read_number(&p, end, &publisher) ||
        !read_number(&p, end, &sequence) || !read_number(&p, end, &mark->sent_ns))
        return false;
    mark->publisher = (uint32_t)publisher;
    mark->sequence = (uint32_t)sequence;
    return true;
}

void stream_set_id(char **id, const char *text, size_t len)
{
    *id = must_alloc(*id, len + 1);
    memcpy(*id, text, len);
    (*id)[len] = '\0';
}

static void stream_event_end(struct stream_thread *t, struct stream *s, uint64_t at)
{
    if (s->next_id) {
        free(s->last_id);
        s->last_id = s->next_id;
        s->next_id = NULL;
    }
    if (s->has_mark)
        stream_deliver(t, s, at);
    else if (s->has_foreign)
        t->result.foreign++;
    s->has_mark = s->has_foreign = false;
}

/* A line without its end; lines end with LF or CRLF (a lone CR is not known to any hub). */
static void stream_line(struct stream_thread *t, struct stream *s, const char *line, size_t len, uint64_t at)
{
    const char *end = line + len, *value;

    if (len && end[-1] == '\r')
        end--;
    if (line == end) {
        stream_event_end(t, s, at);
    } else if (end - line >= 5 && memcmp(line, "data:", 5) == 0) {
        value = line + 5;
        if (value < end && *value == ' ')
            value++;
        if (!s->has_mark) {
            s->has_mark = read_mark(value, end, &s->mark);
            s->has_foreign = !s->has_mark;
        }
    } else if (opt.reconnect && end - line >= 3 && memcmp(line, "id:", 3) == 0) {
        value = line + 3;
        if (value < end && *value == ' ')
            value++;
        stream_set_id(&s->next_id, value, (size_t)(end - value));
    }
}

bool stream_text(struct stream_thread *t, struct stream *s, const char *p, size_t len, uint64_t at)
{
    const char *end = p + len, *newline;

    t->result.body_bytes += len;
    while (p < end && (newline = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        if (s->carry.len) {
            bytes_append(&s->carry, p, (size_t)(newline - p));
            stream_line(t, s, s->carry.data, s->carry.len, at);
            bytes_free(&s->carry);
        } else {
            stream_line(t, s, p, (size_t)(newline - p), at);
        }
        p = newline + 1;
    }
    bytes_append(&s->carry, p, (size_t)(end - p));
    return s->carry.len <= LINE_LIMIT;
}

/* ---- the account at the end ---- */

static uint64_t lost_between(uint32_t publisher, struct lane lane, uint32_t from, uint32_t to)
{
    uint64_t lost = 0;

    for (uint32_t place = from; place < to; place++) {
        uint64_t sequence = lane.first + (uint64_t)place * lane.step;

        if (sequence >= publisher_sequence_end(publisher))
            break;
        /* Nothing is promised of an update that the hub has not accepted. */
        lost += publisher_accepted(publisher, (uint32_t)sequence);
    }
    return lost;
}

static uint64_t stream_lost(const struct stream *s)
{
    static const struct track nothing;
    uint64_t lost = 0;

    for (uint32_t p = 0; p < opt.publishers; p++) {
        const struct track *t = s->tracks ? &s->tracks[p] : &nothing;
        struct lane lane = lane_of(p, s->topic);

        if (!lane.step)
            continue;
        for (uint32_t i = 0; i < t->gap_count; i++)
            lost += lost_between(p, lane, t->gaps[i].from, t->gaps[i].to);
        lost += lost_between(p, lane, t->next, UINT32_MAX);
    }
    return lost;
}

struct order_vote {
    uint64_t hash;
    uint64_t weight;
};

/*
 * Subscribers of one topic must have seen one order. Which one, the majority says (a vote by
 * Boyer and Moore: each disagreement takes away one voice of the candidate).
 */
static void streams_check_order(struct stream_result *result, const bool *complete)
{
    struct order_vote *votes = must_alloc(NULL, opt.topics * sizeof(*votes));

    memset(votes, 0, opt.topics * sizeof(*votes));
    for (uint32_t i = 0; i < opt.streams; i++) {
        const struct stream *s = &all_streams[i];
        struct order_vote *v = &votes[s->topic];

        if (!complete[i])
            continue;
        if (v->weight == 0)
            *v = (struct order_vote){.hash = s->order_hash, .weight = 1};
        else if (v->hash == s->order_hash)
            v->weight++;
        else
            v->weight--;
    }
    for (uint32_t i = 0; i < opt.streams; i++)
        if (complete[i] && all_streams[i].order_hash != votes[all_streams[i].topic].hash)
            result->order_disagrees++;
    free(votes);
}

static void result_add(struct stream_result *sum, const struct stream_result *r)
{
    for (int i = 0; i < OUTCOMES; i++)
        sum->refused[i] += r->refused[i];
    sum->ended += r->ended;
    sum->reconnects += r->reconnects;
    sum->reconnects_refused += r->reconnects_refused;
    sum->repeated += r->repeated;
    sum->disordered += r->disordered;
    sum->misrouted += r->misrouted;
    sum->foreign += r->foreign;
    sum->body_bytes += r->body_bytes;
    histogram_merge(&sum->latency, &r->latency);
}

void streams_check(struct stream_result *result, const struct publish_result *published)
{
    bool *complete;

    memset(result, 0, sizeof(*result));
    if (!threads)
        return;
    for (uint32_t i = 0; i < thread_count; i++)
        result_add(result, &threads[i].result);
    result->expected = streams_expected(published);
    complete = must_alloc(NULL, (opt.streams + 1) * sizeof(*complete));
    for (uint32_t i = 0; i < opt.streams; i++) {
        uint64_t lost = all_streams[i].ever_open ? stream_lost(&all_streams[i]) : 0;

        result->lost += lost;
        complete[i] = all_streams[i].ever_open && lost == 0;
    }
    streams_check_order(result, complete);
    free(complete);
}
