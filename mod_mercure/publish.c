/* publish.c - POST: a publication becomes a record, and brokerd has committed it before the 200 goes out. PROTOCOL 4. */
#include "hub_request.h"

#include <apr_strings.h>
#include <http_protocol.h>
#include <stdlib.h>

#include "child.h"
#include "link.h"

#include "mercure/update.h"

static bool is_form(const char *type)
{
    static const char form[] = "application/x-www-form-urlencoded";

    return type != NULL && strncasecmp(type, form, sizeof(form) - 1) == 0 &&
           (type[sizeof(form) - 1] == '\0' || strchr("; \t", type[sizeof(form) - 1]) != NULL);
}

/* Read the whole body, at most `most` bytes of it. Returns OK or a status. */
static int read_body(request_rec *r, apr_size_t most, char **body, apr_size_t *len)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    apr_size_t room = 0;
    bool ended = false;

    *body = NULL;
    *len = 0;
    while (!ended) {
        apr_bucket *b;
        apr_status_t rv = ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, HUGE_STRING_LEN);
        if (rv != APR_SUCCESS) {
            return ap_map_http_request_error(rv, HTTP_BAD_REQUEST);
        }
        for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb) && !ended; b = APR_BUCKET_NEXT(b)) {
            const char *data;
            apr_size_t got;
            if (APR_BUCKET_IS_EOS(b)) {
                ended = true;
            } else if (!APR_BUCKET_IS_METADATA(b)) {
                rv = apr_bucket_read(b, &data, &got, APR_BLOCK_READ);
                if (rv != APR_SUCCESS) {
                    return HTTP_BAD_REQUEST;
                }
                if (got > most - *len) {
                    return HTTP_REQUEST_ENTITY_TOO_LARGE;
                }
                if (*len + got > room) {
                    apr_size_t larger = room == 0 ? 8192 : room * 2;
                    char *moved;
                    larger = larger < *len + got ? *len + got : larger;
                    moved = apr_palloc(r->pool, larger);
                    if (*len > 0) {
                        memcpy(moved, *body, *len);
                    }
                    *body = moved;
                    room = larger;
                }
                memcpy(*body + *len, data, got);
                *len += got;
            }
        }
        apr_brigade_cleanup(bb);
    }
    return OK;
}

static int check_grants(const hub_request *q, const hub_credentials *credentials, const mercure_update *update,
                        bool *answered)
{
    size_t i;

    for (i = 0; i < update->topic_count; i++) {
        if (!mercure_grants_may_publish(credentials->grants, update->topics[i])) {
            *answered = true;
            return answer_challenge(q, HTTP_FORBIDDEN, "insufficient_scope",
                                    "the token does not grant publish on every topic of the update");
        }
    }
    *answered = false;
    return OK;
}

static int publish_update(const hub_request *q, mercure_update *update)
{
    char id[MERCURE_ID_LENGTH + 1];
    mercure_error err;
    streamer *st = child_streamer(q->r->server, &err);
    mercure_str record;

    if (st == NULL) {
        return answer_retry(q, HTTP_SERVICE_UNAVAILABLE, 5, err.reason);
    }
    if (update->id.len == 0) {
        if (!mercure_id_make(id)) {
            return answer_retry(q, HTTP_SERVICE_UNAVAILABLE, 5, "the system gives no random bytes");
        }
        update->id = mercure_str_of(id);
    }
    record = mercure_update_encode(q->r->pool, update);
    if (link_publish(st, mercure_str_of(q->hub), config_retention(q->dir), record, &err) != MERCURE_OK) {
        return answer_retry(q, HTTP_SERVICE_UNAVAILABLE, 1, err.reason);
    }
    ap_set_content_type(q->r, "text/plain; charset=utf-8");
    ap_set_content_length(q->r, (apr_off_t)update->id.len);
    ap_rwrite(update->id.data, (int)update->id.len, q->r);
    return OK;
}

static int read_update(const hub_request *q, mercure_update *update, bool *answered)
{
    apr_size_t most = config_max_body(q->dir), len;
    const char *announced = apr_table_get(q->r->headers_in, "Content-Length");
    mercure_url *url;
    mercure_form form;
    mercure_error err;
    char *body;
    int status;

    *answered = true;
    if (!is_form(apr_table_get(q->r->headers_in, "Content-Type"))) {
        return answer_refuse(q, HTTP_BAD_REQUEST, "the Content-Type of a publication is application/x-www-form-urlencoded");
    }
    if (announced != NULL && strtoull(announced, NULL, 10) > most) {
        return answer_refuse(q, HTTP_REQUEST_ENTITY_TOO_LARGE, "a publication larger than MercureMaxBody");
    }
    status = read_body(q->r, most, &body, &len);
    if (status == HTTP_REQUEST_ENTITY_TOO_LARGE) {
        return answer_refuse(q, status, "a publication larger than MercureMaxBody");
    }
    if (status != OK) {
        return status; /* httpd's own, about the connection or the transfer coding */
    }
    if (mercure_url_parse(q->r->pool, q->url, strlen(q->url), NULL, &url, &err) != MERCURE_OK) {
        return answer_refuse(q, HTTP_BAD_REQUEST, "the request's Host makes no URL");
    }
    mercure_form_begin(&form, body, len);
    switch (mercure_update_from_form(q->r->pool, &form, url, update, &err)) {
    case MERCURE_OK:
        *answered = false;
        return OK;
    case MERCURE_LIMIT:
        return answer_refuse(q, HTTP_REQUEST_ENTITY_TOO_LARGE, err.reason);
    default:
        return answer_refuse(q, HTTP_BAD_REQUEST, err.reason);
    }
}

int hub_publish(const hub_request *q)
{
    hub_credentials credentials;
    mercure_update update;
    bool answered;
    int status = auth_credentials(q, MERCURE_ROLE_PUBLISHER, &credentials, &answered);

    if (answered) {
        return status;
    }
    if (credentials.grants == NULL) {
        return answer_challenge(q, HTTP_UNAUTHORIZED, NULL, "a publication without a token");
    }
    if (credentials.by_cookie) {
        status = auth_check_origin(q, &answered);
        if (answered) {
            return status;
        }
    }
    status = read_update(q, &update, &answered);
    if (!answered) {
        status = check_grants(q, &credentials, &update, &answered);
    }
    return answered ? status : publish_update(q, &update);
}
