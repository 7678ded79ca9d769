/* subscribe.c - GET and QUERY: from a request to a stream. PROTOCOL 2 and 6.
 *
 * The stream's position in the hub's sequence is fixed before the answer begins: whatever is published once the client
 * has seen the first byte reaches it, whether brokerd has heard of its matchers by then or not.
 */
#include "hub_request.h"

#include <ap_mpm.h>
#include <apr_strings.h>
#include <http_log.h>
#include <http_protocol.h>
#include <openssl/rand.h>
#include <stdlib.h>

#include "child.h"
#include "clock.h"
#include "h2_request.h"
#include "hold.h"

#include "mercure/sse.h"

APLOG_USE_MODULE(mercure);

/* Everything known of a subscription before it is answered. */
typedef struct {
    const hub_request *q;
    hub_credentials credentials;
    mercure_subscription asked;
    streamer *streamer;
    uint64_t position;
    const char *cursor; /* the answer's Mercure-Last-Event-ID; NULL: none */
    counters_ticket ticket;
    const stream_carrier *carrier;
} subscription;

/* --- reading the request --- */

static int read_parameters(subscription *sub, bool *answered)
{
    request_rec *r = sub->q->r;
    char *query = r->args != NULL ? apr_pstrdup(r->pool, r->args) : NULL;
    const char *header = apr_table_get(r->headers_in, "Last-Event-ID");
    mercure_form forms[2];
    size_t count = 1;
    mercure_error err;
    int status;

    mercure_form_begin(&forms[0], query, query != NULL ? strlen(query) : 0);
    if (strcmp(r->method, "QUERY") == 0) {
        status = read_form_body(sub->q, &forms[count++], answered);
        if (*answered) {
            return status;
        }
    }
    *answered = true;
    switch (mercure_subscription_from_forms(r->pool, forms, count, sub->q->base, config_dialects(sub->q->dir) != 0,
                                            &sub->asked, &err)) {
    case MERCURE_OK:
        break;
    case MERCURE_SYSTEM:
        return answer_retry(sub->q, HTTP_SERVICE_UNAVAILABLE, 5, err.reason);
    default:
        if (sub->asked.asks_legacy && sub->asked.matchers->nelts == 0) {
            answer_hint(sub->q, "a subscription with topic= is one of protocol 0.x");
        }
        return answer_refuse(sub->q, HTTP_BAD_REQUEST, err.reason);
    }
    if (header != NULL) {
        sub->asked.last_event_id = mercure_str_of(header);
    }
    *answered = false;
    return OK;
}

/* Fix where the stream begins. */
static mercure_status find_position(subscription *sub, mercure_error *err)
{
    mercure_history *history = streamer_history_begin(sub->streamer, err);
    mercure_str hub = mercure_str_of(sub->q->hub), cursor = sub->asked.last_event_id;
    mercure_status status;

    if (history == NULL) {
        return MERCURE_STORE;
    }
    status = mercure_history_head(history, hub, &sub->position, err);
    if (status == MERCURE_OK && cursor.data != NULL) {
        sub->cursor = "earliest";
        if (mercure_str_is(cursor, "earliest")) {
            sub->position = 0;
        } else if (cursor.len > 0) {
            status = mercure_history_find(history, hub, cursor, &sub->position, err);
            if (status == MERCURE_OK) {
                sub->cursor = apr_pstrmemdup(sub->q->r->pool, cursor.data, cursor.len);
            }
            status = status == MERCURE_NOT_FOUND ? MERCURE_OK : status;
        }
    }
    streamer_history_end(sub->streamer);
    return status;
}

/* --- limits --- */

static void leave_connection(const subscription *sub)
{
    if (sub->carrier->owns_connection) {
        atomic_fetch_sub(&sub->streamer->connections, 1);
    }
}

static int admit(subscription *sub, bool *answered)
{
    const hub_request *q = sub->q;
    counters_request request = {.max_subscribers = q->dir->max_subscribers > 0 ? (uint64_t)q->dir->max_subscribers : 0,
                                .max_per_client = q->dir->max_per_client > 0 ? (uint64_t)q->dir->max_per_client : 0};

    *answered = true;
    if (sub->carrier->owns_connection && !child_admit_connection(sub->streamer)) {
        return answer_retry(q, HTTP_SERVICE_UNAVAILABLE, 10,
                            "this child holds as many streams as its descriptors allow: raise LimitNOFILE (ulimit -n)");
    }
    if (child_counters() != NULL) {
        request.hub = request.max_subscribers > 0 ? counters_key(child_counters(), "hub", q->hub, "", 0) : 0;
        request.address = request.max_per_client > 0
                              ? counters_address_key(child_counters(), "address", q->hub, q->r->useragent_ip)
                              : 0;
        request.token = request.max_per_client > 0 && sub->credentials.grants != NULL
                            ? counters_key(child_counters(), "token", q->hub, sub->credentials.token_id,
                                           sizeof(sub->credentials.token_id))
                            : 0;
        switch (counters_admit(child_counters(), &request, &sub->ticket)) {
        case COUNTERS_ADMITTED:
            break;
        case COUNTERS_HUB_FULL:
            leave_connection(sub);
            return answer_retry(q, HTTP_TOO_MANY_REQUESTS, 10, "the hub has MercureMaxSubscribers streams");
        case COUNTERS_CLIENT_FULL:
            leave_connection(sub);
            return answer_retry(q, HTTP_TOO_MANY_REQUESTS, 10,
                                "this address or token has MercureMaxSubscribersPerClient streams");
        case COUNTERS_NO_ROOM:
            leave_connection(sub);
            return answer_retry(q, HTTP_SERVICE_UNAVAILABLE, 10, "too many different clients to count in one child");
        }
    }
    *answered = false;
    return OK;
}

static void leave(const subscription *sub)
{
    counters_leave(child_counters(), &sub->ticket);
    leave_connection(sub);
}

/* --- the stream --- */

/* When the stream ends: with the token, and at 80 to 100 % of the longest life, so that reconnects spread. */
static uint64_t end_of(const subscription *sub)
{
    uint64_t now = clock_now_ms(), end = 0;
    int lifetime = config_max_lifetime(sub->q->r->server);
    apr_time_t wall = apr_time_as_msec(apr_time_now());

    if (lifetime > 0) {
        uint64_t longest = (uint64_t)lifetime * 1000;
        uint32_t random = 0;
        /* Without random bytes all have the same, longest life. */
        if (RAND_bytes((unsigned char *)&random, sizeof(random)) != 1) {
            random = UINT32_MAX;
        }
        end = now + longest * 4 / 5 + (longest / 5) * random / UINT32_MAX;
    }
    if (sub->credentials.grants != NULL && mercure_grants_expires(sub->credentials.grants) < INT64_MAX) {
        int64_t left = mercure_grants_expires(sub->credentials.grants) * 1000 - wall;
        /* Not a tick of the timer later than `exp`. */
        uint64_t expiry = now + (left > 2 * TIMER_TICK_MS ? (uint64_t)left - 2 * TIMER_TICK_MS : 1);
        end = end == 0 || expiry < end ? expiry : end;
    }
    return end;
}

static hold_arrival *make_stream(const subscription *sub)
{
    const server_rec *server = sub->q->r->server;
    size_t count = (size_t)sub->asked.matchers->nelts;
    stream *s = stream_create(sub->carrier, count);
    hold_arrival *arrival;

    if (s == NULL) {
        return NULL;
    }
    s->joining = joining_create((const mercure_matcher *)sub->asked.matchers->elts, count, sub->credentials.grants);
    arrival = s->joining != NULL ? hold_arrival_create(s, sub->q->hub) : NULL;
    if (arrival == NULL) {
        if (s->joining != NULL) {
            joining_free(s->joining);
        }
        stream_release(s);
        return NULL;
    }
    arrival->vanished_after_ms = (unsigned)config_heartbeat(server) * 1000;
    s->grants = sub->credentials.grants != NULL ? mercure_grants_hold(sub->credentials.grants) : NULL;
    s->position = sub->position;
    s->end_ms = end_of(sub);
    s->counted = sub->ticket;
    s->limits = (stream_limits){(unsigned)config_heartbeat(server) * 1000,
                                (unsigned)config_dispatch_timeout(server) * 1000, config_max_pending(server)};
    return arrival;
}

/* --- answering --- */

static void set_headers(const subscription *sub)
{
    request_rec *r = sub->q->r;

    ap_set_content_type(r, "text/event-stream");
    apr_table_setn(r->headers_out, "Cache-Control", "private, no-cache, no-store, must-revalidate, max-age=0");
    apr_table_setn(r->headers_out, "X-Accel-Buffering", "no");
    if (sub->cursor != NULL) {
        apr_table_setn(r->headers_out, "Mercure-Last-Event-ID", sub->cursor);
        if (config_dialects(sub->q->dir) != 0) {
            apr_table_setn(r->headers_out, "Last-Event-ID", sub->cursor);
        }
    }
}

/* The headers and the first comment, at once. */
static bool send_beginning(request_rec *r)
{
    return ap_rputs(MERCURE_SSE_COMMENT, r) >= 0 && ap_rflush(r) >= 0 && !r->connection->aborted;
}

static bool worker_must_go(request_rec *r)
{
    conn_rec *c = r->connection;
    int state = AP_MPMQ_RUNNING;

    ap_mpm_query(AP_MPMQ_MPM_STATE, &state);
    return c->aborted || (c->master != NULL && c->master->aborted) || state == AP_MPMQ_STOPPING;
}

/* Write what the streamer has left. False when the client is gone. */
static bool write_taken(request_rec *r, outbox *out)
{
    bool good = true;

    while (out->first != NULL) {
        good = good && ap_rwrite(out->first->at, (int)out->first->left, r) >= 0;
        outbox_written(out, out->first->left);
    }
    return good && ap_rflush(r) >= 0;
}

/* In the streamer's thread: the worker has written all that there was, or has left. */
static void worker_wrote(streamer *st, void *data)
{
    blocking *b = data;
    stream *s = *blocking_stream(b);

    if (s != NULL) {
        hub_stream_drained(st, s);
    }
    blocking_release(b);
}

static void worker_left(streamer *st, void *data)
{
    blocking *b = data;
    stream *s = *blocking_stream(b);

    if (s != NULL) {
        stream_close(st, s, false);
    }
    blocking_release(b);
}

/* Keep this worker, and write what comes. */
static void wait_and_write(request_rec *r, streamer *st, blocking *b)
{
    outbox out;

    while (blocking_take(b, &out, 1000)) {
        bool wrote_something = out.first != NULL;
        if (!write_taken(r, &out) || worker_must_go(r)) {
            break;
        }
        blocking_wrote(b);
        if (wrote_something && !streamer_post(st, worker_wrote, blocking_hold(b))) {
            blocking_release(b);
            break;
        }
    }
    outbox_clear(&out);
}

static int subscribe_blocking(const subscription *sub, hold_arrival *arrival)
{
    request_rec *r = sub->q->r;
    const dir_config *dir = sub->q->dir;
    unsigned most = child_blocking_most(), most_here = child_blocking_most_here();
    blocking *b;

    arrival->stream->carrier = &carrier_blocking;
    arrival->stream->blocking = NULL;

    if (dir->max_blocking != UNSET && (!dir->max_blocking_is_tenants || dir->max_blocking < most)) {
        most = (unsigned)dir->max_blocking;
        most_here = most;
    }
    if (child_counters() == NULL || !counters_block(child_counters(), most, most_here)) {
        hold_arrival_discard(sub->streamer, arrival);
        return answer_retry(sub->q, HTTP_TOO_MANY_REQUESTS, 10,
                            "this stream would block a worker (HTTP/2 through mod_http2, or an unknown filter), and "
                            "MercureMaxBlocking of them do");
    }
    b = blocking_create();
    arrival->stream->blocking = b;
    set_headers(sub);
    if (b == NULL || !send_beginning(r)) {
        hold_arrival_discard(sub->streamer, arrival);
    } else {
        hold_arrive(sub->streamer, arrival);
        wait_and_write(r, sub->streamer, b);
        if (!streamer_post(sub->streamer, worker_left, blocking_hold(b))) {
            blocking_release(b); /* no memory: the stream ends when its heartbeat finds that nobody takes anything */
        }
    }
    if (b != NULL) {
        blocking_release(b);
    }
    counters_unblock(child_counters());
    r->connection->keepalive = AP_CONN_CLOSE; /* without a length, the end of the connection ends the stream */
    return OK;
}

static int subscribe_held(const subscription *sub, hold_arrival *arrival)
{
    request_rec *r = sub->q->r;

    set_headers(sub);
    r->connection->keepalive = AP_CONN_CLOSE; /* so that there is neither a length nor chunks: raw bytes follow */
    if (!send_beginning(r) || !hold_take_over(r->connection, sub->streamer, hold_take_stream, arrival)) {
        hold_arrival_discard(sub->streamer, arrival);
        r->connection->aborted = 1; /* a stream that cannot go on must not look as if it had ended well */
    }
    return OK;
}

/* A stream of an HTTP/2 connection that is ours already. */
static int subscribe_h2(const subscription *sub, hold_arrival *arrival, h2_exchange *exchange)
{
    set_headers(sub);
    if (send_beginning(sub->q->r)) {
        h2_exchange_become_stream(exchange, arrival);
    } else {
        hold_arrival_discard(sub->streamer, arrival);
    }
    return OK;
}

int hub_subscribe(const hub_request *q)
{
    subscription sub = {.q = q};
    h2_exchange *exchange;
    hold_arrival *arrival;
    const char *obstacle;
    mercure_error err;
    bool answered;
    int status = auth_credentials(q, MERCURE_ROLE_SUBSCRIBER, &sub.credentials, &answered);

    if (answered) {
        return status;
    }
    if (sub.credentials.grants == NULL && q->dir->anonymous != 1) {
        return answer_challenge(q, HTTP_UNAUTHORIZED, NULL,
                                "a subscription without a token, and MercureAnonymous is Off");
    }
    status = read_parameters(&sub, &answered);
    if (answered) {
        return status;
    }
    sub.streamer = child_streamer(q->r->server, &err);
    if (sub.streamer == NULL || find_position(&sub, &err) != MERCURE_OK) {
        return answer_retry(q, HTTP_SERVICE_UNAVAILABLE, 1, err.reason);
    }
    if (q->r->header_only) {
        set_headers(&sub);
        return OK;
    }
    exchange = h2_request_exchange(q->r);
    sub.carrier = exchange != NULL ? &carrier_h2 : &carrier_held;
    status = admit(&sub, &answered);
    if (answered) {
        return status;
    }
    arrival = make_stream(&sub);
    if (arrival == NULL) {
        leave(&sub);
        return answer_retry(q, HTTP_SERVICE_UNAVAILABLE, 10, "no memory for one more stream");
    }
    hold_remove_filters(q->r);
    if (exchange != NULL) {
        return subscribe_h2(&sub, arrival, exchange);
    }
    obstacle = hold_obstacle(q->r);
    if (obstacle == NULL) {
        return subscribe_held(&sub, arrival);
    }
    ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, q->r, "mercure: this stream holds a worker, because of %s", obstacle);
    return subscribe_blocking(&sub, arrival);
}
