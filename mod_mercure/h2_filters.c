/* h2_filters.c - the filters between a request of HTTP/2 and its exchange.
 *
 * What httpd has in HTTP/1.1 for the network and for the protocol is replaced, and nothing else:
 *
 *   httpd's own                 here
 *   CORE_IN (network)           receive()       the request's body out of the exchange, then EOS
 *   HTTP_IN (protocol)          take_body()     its limits, and 100 Continue
 *   HTTP_HEADER (protocol)      h2_answer()     turns the status and the headers into the response's head: h2_answer.c
 *   CORE (network)              send_body()     the response's body into the exchange
 *
 * HTTP_HEADER itself stays in the chain behind h2_answer(), which takes it out when it has answered: ap_die() looks for
 * it to see whether anything was answered yet. Nothing reaches it. CHUNK, which it would add, never comes in.
 *
 * ap_send_interim_response() writes lines of HTTP/1.1 past all of this, straight to the connection's filters. They come
 * before the response's head: 100 is said as HTTP/2 says it, the others are dropped.
 */
#include "h2_request_internal.h"

#include <http_config.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <util_filter.h>

#include "clock.h"
#include "config.h"

APLOG_USE_MODULE(mercure);

#define PIECE (16u << 10) /* bytes of a response's body that are given to the exchange at once */

/* Who sends a body slowly holds a thread, and these are few. A client may let it wait so long, and longer the more has
 * come: what mod_reqtimeout, which sees nothing of this connection, has for a default.
 */
#define BODY_WAIT_MS 20000u
#define BODY_RATE    500u /* bytes a second */

static struct {
    ap_filter_rec_t *receive, *take_body, *answer, *send_body;
    APR_OPTIONAL_FN_TYPE(ap_logio_add_bytes_in) * count_in;
    APR_OPTIONAL_FN_TYPE(ap_logio_add_bytes_out) * count_out;
} filters;

static bool is_gone(h2_run *run)
{
    if (!run->c->aborted && h2_exchange_aborted(run->x)) {
        run->c->aborted = 1;
    }
    return run->c->aborted;
}

void h2_filters_fail(h2_run *run, unsigned reset_code)
{
    if (run->progress != H2_OVER) {
        run->progress = H2_OVER;
        h2_exchange_fail(run->x, reset_code);
    }
}

void h2_filters_count_in(h2_run *run, size_t bytes)
{
    if (filters.count_in != NULL) {
        filters.count_in(run->c, (apr_off_t)bytes);
    }
}

void h2_filters_count_out(h2_run *run, size_t bytes)
{
    if (filters.count_out != NULL) {
        filters.count_out(run->c, (apr_off_t)bytes);
    }
}

/* --- the request's body, from the network --- */

/* How long to wait now for more of the body. */
static unsigned patience(const h2_run *run)
{
    uint64_t allowed = BODY_WAIT_MS + run->body_bytes * 1000 / BODY_RATE;
    uint64_t left = allowed > run->body_waited_ms ? allowed - run->body_waited_ms : 0;

    return left < run->timeout_ms ? (unsigned)left : run->timeout_ms;
}

/* Make sure that there is something of the body in run->received, unless it has ended. */
static apr_status_t await_body(h2_run *run, apr_read_type_e block)
{
    apr_bucket_alloc_t *alloc = run->c->bucket_alloc;
    uint64_t before;
    ssize_t got;
    char *bytes;

    if (run->body_ended || !APR_BRIGADE_EMPTY(run->received)) {
        return APR_SUCCESS;
    }
    bytes = apr_bucket_alloc(APR_BUCKET_BUFF_SIZE, alloc);
    before = clock_now_ms();
    got = h2_exchange_read(run->x, bytes, APR_BUCKET_BUFF_SIZE, block == APR_NONBLOCK_READ ? 0 : patience(run));
    run->body_waited_ms += clock_now_ms() - before;
    if (got > 0) {
        apr_bucket *b = apr_bucket_heap_create(bytes, (apr_size_t)got, apr_bucket_free, alloc);
        APR_BRIGADE_INSERT_TAIL(run->received, b);
        run->body_bytes += (uint64_t)got;
        return APR_SUCCESS;
    }
    apr_bucket_free(bytes);
    if (got == 0) {
        run->body_ended = true;
        return APR_SUCCESS;
    }
    if (got == -1) {
        run->c->aborted = 1;
        return APR_ECONNABORTED;
    }
    return block == APR_NONBLOCK_READ ? APR_EAGAIN : APR_TIMEUP;
}

/* Move, or copy, the first `most` bytes of what was received. */
static apr_status_t take_received(h2_run *run, apr_bucket_brigade *bb, apr_off_t most, bool copy)
{
    apr_bucket *end, *b, *next;
    apr_status_t rv = apr_brigade_partition(run->received, most, &end);

    if (rv != APR_SUCCESS && rv != APR_INCOMPLETE) {
        return rv;
    }
    for (b = APR_BRIGADE_FIRST(run->received); b != end && b != APR_BRIGADE_SENTINEL(run->received); b = next) {
        next = APR_BUCKET_NEXT(b);
        if (copy) {
            apr_bucket *twin;
            rv = apr_bucket_copy(b, &twin);
            if (rv != APR_SUCCESS) {
                return rv;
            }
            APR_BRIGADE_INSERT_TAIL(bb, twin);
        } else {
            APR_BUCKET_REMOVE(b);
            APR_BRIGADE_INSERT_TAIL(bb, b);
        }
    }
    return APR_SUCCESS;
}

static apr_status_t receive(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode, apr_read_type_e block,
                            apr_off_t most)
{
    h2_run *run = f->ctx;
    apr_status_t rv;

    if (mode == AP_MODE_INIT) {
        return APR_SUCCESS;
    }
    if (is_gone(run)) {
        return APR_ECONNABORTED;
    }
    rv = await_body(run, block);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (APR_BRIGADE_EMPTY(run->received)) {
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(f->c->bucket_alloc));
        return APR_SUCCESS;
    }
    switch (mode) {
    case AP_MODE_READBYTES:
        return take_received(run, bb, most, false);
    case AP_MODE_SPECULATIVE:
        return take_received(run, bb, most, true);
    case AP_MODE_GETLINE: /* a line without its end is what there is of it */
        return apr_brigade_split_line(bb, run->received, block, HUGE_STRING_LEN);
    case AP_MODE_EXHAUSTIVE:
        APR_BRIGADE_CONCAT(bb, run->received);
        return APR_SUCCESS;
    default:
        return APR_ENOTIMPL;
    }
}

/* --- the request's body, for the request --- */

typedef struct {
    bool ended;
    apr_off_t limit, taken; /* limit 0: none */
    apr_off_t length;       /* as the head says; -1: it does not */
} body_state;

/* Refuse the body with a response of that status, unless there was another one already. */
static apr_status_t refuse_body(ap_filter_t *f, body_state *body, int status)
{
    apr_bucket_brigade *bb = apr_brigade_create(f->r->pool, f->c->bucket_alloc);

    body->ended = true;
    APR_BRIGADE_INSERT_TAIL(bb, ap_bucket_error_create(status, NULL, f->r->pool, f->c->bucket_alloc));
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(f->c->bucket_alloc));
    return ap_pass_brigade(f->r->output_filters, bb);
}

static apr_status_t refuse_length(ap_filter_t *f, body_state *body)
{
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, f->r,
                  "mercure: the request's body is larger than LimitRequestBody, %" APR_OFF_T_FMT " bytes", body->limit);
    return refuse_body(f, body, HTTP_REQUEST_ENTITY_TOO_LARGE);
}

static body_state *begin_body(ap_filter_t *f)
{
    const char *length = apr_table_get(f->r->headers_in, "Content-Length");
    body_state *body = apr_pcalloc(f->r->pool, sizeof(*body));

    body->limit = ap_get_limit_req_body(f->r);
    if (length == NULL || !ap_parse_strict_length(&body->length, length)) {
        body->length = -1;
    }
    return body;
}

/* The client waits for a word before it sends the body. */
static void encourage(h2_run *run)
{
    if (run->body_bytes == 0 && run->progress == H2_UNANSWERED) {
        (void)h2_exchange_respond(run->x, HTTP_CONTINUE, NULL, 0); /* if it failed, so will the reading */
    }
}

static apr_status_t take_body(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode, apr_read_type_e block,
                              apr_off_t most)
{
    h2_run *run = ap_get_module_config(f->c->conn_config, &mercure_module);
    body_state *body = f->ctx;
    apr_off_t got;
    apr_status_t rv;

    if (mode != AP_MODE_READBYTES && mode != AP_MODE_GETLINE) {
        return ap_get_brigade(f->next, bb, mode, block, most);
    }
    if (body == NULL) {
        f->ctx = body = begin_body(f);
        if (body->limit > 0 && body->length > body->limit) {
            return refuse_length(f, body);
        }
        body->ended = !h2_exchange_has_body(run->x) || body->length == 0;
    }
    if (!body->ended && f->r->expecting_100 && block == APR_BLOCK_READ) {
        /* An error's document gets no body: the client keeps it, now that it hears of the error. */
        body->ended = !ap_is_HTTP_SUCCESS(f->r->status);
        if (!body->ended) {
            f->r->expecting_100 = 0;
            if (h2_exchange_body_length(run->x) < 0) {
                encourage(run);
            }
        }
    }
    if (body->ended) {
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(f->c->bucket_alloc));
        return APR_SUCCESS;
    }
    rv = ap_get_brigade(f->next, bb, mode, block, most);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_brigade_length(bb, 0, &got);
    body->taken += got;
    if (body->limit > 0 && body->taken > body->limit) {
        apr_brigade_cleanup(bb);
        return refuse_length(f, body);
    }
    if (!APR_BRIGADE_EMPTY(bb) && APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb))) {
        body->ended = true;
    } else if (body->taken == body->length) {
        /* Its END_STREAM may be late, or in a frame of its own. */
        body->ended = true;
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(f->c->bucket_alloc));
    }
    return APR_SUCCESS;
}

/* --- the response's body --- */

/* Some bytes of the body. */
static apr_status_t send_bytes(h2_run *run, const char *bytes, apr_size_t len)
{
    while (len > 0) {
        apr_size_t piece = len < PIECE ? len : PIECE;
        if (!h2_exchange_write(run->x, bytes, piece, run->timeout_ms)) {
            run->c->aborted = 1;
            return APR_ECONNABORTED;
        }
        h2_filters_count_out(run, piece);
        run->sent += (apr_off_t)piece;
        bytes += piece;
        len -= piece;
    }
    return APR_SUCCESS;
}

/* A bucket that may hold anything, of any length: files are read piece by piece. */
static apr_status_t send_bucket(h2_run *run, apr_bucket *b)
{
    const char *bytes;
    apr_size_t len;
    apr_status_t rv;

    if (is_gone(run)) {
        return APR_ECONNABORTED;
    }
    rv = apr_bucket_read(b, &bytes, &len, APR_BLOCK_READ);
    if (rv != APR_SUCCESS) {
        ap_log_cerror(APLOG_MARK, APLOG_INFO, rv, run->c, "mercure: the rest of a response cannot be read");
        h2_filters_fail(run, H2_INTERNAL_ERROR);
        return rv;
    }
    return send_bytes(run, bytes, len);
}

/* The response ends. Less of it than its Content-Length says is a malformed one (RFC 9113 8.1.1). */
static void end_response(h2_run *run)
{
    if (run->progress != H2_ANSWERED) {
        return;
    }
    if (!run->without_body && run->announced >= 0 && run->announced != run->sent) {
        h2_filters_fail(run, H2_INTERNAL_ERROR);
        return;
    }
    run->progress = H2_OVER;
    h2_exchange_end(run->x); /* unless the response has become a stream of events */
}

/* Lines of HTTP/1.1 before the response's head. mod_proxy_http passes on what its backend says to the client's Expect.
 */
static void hear_interim(h2_run *run, apr_bucket *b)
{
    static const char is_continue[] = "HTTP/1.1 100";
    const char *bytes;
    apr_size_t len;

    if (apr_bucket_read(b, &bytes, &len, APR_BLOCK_READ) == APR_SUCCESS && len >= sizeof(is_continue) - 1 &&
        memcmp(bytes, is_continue, sizeof(is_continue) - 1) == 0) {
        encourage(run);
    }
}

static apr_status_t send_body(ap_filter_t *f, apr_bucket_brigade *bb)
{
    h2_run *run = f->ctx;

    while (!APR_BRIGADE_EMPTY(bb)) {
        apr_bucket *b = APR_BRIGADE_FIRST(bb);
        apr_status_t rv = APR_SUCCESS;

        if (APR_BUCKET_IS_EOS(b)) {
            end_response(run);
        } else if ((AP_BUCKET_IS_ERROR(b) || AP_BUCKET_IS_EOC(b)) && run->progress == H2_ANSWERED) {
            h2_filters_fail(run, H2_INTERNAL_ERROR); /* what has come so far must not look whole */
        } else if (!APR_BUCKET_IS_METADATA(b) && run->progress == H2_ANSWERED) {
            rv = send_bucket(run, b);
        } else if (!APR_BUCKET_IS_METADATA(b) && run->progress == H2_UNANSWERED) {
            hear_interim(run, b);
        }
        if (rv != APR_SUCCESS) {
            return rv;
        }
        apr_bucket_delete(b); /* of the bucket that ends a request, this logs and destroys it */
    }
    return APR_SUCCESS;
}

/* --- where they come in --- */

void h2_filters_add_network(h2_run *run)
{
    run->received = apr_brigade_create(run->c->pool, run->c->bucket_alloc);
    ap_add_input_filter_handle(filters.receive, run, NULL, run->c);
    ap_add_output_filter_handle(filters.send_body, run, NULL, run->c);
}

void h2_filters_add_answer(h2_run *run, request_rec *r)
{
    ap_remove_output_filter_byhandle(r->output_filters, "HTTP_HEADER");
    ap_remove_output_filter_byhandle(r->output_filters, "HTTP_OUTERROR");
    ap_add_output_filter_handle(filters.answer, run, r, r->connection);
    ap_add_output_filter("HTTP_HEADER", NULL, r, r->connection);
    ap_add_output_filter("HTTP_OUTERROR", NULL, r, r->connection);
}

void h2_filters_add_body(request_rec *r)
{
    ap_add_input_filter_handle(filters.take_body, NULL, r, r->connection);
}

void h2_filters_register(void)
{
    filters.receive = ap_register_input_filter("MERCURE_H2_RECEIVE", receive, NULL, AP_FTYPE_NETWORK);
    filters.take_body = ap_register_input_filter("MERCURE_H2_BODY", take_body, NULL, AP_FTYPE_PROTOCOL);
    filters.answer = ap_register_output_filter("MERCURE_H2_ANSWER", h2_answer, NULL, AP_FTYPE_PROTOCOL);
    filters.send_body = ap_register_output_filter("MERCURE_H2_SEND", send_body, NULL, AP_FTYPE_NETWORK);
}

void h2_filters_child_init(void)
{
    filters.count_in = APR_RETRIEVE_OPTIONAL_FN(ap_logio_add_bytes_in);
    filters.count_out = APR_RETRIEVE_OPTIONAL_FN(ap_logio_add_bytes_out);
}
