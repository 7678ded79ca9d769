/* h2_connection.c - see h2_connection.h.
 *
 * Connections with something to do are in a ring and take turns, each reading and writing a bounded amount at a time.
 * What a session wants to send is put together in one place that all connections share, so that several streams' frames
 * leave in one TLS record; only what the socket did not take is kept.
 */
#include "h2_connection.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "config.h"
#include "hold.h"
#include "hub.h"
#include "ring.h"
#include "stream.h"
#include "streamer.h"

#define READ_AT_ONCE    (64u << 10) /* bytes before the next connection has its turn */
#define WRITE_AT_ONCE   (64u << 10)
#define RECORD          (16u << 10) /* bytes of a TLS record */
#define WHOLE_BODY_MOST (1u << 20)  /* bytes, as MercureMaxBody has it if nobody sets it */
#define TURNS_AT_ONCE   256

typedef struct connection {
    timer timer; /* the first field: a timer that fires is a connection */
    watch watch;
    struct connection *next, *previous; /* of all */
    ring ready;                         /* of those with something to do */
    h2_connections *all;
    transport transport;
    h2_session *session;
    h2_lane *lane;
    const char *hub_path;
    char *unsent; /* what the socket did not take; NULL: nothing */
    size_t unsent_len, unsent_at;
    uint64_t written_ms;
    unsigned stalled_ms, events_stalled_ms;
    counters_ticket counted;
    bool readable;  /* there may be more to read */
    bool writable;  /* the socket took all there was */
    bool ending;    /* to be closed once all is sent */
    unsigned round; /* in which it last had its turn */
} connection;

struct h2_connections {
    streamer *streamer;
    h2_pool *pool;
    h2_session_kind *kind;
    connection *first;
    size_t count;
    ring *ready;       /* whose turn is next */
    unsigned round;    /* of turns */
    unsigned long ids; /* guarded by being given out in the streamer's thread only */
    bool going_away;
    char into[WRITE_AT_ONCE + H2_FRAME_MOST];
};

static void close_connection(connection *c, bool clean);

/* --- the ring --- */

static void not_ready(connection *c)
{
    ring_leave(&c->all->ready, &c->ready);
}

/* Behind all others. */
static void make_ready(connection *c)
{
    ring_enter(&c->all->ready, &c->ready);
}

/* Before all others: what a client has sent, and the answers to requests, do not wait behind a crowd's events. Whoever
 * has more to do than a turn's worth goes behind the others for the rest.
 */
static void make_ready_first(connection *c)
{
    not_ready(c);
    make_ready(c);
    c->all->ready = &c->ready;
}

static connection *next_ready(const h2_connections *all)
{
    return all->ready != NULL ? (connection *)((char *)all->ready - offsetof(connection, ready)) : NULL;
}

static connection *connection_of(const h2_stream *s)
{
    return h2_session_get_owner(s->session);
}

void h2_connection_has_work(h2_stream *s)
{
    make_ready(connection_of(s));
}

/* --- requests --- */

/* In the streamer's thread: an exchange has news. */
static void take_news(streamer *st, void *data)
{
    h2_exchange *x = data;
    h2_stream *s = *h2_exchange_tag(x);
    struct hold_arrival *arrival = NULL;
    bool finished = false;

    if (s != NULL) {
        make_ready_first(connection_of(s));
        finished = h2_stream_take_news(s);
    } else {
        finished = h2_exchange_take_end(x);
    }
    if (finished) {
        arrival = h2_exchange_arrival(x);
    }
    if (finished && s != NULL && s->job != NULL) {
        h2_job_drop(s->job); /* the request's memory is of no more use */
        s->job = NULL;
    }
    if (arrival != NULL && s != NULL && s->events == NULL) {
        s->events = arrival->stream;
        arrival->stream->h2 = s;
        hold_arrive_now(st, arrival);
    } else if (arrival != NULL) {
        hold_arrival_discard(st, arrival);
    }
    h2_exchange_release(x);
}

/* Any thread. */
static void on_news(void *context, h2_exchange *x)
{
    if (!streamer_post(context, take_news, h2_exchange_hold(x))) {
        h2_exchange_abort(x); /* no memory: the runner must not wait for ever */
        h2_exchange_release(x);
    }
}

/* Is this the hub's path, or its metadata's, spelt as clients do? Other spellings may lead there too, or elsewhere:
 * their requests run as any others.
 */
static bool is_for_hub(const connection *c, const h2_head *head)
{
    const char *path = h2_head_path(head);
    size_t len = strlen(c->hub_path);

    if (strncmp(path, METADATA_PATH, sizeof(METADATA_PATH) - 1) == 0) {
        path += sizeof(METADATA_PATH) - 1;
    }
    return strncmp(path, c->hub_path, len) == 0 && (path[len] == '?' || path[len] == '\0');
}

static void run_request(void *owner, h2_stream *s)
{
    connection *c = owner;

    *h2_exchange_tag(s->exchange) = s;
    h2_exchange_listen(s->exchange, (h2_exchange_listener){on_news, c->all->streamer});
    /* With its body here, a request for the hub never waits for its client. */
    s->job = h2_pool_run(c->lane, s->exchange, s->id,
                         h2_exchange_body_length(s->exchange) >= 0 && is_for_hub(c, h2_exchange_head(s->exchange)));
    if (s->job == NULL) {
        h2_stream_reset(s, H2_REFUSED_STREAM);
    }
}

/* The hub's own requests run when their body is complete, so that no thread waits for a slow publisher. */
static bool wants_body(void *owner, const h2_head *head, size_t waiting)
{
    const char *length = h2_head_get(head, "content-length");

    return waiting < WHOLE_BODY_MOST && (length == NULL || strtoull(length, NULL, 10) <= WHOLE_BODY_MOST) &&
           is_for_hub(owner, head);
}

static void stream_moved(void *owner, h2_stream *s)
{
    connection *c = owner;

    stream_progressed(c->all->streamer, s->events);
}

static void stream_closed(void *owner, h2_stream *s)
{
    connection *c = owner;
    stream *events = s->events;

    if (s->job != NULL) {
        h2_job_drop(s->job);
        s->job = NULL;
    }
    if (events != NULL) {
        s->events = NULL;
        events->h2 = NULL;
        stream_close(c->all->streamer, events, false);
    }
}

static const h2_session_owner owner_calls = {run_request, wants_body, stream_moved, stream_closed};

/* --- reading and writing --- */

/* False when the connection has failed. */
static bool read_some(connection *c)
{
    char *into = c->all->into;
    size_t total = 0;

    while (c->readable && !c->ending && total < READ_AT_ONCE) {
        ssize_t got = transport_read(&c->transport, into, RECORD);
        if (got < 0) {
            return false;
        }
        if (got == 0) {
            c->readable = false;
            return true;
        }
        total += (size_t)got;
        if (!h2_session_receive(c->session, into, (size_t)got, c->all->streamer->now_ms)) {
            c->ending = true;
        }
    }
    return true;
}

/* Write what the socket takes. Returns the number of bytes, -1 when the connection has failed. */
static ssize_t write_now(connection *c, const char *bytes, size_t len)
{
    size_t written = 0;

    while (written < len && c->writable) {
        ssize_t sent = transport_write(&c->transport, bytes + written, len - written);
        if (sent < 0) {
            return -1;
        }
        if (sent == 0) {
            c->writable = false;
            break;
        }
        written += (size_t)sent;
        c->written_ms = c->all->streamer->now_ms;
    }
    return (ssize_t)written;
}

/* Write bytes; what the socket does not take is kept. False when the connection has failed. */
static bool write_bytes(connection *c, const char *bytes, size_t len)
{
    ssize_t written = write_now(c, bytes, len);

    if (written < 0) {
        return false;
    }
    if ((size_t)written < len) {
        c->unsent_len = len - (size_t)written;
        c->unsent_at = 0;
        c->unsent = malloc(c->unsent_len);
        if (c->unsent == NULL) {
            return false;
        }
        memcpy(c->unsent, bytes + written, c->unsent_len);
    }
    return true;
}

/* What was kept, first. */
static bool write_unsent(connection *c)
{
    ssize_t written = c->unsent != NULL ? write_now(c, c->unsent + c->unsent_at, c->unsent_len - c->unsent_at) : 0;

    if (written < 0) {
        return false;
    }
    c->unsent_at += (size_t)written;
    if (c->unsent != NULL && c->unsent_at == c->unsent_len) {
        free(c->unsent);
        c->unsent = NULL;
    }
    return true;
}

/* Write up to a turn's worth. `*more`: it was not all. */
static bool write_some(connection *c, bool *more)
{
    h2_connections *all = c->all;
    ssize_t len;

    *more = false;
    if (!write_unsent(c)) {
        return false;
    }
    if (c->unsent != NULL) {
        return true;
    }
    len = h2_session_send(c->session, all->into, sizeof(all->into), all->streamer->now_ms);
    if (len < 0 || !write_bytes(c, all->into, (size_t)len)) {
        return false;
    }
    *more = c->writable && (size_t)len > WRITE_AT_ONCE;
    return true;
}

/* How long may the connection take nothing? */
static unsigned stalled_most(const connection *c)
{
    return h2_session_has_requests(c->session) ? c->stalled_ms : c->events_stalled_ms;
}

static void look_at_deadlines(connection *c)
{
    streamer *st = c->all->streamer;
    uint64_t due = UINT64_MAX;

    if (!c->ending && !h2_session_look(c->session, st->now_ms, &due)) {
        c->ending = true;
        make_ready(c);
    }
    if (c->unsent == NULL && c->writable && h2_session_wants_to_send(c->session)) {
        make_ready(c); /* a RST_STREAM for what was too late */
    }
    if (c->unsent != NULL && stalled_most(c) > 0) {
        uint64_t end = c->written_ms + stalled_most(c);
        due = end < due ? end : due;
    }
    if (c->ending && due > st->now_ms + 1000) {
        due = st->now_ms + 1000;
    }
    if (due != UINT64_MAX) {
        timer_arm(&st->wheel, &c->timer, due > st->now_ms ? due : st->now_ms + TIMER_TICK_MS);
    }
}

static void fire(void *context, timer *t)
{
    streamer *st = context;
    connection *c = (connection *)t;

    if (c->unsent != NULL && stalled_most(c) > 0 && st->now_ms >= c->written_ms + stalled_most(c)) {
        transport_forget(&c->transport);
        close_connection(c, false); /* it does not read at all */
        return;
    }
    if (c->readable) {
        make_ready(c); /* what has arrived is read before it is found missing */
        return;
    }
    look_at_deadlines(c);
}

/* A connection's turn. */
static void work(connection *c)
{
    bool more = false;

    if (!read_some(c) || !write_some(c, &more)) {
        close_connection(c, false);
        return;
    }
    h2_session_tell_moved(c->session);
    if (c->unsent == NULL && h2_session_is_over(c->session)) {
        close_connection(c, true);
        return;
    }
    if (more || (c->readable && !c->ending)) {
        make_ready(c);
    }
    look_at_deadlines(c);
}

bool h2_connections_work(h2_connections *all)
{
    connection *c;
    unsigned turns;

    all->round++;
    /* One turn each: then events and timers have theirs. */
    for (turns = 0; turns < TURNS_AT_ONCE && (c = next_ready(all)) != NULL && c->round != all->round; turns++) {
        c->round = all->round;
        not_ready(c);
        work(c);
    }
    return all->ready != NULL;
}

static void on_event(streamer *st, watch *w, unsigned events)
{
    connection *c = (connection *)((char *)w - offsetof(connection, watch));

    (void)st;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        c->readable = true;
    }
    if (events & EPOLLOUT) {
        c->writable = true;
    }
    if (events & (EPOLLHUP | EPOLLERR)) {
        close_connection(c, false);
        return;
    }
    make_ready_first(c);
}

/* --- connections come and go --- */

void h2_arrival_discard(streamer *st, h2_arrival *arrival)
{
    counters_leave(st->counters, &arrival->counted);
    atomic_fetch_sub(&st->connections, 1);
    h2_client_release(arrival->client);
    free(arrival->early);
    free(arrival);
}

static void free_connection(connection *c)
{
    if (c->session != NULL) {
        h2_session_free(c->session);
    }
    if (c->lane != NULL) {
        h2_lane_close(c->lane);
    }
    free(c->unsent);
    free(c);
}

static void close_connection(connection *c, bool clean)
{
    h2_connections *all = c->all;

    timer_cancel(&c->timer);
    not_ready(c);
    h2_session_free(c->session);
    c->session = NULL;
    not_ready(c); /* streams that closed may have made it ready again */
    transport_close(&c->transport, clean);
    if (c->previous != NULL) {
        c->previous->next = c->next;
    } else {
        all->first = c->next;
    }
    if (c->next != NULL) {
        c->next->previous = c->previous;
    }
    all->count--;
    counters_leave(all->streamer->counters, &c->counted);
    atomic_fetch_sub(&all->streamer->connections, 1);
    free_connection(c);
}

/* A connection and the transport that came with its arrival. */
typedef struct {
    h2_arrival *arrival;
    transport transport;
} landing;

static connection *create_connection(streamer *st, const landing *l)
{
    connection *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        return NULL;
    }
    c->timer.fire = fire;
    c->watch.event = on_event;
    c->all = st->h2;
    c->transport = l->transport;
    c->hub_path = l->arrival->hub_path;
    c->stalled_ms = l->arrival->stalled_ms;
    c->events_stalled_ms = l->arrival->events_stalled_ms;
    c->written_ms = st->now_ms;
    c->readable = c->writable = true;
    c->session = h2_session_create(st->h2->kind, &l->arrival->limits, &owner_calls, c, st->now_ms);
    c->lane = h2_lane_create(st->h2->pool, l->arrival->client, ++st->h2->ids);
    if (c->session == NULL || c->lane == NULL) {
        free_connection(c);
        return NULL;
    }
    return c;
}

/* In the streamer's thread. */
static void land(streamer *st, void *data)
{
    landing *l = data;
    connection *c = create_connection(st, l);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};

    if (c != NULL) {
        event.data.ptr = &c->watch;
        if (epoll_ctl(st->epoll, EPOLL_CTL_ADD, c->transport.fd, &event) != 0) {
            free_connection(c);
            c = NULL;
        }
    }
    if (c == NULL) {
        transport_close(&l->transport, false);
        h2_arrival_discard(st, l->arrival);
        free(l);
        return;
    }
    c->next = st->h2->first;
    if (c->next != NULL) {
        c->next->previous = c;
    }
    st->h2->first = c;
    st->h2->count++;
    c->counted = l->arrival->counted;
    l->arrival->counted = (counters_ticket){{0}};
    if (st->h2->going_away) {
        h2_session_go_away(c->session); /* what it asks is refused, and it may ask elsewhere */
    }
    if (l->arrival->early_len > 0 &&
        !h2_session_receive(c->session, l->arrival->early, l->arrival->early_len, st->now_ms)) {
        c->ending = true;
    }
    make_ready(c);
    atomic_fetch_add(&st->connections, 1); /* of what the arrival gives back */
    h2_arrival_discard(st, l->arrival);
    free(l);
}

void h2_connection_arrive(streamer *st, h2_arrival *arrival, int fd, SSL *ssl)
{
    landing *l = calloc(1, sizeof(*l));
    transport t;

    if (!transport_take_over(&t, fd, ssl, arrival->vanished_after_ms)) {
        free(l);
        h2_arrival_discard(st, arrival);
        return;
    }
    if (l != NULL) {
        l->arrival = arrival;
        l->transport = t;
    }
    if (l == NULL || !streamer_post(st, land, l)) {
        free(l);
        transport_close(&t, false);
        h2_arrival_discard(st, arrival);
    }
}

/* --- all of them --- */

h2_connections *h2_connections_create(streamer *st, unsigned threads)
{
    h2_connections *all = calloc(1, sizeof(*all));

    if (all == NULL) {
        return NULL;
    }
    all->streamer = st;
    all->kind = h2_session_kind_create();
    all->pool = all->kind != NULL ? h2_pool_create(threads) : NULL;
    if (all->pool == NULL) {
        h2_session_kind_free(all->kind);
        free(all);
        return NULL;
    }
    return all;
}

void h2_connections_go_away(h2_connections *all)
{
    connection *c;

    all->going_away = true;
    for (c = all->first; c != NULL; c = c->next) {
        h2_session_go_away(c->session);
        make_ready(c);
    }
}

size_t h2_connections_count(const h2_connections *all)
{
    return all->count;
}

void h2_connections_close(h2_connections *all)
{
    while (all->first != NULL) {
        close_connection(all->first, false);
    }
}

bool h2_connections_stop_requests(h2_connections *all, unsigned wait_ms)
{
    return h2_pool_stop(all->pool, wait_ms);
}

void h2_connections_free(h2_connections *all)
{
    h2_pool_free(all->pool);
    h2_session_kind_free(all->kind);
    free(all);
}
