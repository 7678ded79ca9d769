/* form_body.c - a request's body, when it is a form: a publication's, or a QUERY's. */
#include "hub_request.h"

#include <http_protocol.h>
#include <stdlib.h>

static bool is_form(const char *type)
{
    static const char form[] = "application/x-www-form-urlencoded";

    return type != NULL && strncasecmp(type, form, sizeof(form) - 1) == 0 &&
           (type[sizeof(form) - 1] == '\0' || strchr("; \t", type[sizeof(form) - 1]) != NULL);
}

typedef struct {
    apr_pool_t *pool;
    char *bytes;
    apr_size_t len, room, most;
} body_text;

/* Append a piece. False: the body is too large. */
static bool append(body_text *body, const char *piece, apr_size_t len)
{
    if (len > body->most - body->len) {
        return false;
    }
    if (body->len + len > body->room) {
        apr_size_t room = body->room * 2 > body->len + len ? body->room * 2 : body->len + len;
        char *larger = apr_palloc(body->pool, room);
        if (body->len > 0) {
            memcpy(larger, body->bytes, body->len);
        }
        body->bytes = larger;
        body->room = room;
    }
    memcpy(body->bytes + body->len, piece, len);
    body->len += len;
    return true;
}

/* Append what a brigade holds. Returns OK or a status; *ended: that was all. */
static int append_brigade(body_text *body, apr_bucket_brigade *bb, bool *ended)
{
    apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        const char *piece;
        apr_size_t len;

        if (APR_BUCKET_IS_EOS(b)) {
            *ended = true;
            return OK;
        }
        if (APR_BUCKET_IS_METADATA(b)) {
            continue;
        }
        if (apr_bucket_read(b, &piece, &len, APR_BLOCK_READ) != APR_SUCCESS) {
            return HTTP_BAD_REQUEST;
        }
        if (!append(body, piece, len)) {
            return HTTP_REQUEST_ENTITY_TOO_LARGE;
        }
    }
    return OK;
}

/* Read the whole body. Returns OK or a status. */
static int read_body(request_rec *r, body_text *body)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    bool ended = false;
    int status = OK;

    while (!ended && status == OK) {
        apr_status_t rv = ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, HUGE_STRING_LEN);
        if (rv != APR_SUCCESS) {
            return ap_map_http_request_error(rv, HTTP_BAD_REQUEST);
        }
        status = append_brigade(body, bb, &ended);
        apr_brigade_cleanup(bb);
    }
    return status;
}

int read_form_body(const hub_request *q, mercure_form *form, bool *answered)
{
    body_text body = {.pool = q->r->pool, .most = config_max_body(q->dir)};
    const char *announced = apr_table_get(q->r->headers_in, "Content-Length");
    int status;

    *answered = true;
    if (!is_form(apr_table_get(q->r->headers_in, "Content-Type"))) {
        return answer_refuse(q, HTTP_BAD_REQUEST, "a body whose Content-Type is not application/x-www-form-urlencoded");
    }
    if (announced != NULL && strtoull(announced, NULL, 10) > body.most) {
        return answer_refuse(q, HTTP_REQUEST_ENTITY_TOO_LARGE, "a body larger than MercureMaxBody");
    }
    status = read_body(q->r, &body);
    if (status == HTTP_REQUEST_ENTITY_TOO_LARGE) {
        return answer_refuse(q, status, "a body larger than MercureMaxBody");
    }
    if (status != OK) {
        return status; /* httpd's own, about the connection or the transfer coding */
    }
    mercure_form_begin(form, body.bytes, body.len);
    *answered = false;
    return OK;
}
