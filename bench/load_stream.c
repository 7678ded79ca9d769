/*
 * load_stream.c - subscribers: each thread opens its share of the SSE streams with a bounded
 * number of connects in flight, reads their events and checks every update that arrives.
 */
#include "load.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define READ_SIZE (256 * 1024)
#define HEAD_LIMIT (64 * 1024)
#define LINE_LIMIT (64 * 1024 * 1024)
#define EVENTS_PER_WAIT 512

/* Updates of a lane, by their place in it, that were passed over: [from, to) */
struct gap {
    uint32_t from;
    uint32_t to;
};

/* What one subscriber has seen of one publisher. */
struct track {
    uint32_t next; /* place in the lane that comes next */
    uint32_t gap_count;
    struct gap *gaps;
};

enum stream_state {
    STREAM_IDLE,
    STREAM_CONNECTING,
    STREAM_SENDING,
    STREAM_HEAD,
    STREAM_OPEN,
    STREAM_DONE
};

struct update_mark {
    uint32_t publisher;
    uint32_t sequence;
    uint64_t sent_ns;
};

/* Kept small: tens of thousands of these live in one process. */
struct stream {
    struct connection link;
    uint32_t number;
    uint32_t topic;
    uint8_t state;
    bool ever_open;
    bool chunked;
    bool has_mark;    /* the event being read is one of our updates */
    bool has_foreign; /* it has data, but not from this run */
    struct chunks chunks;
    struct bytes carry; /* the request to send, then a head or line that is not yet complete */
    struct update_mark mark;
    char *last_id;
    char *next_id; /* id of the event being read; counts only once that event is complete */
    struct track *tracks;
    struct stream *retry_next;
    uint64_t since_ns; /* when this connect began, or when the next one is due */
    uint64_t order_hash;
    uint64_t delivered;
};

struct stream_thread {
    pthread_t thread;
    bool started;
    int epoll_fd;
    struct stream *streams;
    uint32_t count;
    uint32_t next;      /* first stream not yet begun */
    uint32_t in_flight; /* connects whose answer is awaited */
    uint32_t connects;
    struct stream *retry_first, *retry_last;
    char *buffer;
    atomic_ullong settled, opened, open_now, delivered, last_open_ns, last_delivery_ns;
    struct stream_result result; /* read by others only after the thread has been joined */
};

static struct stream_thread *threads;
static struct stream *all_streams;
static atomic_bool streams_stopping;
static uint64_t streams_began_ns;

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

static void stream_set_id(char **id, const char *text, size_t len)
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

static bool stream_text(struct stream_thread *t, struct stream *s, const char *p, size_t len, uint64_t at)
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

/* False when the stream has come to its end. */
static bool stream_body(struct stream_thread *t, struct stream *s, const char *p, size_t len, uint64_t at)
{
    const char *piece;
    size_t piece_len, used;

    if (!s->chunked)
        return stream_text(t, s, p, len, at);
    while (len) {
        used = chunks_step(&s->chunks, p, len, &piece, &piece_len);
        if (piece_len && !stream_text(t, s, piece, piece_len, at))
            return false;
        if (s->chunks.state == CHUNK_END || s->chunks.state == CHUNK_BAD)
            return false;
        p += used;
        len -= used;
    }
    return true;
}

/* ---- the life of a stream ---- */

static void stream_close(struct stream *s)
{
    connection_close(&s->link);
    bytes_free(&s->carry);
    free(s->next_id);
    s->next_id = NULL;
    s->has_mark = s->has_foreign = false;
    s->state = STREAM_DONE;
}

static void stream_retry_later(struct stream_thread *t, struct stream *s)
{
    s->since_ns = now_ns() + opt.reconnect_delay_ms * NS_PER_MS;
    s->retry_next = NULL;
    if (t->retry_last)
        t->retry_last->retry_next = s;
    else
        t->retry_first = s;
    t->retry_last = s;
}

/* An attempt to open came to nothing. */
static void stream_refused(struct stream_thread *t, struct stream *s, int outcome)
{
    t->in_flight--;
    stream_close(s);
    if (s->ever_open) {
        t->result.reconnects_refused++;
        stream_retry_later(t, s);
        return;
    }
    t->result.refused[outcome]++;
    atomic_fetch_add(&t->settled, 1);
}

static void stream_ended(struct stream_thread *t, struct stream *s)
{
    t->result.ended++;
    atomic_fetch_sub(&t->open_now, 1);
    stream_close(s);
    if (opt.reconnect)
        stream_retry_later(t, s);
}

static void stream_opened(struct stream_thread *t, struct stream *s, const struct http_head *head)
{
    t->in_flight--;
    s->state = STREAM_OPEN;
    s->chunked = head->chunked;
    s->chunks = (struct chunks){0};
    /* The hub may say where the stream starts: enough to resume even before the first event. */
    if (opt.reconnect && !s->last_id && head->last_event_id[0])
        stream_set_id(&s->last_id, head->last_event_id, strlen(head->last_event_id));
    atomic_fetch_add(&t->open_now, 1);
    if (s->ever_open) {
        t->result.reconnects++;
        return;
    }
    s->ever_open = true;
    atomic_fetch_add(&t->opened, 1);
    atomic_store(&t->last_open_ns, now_ns());
    atomic_fetch_add(&t->settled, 1);
}

static void stream_request(struct stream *s)
{
    const struct url *url = &opt.subscribe;
    const char *id = s->last_id;
    char topic[512];

    topic_name(topic, sizeof(topic), s->topic);
    bytes_format(&s->carry, "GET ");
    template_expand(&s->carry, url->path, topic);
    bytes_format(&s->carry, " HTTP/1.1\r\nHost: %s:%u\r\n", url->host, url->port);
    bytes_format(&s->carry, "Accept: text/event-stream\r\nCache-Control: no-cache\r\n");
    if (opt.subscriber_token)
        bytes_format(&s->carry, "Authorization: Bearer %s\r\n", opt.subscriber_token);
    if (!id && opt.replay && strcmp(opt.replay, "none") != 0)
        id = opt.replay;
    if (id)
        bytes_format(&s->carry, "Last-Event-ID: %s\r\n", id);
    bytes_format(&s->carry, "%s\r\n", opt.headers ? opt.headers : "");
}

static void stream_send(struct stream_thread *t, struct stream *s)
{
    size_t sent = 0;
    enum io outcome = connection_write(&s->link, s->carry.data, s->carry.len, &sent);

    if (outcome == IO_FAILED) {
        stream_refused(t, s, OUTCOME_CLOSED);
        return;
    }
    if (outcome == IO_AGAIN) { /* keep what has not gone out */
        memmove(s->carry.data, s->carry.data + sent, s->carry.len - sent);
        s->carry.len -= (uint32_t)sent;
        connection_watch(&s->link, t->epoll_fd, s->link.wanted, s);
        return;
    }
    bytes_free(&s->carry);
    s->state = STREAM_HEAD;
    connection_watch(&s->link, t->epoll_fd, EPOLLIN, s);
}

static void stream_connecting(struct stream_thread *t, struct stream *s)
{
    switch (connection_ready(&s->link)) {
    case IO_AGAIN:
        connection_watch(&s->link, t->epoll_fd, s->link.wanted, s);
        return;
    case IO_FAILED:
        stream_refused(t, s, s->link.connected ? OUTCOME_TLS : OUTCOME_CONNECT);
        return;
    default:
        stream_request(s);
        s->state = STREAM_SENDING;
        stream_send(t, s);
    }
}

static void stream_begin(struct stream_thread *t, struct stream *s)
{
    const struct url *url = &opt.subscribe;
    uint16_t port = opt.port_count ? opt.ports[s->number % opt.port_count] : url->port;

    t->in_flight++;
    s->since_ns = now_ns();
    s->state = STREAM_CONNECTING;
    if (!connection_open(&s->link, url, port, s->number)) {
        stream_refused(t, s, OUTCOME_CONNECT);
        return;
    }
    connection_watch(&s->link, t->epoll_fd, EPOLLOUT, s);
}

/* A piece of the body has been read. */
static void stream_take(struct stream_thread *t, struct stream *s, const char *data, size_t len)
{
    uint64_t at = now_ns(), before = s->delivered;
    bool goes_on = stream_body(t, s, data, len, at);

    if (s->delivered != before) {
        atomic_store_explicit(&t->last_delivery_ns, at, memory_order_relaxed);
        atomic_fetch_add_explicit(&t->delivered, s->delivered - before, memory_order_relaxed);
    }
    if (!goes_on)
        stream_ended(t, s);
}

/* What of the bytes follows the head is the beginning of the body. */
static void stream_head(struct stream_thread *t, struct stream *s, const char *data, size_t len)
{
    struct http_head head;
    struct bytes whole = {0};
    ssize_t used;

    if (s->carry.len) {
        bytes_append(&s->carry, data, len);
        whole = s->carry;
        s->carry = (struct bytes){0};
        data = whole.data;
        len = whole.len;
    }
    used = http_parse_head(data, len, &head);
    if (used == 0 && len < HEAD_LIMIT) {
        if (whole.data)
            s->carry = whole;
        else
            bytes_append(&s->carry, data, len);
        return;
    }
    if (used <= 0) {
        stream_refused(t, s, OUTCOME_MALFORMED);
    } else if (head.status != 200) {
        stream_refused(t, s, head.status);
    } else {
        stream_opened(t, s, &head);
        stream_take(t, s, data + used, len - (size_t)used);
    }
    bytes_free(&whole);
}

static void stream_read(struct stream_thread *t, struct stream *s)
{
    ssize_t n;

    /* One read for each readiness, so that a busy stream does not starve the others. */
    do {
        n = connection_read(&s->link, t->buffer, READ_SIZE);
        if (n == READ_AGAIN) {
            connection_watch(&s->link, t->epoll_fd, s->link.wanted, s);
            return;
        }
        if (n <= 0 && s->state == STREAM_HEAD) {
            stream_refused(t, s, OUTCOME_CLOSED);
        } else if (n <= 0) {
            stream_ended(t, s);
        } else if (s->state == STREAM_HEAD) {
            stream_head(t, s, t->buffer, (size_t)n);
        } else {
            stream_take(t, s, t->buffer, (size_t)n);
        }
    } while (s->link.fd >= 0 && connection_pending(&s->link));
}

static void stream_ready(struct stream_thread *t, struct stream *s)
{
    if (s->state == STREAM_CONNECTING)
        stream_connecting(t, s);
    else if (s->state == STREAM_SENDING)
        stream_send(t, s);
    else if (s->state == STREAM_HEAD || s->state == STREAM_OPEN)
        stream_read(t, s);
}

/* ---- threads ---- */

static void thread_begin_streams(struct stream_thread *t)
{
    uint64_t now;

    while (t->in_flight < t->connects && t->next < t->count)
        stream_begin(t, &t->streams[t->next++]);
    if (!t->retry_first)
        return;
    now = now_ns();
    while (t->retry_first && t->in_flight < t->connects && t->retry_first->since_ns <= now) {
        struct stream *s = t->retry_first;

        t->retry_first = s->retry_next;
        if (!t->retry_first)
            t->retry_last = NULL;
        stream_begin(t, s);
    }
}

static void thread_expire(struct stream_thread *t)
{
    uint64_t limit = (uint64_t)(opt.answer_timeout * 1e9), now = now_ns();

    for (uint32_t i = 0; t->in_flight && i < t->next; i++) {
        struct stream *s = &t->streams[i];
        bool waiting = s->state >= STREAM_CONNECTING && s->state <= STREAM_HEAD;

        if (waiting && now - s->since_ns > limit)
            stream_refused(t, s, OUTCOME_TIMEOUT);
    }
}

static void *thread_run(void *argument)
{
    struct stream_thread *t = argument;
    struct epoll_event events[EVENTS_PER_WAIT];
    uint64_t expired_ns = now_ns();

    while (!atomic_load_explicit(&streams_stopping, memory_order_relaxed)) {
        int n;

        thread_begin_streams(t);
        /* With connects that failed at once there is more to begin than to wait for. */
        n = epoll_wait(t->epoll_fd, events, EVENTS_PER_WAIT,
                       t->in_flight < t->connects && t->next < t->count ? 0 : 20);
        for (int i = 0; i < n; i++)
            stream_ready(t, events[i].data.ptr);
        if (now_ns() - expired_ns > NS_PER_SECOND) {
            thread_expire(t);
            expired_ns = now_ns();
        }
    }
    return NULL;
}

static bool thread_start(struct stream_thread *t, uint32_t number)
{
    uint32_t share = opt.streams / opt.threads, more = opt.streams % opt.threads;
    uint32_t first = share * number + (number < more ? number : more);

    t->streams = &all_streams[first];
    t->count = share + (number < more);
    t->connects = (opt.connects + opt.threads - 1) / opt.threads;
    t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    t->buffer = must_alloc(NULL, READ_SIZE);
    t->started = t->epoll_fd >= 0 && pthread_create(&t->thread, NULL, thread_run, t) == 0;
    if (!t->started)
        fprintf(stderr, "bench-load: cannot start a thread for the streams: %s\n", strerror(errno));
    return t->started;
}

bool streams_start(void)
{
    all_streams = must_alloc(NULL, (opt.streams + 1) * sizeof(*all_streams));
    memset(all_streams, 0, (opt.streams + 1) * sizeof(*all_streams));
    for (uint32_t i = 0; i < opt.streams; i++) {
        all_streams[i].link.fd = -1;
        all_streams[i].number = i;
        all_streams[i].topic = i % opt.topics;
    }
    threads = must_alloc(NULL, opt.threads * sizeof(*threads));
    memset(threads, 0, opt.threads * sizeof(*threads));
    streams_began_ns = now_ns();
    for (uint32_t i = 0; i < opt.threads; i++)
        if (!thread_start(&threads[i], i))
            return false;
    return true;
}

struct stream_totals streams_totals(void)
{
    struct stream_totals sum = {0};

    for (uint32_t i = 0; threads && i < opt.threads; i++) {
        struct stream_thread *t = &threads[i];
        uint64_t open_ns = atomic_load(&t->last_open_ns), delivery_ns = atomic_load(&t->last_delivery_ns);

        sum.settled += atomic_load(&t->settled);
        sum.opened += atomic_load(&t->opened);
        sum.open_now += atomic_load(&t->open_now);
        sum.delivered += atomic_load(&t->delivered);
        if (open_ns > sum.last_open_ns)
            sum.last_open_ns = open_ns;
        if (delivery_ns > sum.last_delivery_ns)
            sum.last_delivery_ns = delivery_ns;
    }
    return sum;
}

/* Valid once all streams have settled: ever_open does not change after that. */
uint64_t streams_expected(const struct publish_result *published)
{
    uint64_t expected = 0;

    for (uint32_t i = 0; all_streams && i < opt.streams; i++)
        if (all_streams[i].ever_open)
            expected += published->per_topic[all_streams[i].topic];
    return expected;
}

void streams_stop(void)
{
    atomic_store(&streams_stopping, true);
    for (uint32_t i = 0; threads && i < opt.threads; i++)
        if (threads[i].started)
            pthread_join(threads[i].thread, NULL);
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
    result->began_ns = streams_began_ns;
    for (uint32_t i = 0; i < opt.threads; i++)
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

void streams_free(void)
{
    for (uint32_t i = 0; all_streams && i < opt.streams; i++) {
        struct stream *s = &all_streams[i];

        if (s->state != STREAM_IDLE)
            stream_close(s);
        for (uint32_t p = 0; s->tracks && p < opt.publishers; p++)
            free(s->tracks[p].gaps);
        free(s->tracks);
        free(s->last_id);
    }
    for (uint32_t i = 0; threads && i < opt.threads; i++) {
        if (threads[i].epoll_fd >= 0)
            close(threads[i].epoll_fd);
        free(threads[i].buffer);
    }
    free(all_streams);
    free(threads);
    all_streams = NULL;
    threads = NULL;
}
